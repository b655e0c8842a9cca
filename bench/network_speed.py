"""Compare the speed of several forms of a network, in clips per second. The forms take turns."""

import argparse
import gc
from collections.abc import Callable, Iterator, Sequence

import torch

from bench.common import interleaved, interleaved_on_gpu, percentiles
from tanet.models.architectures import find_architecture
from tanet.models.network import Network
from tanet.runtime.device import pick_device

KEY = ("network", "form", "clips")

Run = Callable[[], object]


def add_flags(
    parser: argparse.ArgumentParser, *, networks: Sequence[str], forms: Sequence[str], repeats: int
) -> None:
    parser.add_argument("--networks", nargs="+", default=list(networks))
    parser.add_argument("--forms", nargs="+", choices=forms, default=list(forms))
    parser.add_argument("--clips", type=int, default=8, help="batch size")
    parser.add_argument("--size", type=int, help="side of the frames (default: the network's)")
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--device", help="cpu or cuda (default: a GPU if there is one)")


def compare_forms(
    flags: argparse.Namespace,
    make_run: Callable[[str, str, torch.Tensor], Run],
    *,
    parts: dict[str, Callable[[str, torch.Tensor], Run | None]] | None = None,
) -> Iterator[dict[str, object]]:
    """Time the forms of each network by turns.

    Args:
        flags: as `add_flags` makes them.
        make_run: makes the function to time from the network's name, a form and clips.
        parts: make functions that run one part of the first form's work, or None where a network has no
            such part. The row of the first form gets their time per clip, and their share of its time.
    """
    device = pick_device(flags.device)
    torch.backends.cudnn.benchmark = True
    for name in flags.networks:
        torch.compiler.reset()
        gc.collect()
        yield from _compare(name, flags, device, make_run, parts or {})


def _compare(
    name: str,
    flags: argparse.Namespace,
    device: torch.device,
    make_run: Callable[[str, str, torch.Tensor], Run],
    parts: dict[str, Callable[[str, torch.Tensor], Run | None]],
) -> Iterator[dict[str, object]]:
    found = find_architecture(name)
    size, frames = flags.size or found.input_spec.size, found.settings.frames
    on_gpu = device.type == "cuda"
    dtype = torch.bfloat16 if on_gpu else torch.float32
    clips = torch.randn(flags.clips, frames, 3, size, size, device=device, dtype=dtype)
    runs = {form: make_run(name, form, clips) for form in flags.forms}
    made = {part: make(name, clips) for part, make in parts.items()}
    runs |= {part: run for part, run in made.items() if run}
    times = (interleaved_on_gpu if on_gpu else interleaved)(runs, repeats=flags.repeats)
    medians = {form: percentiles(times[form])["p50"] for form in runs}
    first = flags.forms[0]
    for form in flags.forms:
        rates = percentiles([1e3 * flags.clips / time for time in times[form]])
        row: dict[str, object] = {
            "network": name,
            "form": form,
            "frames": frames,
            "size": size,
            "clips": flags.clips,
            "precision": "bfloat16" if on_gpu else "float32",
            **{f"clips_s_{key}": f"{value:.2f}" for key, value in rates.items()},
            "of_eager": f"{medians[first] / medians[form]:.3f}",
        }
        for part in parts:
            time = medians.get(part) if form == first else None
            row[f"{part}_ms"] = f"{time / flags.clips:.3f}" if time else ""
            row[f"{part}_share"] = f"{time / medians[first]:.3f}" if time else ""
        yield row


def timed(network: Network, model: torch.nn.Module, clips: torch.Tensor) -> Run:
    """Return a function that computes the logits of the clips with a form of a network.

    Exits unless the form answers as the network does.
    """
    with torch.inference_mode():
        expected = network.to(clips.dtype)(clips)
        error = (model(clips) - expected).norm() / expected.norm()
    if not error < 0.2:  # bfloat16 changes logits by a few per cent, another network by about 100 %
        raise SystemExit(f"the form changed the network's logits by {error:.0%}; nothing was measured")

    @torch.inference_mode()
    def run() -> None:
        model(clips)

    return run
