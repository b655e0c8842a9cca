"""A sentence or two under each picture of `tanet show`: what is drawn, and what was counted in it.

The numbers are those of the clips drawn; where the paper says what it saw, what was found is set beside it.
"""

from collections.abc import Sequence

import torch

from tanet.evaluation.metrics import rank_correlation
from tanet.visualization.fixed_kernels import FixedKernels
from tanet.visualization.record import RecordedClip


def clip_caption(clip: RecordedClip) -> str:
    """Of one clip: what the rows are, how much gates vary, what the kernels look like."""
    parts = []
    for part in clip.adaptations:
        found = []
        if part.gate is not None:
            over_channels, over_frames = part.gate.mean(1).std(), part.gate.std(1).mean()
            found.append(f"V varies by {over_channels:.3f} over channels, {over_frames:.3f} over frames")
        if part.kernel is not None:
            found.append(f"mean Θ {_weights(part.kernel.mean(0))}")
        parts.append(f"{part.stage}: {', '.join(found)}")
    return (
        "Gate V of every channel in the columns of its frames, channels sorted by their mean; kernel Θ of "
        f"every channel (bars: minimum, median, maximum). {'; '.join(parts)} (standard deviations)."
    )


def kernels_caption(clips: Sequence[RecordedClip], fixed: Sequence[FixedKernels], *, against: str) -> str:
    """Of kernels over many clips: how much is between clips, and what fixed ones do."""
    parts = []
    for row, part in enumerate(clips[0].adaptations):
        kernels = torch.stack([kernel_of(clip, row) for clip in clips])  # [clips, C, K]
        text = f"{part.stage}: median Θ {_weights(kernels.flatten(0, 1).median(0).values)}"
        if len(clips) > 1:
            between = kernels.std(0).mean()  # of one channel's weight, from clip to clip
            text += (
                f", from clip to clip ±{between:.4f}, from channel to channel ±{kernels.std(1).mean():.4f}"
            )
        parts.append(text)
    parts += [
        f"{against} in {kernels.stage}: median share {_weights(kernels.shares.median(0).values)} "
        "(each |w| as a part of its filter's sum)"
        for kernels in fixed
    ]
    return (
        f"Kernels Θ of the last block of each stage, all channels (bars: minimum, median, maximum). "
        f"{'; '.join(parts)}. A fixed kernel varies from clip to clip by 0."
    )


def gates_caption(clips: Sequence[RecordedClip]) -> str:
    """Of gates and kernels beside their frames: whether V is the smoother, as in the paper."""
    parts = []
    for row, part in enumerate(clips[0].adaptations):
        if part.gate is None or part.kernel is None:
            continue
        gates = torch.cat([_gate(clip, row) for clip in clips])
        kernels = torch.cat([kernel_of(clip, row) for clip in clips])
        parts.append(f"{part.stage} V {_kurtosis(gates):.1f}, Θ {_kurtosis(kernels):.1f}")
    found = f" Kurtosis (3 for a bell, more for a peak with long tails): {'; '.join(parts)}." if parts else ""
    return (
        "Gate V by frame and kernel Θ by tap, all channels. The paper finds V's distributions smoother "
        f"than Θ's.{found}"
    )


def motion_caption(clips: Sequence[RecordedClip]) -> str:
    """Of small and large motion: whether more motion goes with more weight at t, as the paper has it."""
    small, large = quarters(clips)
    motion = [clip.motion for clip in clips]
    parts = []
    for row, part in enumerate(clips[0].adaptations):
        low, high = (sum(center_weight(clip, row) for clip in group) / len(group) for group in (small, large))
        rho = rank_correlation(motion, [center_weight(clip, row) for clip in clips])
        together = f", rank correlation {rho:+.2f}" if len(clips) > 2 else ""
        parts.append(f"{part.stage}: {low:.4f} and {high:.4f}{together}")
    return (
        f"Kernels of the {len(small)} clips of {len(clips)} with the smallest and the {len(large)} with "
        "the largest motion (mean absolute difference of neighbouring frames). Mean Θ at t with small and "
        f"with large motion: {'; '.join(parts)}. The paper sees a lower weight at t where motion is small."
    )


def quarters(clips: Sequence[RecordedClip]) -> tuple[list[RecordedClip], list[RecordedClip]]:
    """The quarter of the clips with the smallest motion and that with the largest; one clip each at least."""
    ordered = sorted(clips, key=lambda clip: clip.motion)
    count = max(1, len(clips) // 4)
    return ordered[:count], ordered[-count:]


def kernel_of(clip: RecordedClip, row: int) -> torch.Tensor:
    """Θ [C, K] of a clip's site by its number."""
    kernel = clip.adaptations[row].kernel
    assert kernel is not None
    return kernel


def center_weight(clip: RecordedClip, row: int) -> float:
    """The mean weight over channels at the frame itself."""
    kernel = kernel_of(clip, row)
    return float(kernel[:, kernel.shape[1] // 2].mean())


def _gate(clip: RecordedClip, row: int) -> torch.Tensor:
    gate = clip.adaptations[row].gate
    assert gate is not None
    return gate


def _kurtosis(values: torch.Tensor) -> float:
    """Of each column [channels, columns] about its own mean, averaged over the columns."""
    away = values - values.mean(0)
    return float(((away**4).mean(0) / (away**2).mean(0).clamp_min(1e-20) ** 2).mean())


def _weights(taps: torch.Tensor) -> str:
    return " / ".join(f"{value:.3f}" for value in taps.tolist())
