"""Captions for the pictures of `tanet show`. A caption says what is drawn, and gives statistics of the clips.

If the paper makes a claim about a picture of this kind, the caption states the claim next to the numbers.
"""

from collections.abc import Sequence

import torch

from tanet.evaluation.metrics import rank_correlation
from tanet.visualization.fixed_kernels import FixedKernels
from tanet.visualization.record import RecordedClip


def clip_caption(clip: RecordedClip) -> str:
    """Return the caption for the picture of one clip, with statistics of its gates and kernels."""
    parts = []
    for part in clip.adaptations:
        found = []
        if part.gate is not None:
            over_channels, over_frames = part.gate.mean(1).std(), part.gate.std(1).mean()
            found.append(f"std of V {over_channels:.3f} over channels, {over_frames:.3f} over frames")
        if part.kernel is not None:
            found.append(f"mean Θ {_weights(part.kernel.mean(0))}")
        parts.append(f"{part.stage}: {', '.join(found)}")
    return (
        "Gate V of every channel, below the frames (channels sorted by their mean), and kernel Θ of every "
        f"channel (bars: minimum, median, maximum). {'; '.join(parts)} (std: standard deviation)."
    )


def kernels_caption(clips: Sequence[RecordedClip], fixed: Sequence[FixedKernels], *, against: str) -> str:
    """Return the caption for the picture of kernels, with their medians and their variation over clips."""
    parts = []
    for row, part in enumerate(clips[0].adaptations):
        kernels = torch.stack([kernel_of(clip, row) for clip in clips])  # [clips, C, K]
        text = f"{part.stage}: median Θ {_weights(kernels.flatten(0, 1).median(0).values)}"
        if len(clips) > 1:
            # Take the standard deviation of each weight over the clips, and average over channels and taps.
            between = kernels.std(0).mean()
            text += f", std {between:.4f} over clips, {kernels.std(1).mean():.4f} over channels"
        parts.append(text)
    parts += [
        f"{against} in {kernels.stage}: median share {_weights(kernels.shares.median(0).values)} "
        "(|w| as a share of its filter's sum)"
        for kernels in fixed
    ]
    return (
        f"Kernels Θ of the last block of each stage, all channels (bars: minimum, median, maximum). "
        f"{'; '.join(parts)}. A fixed kernel is the same for all clips."
    )


def gates_caption(clips: Sequence[RecordedClip]) -> str:
    """Return the caption for the picture of gates V and kernels Θ.

    The paper finds the distributions of V smoother than those of Θ. The caption compares their kurtosis.
    """
    parts = []
    for row, part in enumerate(clips[0].adaptations):
        if part.gate is None or part.kernel is None:
            continue
        gates = torch.cat([_gate(clip, row) for clip in clips])
        kernels = torch.cat([kernel_of(clip, row) for clip in clips])
        parts.append(f"{part.stage} V {_kurtosis(gates):.1f}, Θ {_kurtosis(kernels):.1f}")
    found = f" Kurtosis (normal distribution: 3, long tails: more): {'; '.join(parts)}." if parts else ""
    return (
        "Gate V by frame and kernel Θ by tap, all channels. The paper finds V's distributions smoother "
        f"than Θ's.{found}"
    )


def motion_caption(clips: Sequence[RecordedClip]) -> str:
    """Return the caption for the picture of kernels for small and for large motion.

    The paper finds a lower weight at the middle tap (frame t) for clips with small motion. The caption gives
    this weight for small and for large motion.
    """
    small, large = quarters(clips)
    motion = [clip.motion for clip in clips]
    parts = []
    for row, part in enumerate(clips[0].adaptations):
        low, high = (sum(center_weight(clip, row) for clip in group) / len(group) for group in (small, large))
        rho = rank_correlation(motion, [center_weight(clip, row) for clip in clips])
        together = f", rank correlation {rho:+.2f}" if len(clips) > 2 else ""
        parts.append(f"{part.stage}: {low:.4f} and {high:.4f}{together}")
    return (
        f"Kernels Θ of the {len(small)} clips of {len(clips)} with the smallest motion and the {len(large)} "
        "with the largest (mean absolute difference of neighbouring frames). Mean Θ at t for small and for "
        f"large motion: {'; '.join(parts)}. The paper finds a lower weight at t where motion is small."
    )


def quarters(clips: Sequence[RecordedClip]) -> tuple[list[RecordedClip], list[RecordedClip]]:
    """Return the quarter of the clips with the smallest motion, and the quarter with the largest motion.

    Each quarter has at least one clip.
    """
    ordered = sorted(clips, key=lambda clip: clip.motion)
    count = max(1, len(clips) // 4)
    return ordered[:count], ordered[-count:]


def kernel_of(clip: RecordedClip, row: int) -> torch.Tensor:
    """Return the kernel Θ [C, K] that the recorded module with index `row` computed for a clip."""
    kernel = clip.adaptations[row].kernel
    assert kernel is not None
    return kernel


def center_weight(clip: RecordedClip, row: int) -> float:
    """Return the weight of the kernel's middle tap (frame t), averaged over channels."""
    kernel = kernel_of(clip, row)
    return float(kernel[:, kernel.shape[1] // 2].mean())


def _gate(clip: RecordedClip, row: int) -> torch.Tensor:
    gate = clip.adaptations[row].gate
    assert gate is not None
    return gate


def _kurtosis(values: torch.Tensor) -> float:
    """Return the kurtosis of each column of values [channels, columns], averaged over the columns."""
    away = values - values.mean(0)
    return float(((away**4).mean(0) / (away**2).mean(0).clamp_min(1e-20) ** 2).mean())


def _weights(taps: torch.Tensor) -> str:
    return " / ".join(f"{value:.3f}" for value in taps.tolist())
