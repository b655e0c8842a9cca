"""A network prepared for inference, as `Network.optimize` returns it."""

import copy
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from tanet.errors import UserError
from tanet.models.fusion.fuse_convolutions import compile_fused

ROUNDS, SECONDS = 4, 3  # `CpuNetwork` times each format four times, or until three seconds have passed


class OptimizedNetwork(nn.Module):
    """Compiled network for inference, clips [B, T, C, H, W] → logits [B, classes].

    In float16, numbers above 65,504 become infinite. If that happens in the first call with a shape, the call
    raises `UserError` and names the layer. After that, calls do not wait for the GPU: the warning about an
    overflow comes with a subsequent call.

    Args:
        network: network in evaluation mode, in the precision to run in.
        graph: whether to capture a CUDA graph.
    """

    _compiled: Callable[..., Any]

    def __init__(self, network: nn.Module, *, graph: bool) -> None:
        super().__init__()
        self.network = network
        weight = next(network.parameters())
        self.dtype, self._overflows = weight.dtype, weight.dtype == torch.float16
        backend: dict[str, Any] = {"options": {"freezing": True}}  # constant weights are packed for oneDNN
        if weight.is_cuda:
            backend = {"backend": partial(compile_fused, graph=graph)}
        compiled = torch.compile(_LogitsAndCheck(network) if self._overflows else network, **backend)
        # Module.__setattr__ would register the same network a second time.
        object.__setattr__(self, "_compiled", compiled)
        self._shapes: set[torch.Size] = set()
        self._flags: tuple[torch.Tensor, torch.Tensor, torch.cuda.Event] | None = None

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Compute the logits. Clips in another precision are converted."""
        clips = clips.to(self.dtype)
        with torch.no_grad(), _benchmarks(clips):
            if not self._overflows:
                return self._compiled(clips)
            logits, finite = self._compiled(clips)
        if clips.shape not in self._shapes:
            if not finite:
                raise UserError(overflow_message(self.network, clips))
            self._shapes.add(clips.shape)
        elif clips.is_cuda and not torch.cuda.is_current_stream_capturing():
            self._watch(finite)
        return logits

    def _watch(self, finite: torch.Tensor) -> None:
        """Warn if an earlier call overflowed, and start to copy the flag of all calls so far to the CPU."""
        if self._flags is None:
            self._flags = (
                finite.clone(),
                torch.ones((), dtype=torch.bool, pin_memory=True),
                torch.cuda.Event(),
            )
        so_far, copied, event = self._flags
        so_far.logical_and_(finite)
        if not event.query():
            return  # the previous copy is still on its way
        if not copied:
            text = "float16 overflowed in an earlier call: some logits are not finite numbers"
            warnings.warn(f"{text}; use precision='bfloat16'", RuntimeWarning, stacklevel=3)
            so_far.fill_(True)  # warn once for each overflow
        copied.copy_(so_far, non_blocking=True)
        event.record()


class _LogitsAndCheck(nn.Module):
    """Network that also returns whether all logits are finite."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.network(clips)
        return logits, logits.isfinite().all()


def overflow_message(network: nn.Module, clips: torch.Tensor) -> str:
    """Run a network layer by layer, and say which layer is the first whose output is not finite."""
    if not clips.isfinite().all():
        return "the clips contain numbers that are not finite in float16"
    found: list[str] = []

    def look(name: str, _: nn.Module, __: object, output: object) -> None:
        if not found and isinstance(output, torch.Tensor) and not output.isfinite().all():
            found.append(name)

    modules = [(name, module) for name, module in network.named_modules() if name]
    hooks = [module.register_forward_hook(partial(look, name)) for name, module in modules]
    try:
        with torch.no_grad():
            network(clips)
    finally:
        for hook in hooks:
            hook.remove()
    where = f"in {found[0]}" if found else "after the last layer"
    return f"float16 overflows {where}: numbers above 65,504 are infinite; use precision='bfloat16'"


class CpuNetwork(nn.Module):
    """Network for inference on a CPU, in the memory format that is faster on this machine.

    The formats are channels-last and PyTorch's usual one. The first call times both on its first clip.

    Args:
        network: `Network` in evaluation mode.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.dtype = next(network.parameters()).dtype
        self._chosen = False

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Compute the logits. Clips in another precision are converted."""
        clips = clips.to(self.dtype)
        with torch.no_grad():
            if not self._chosen:
                self._choose(clips[:1])
            return self.network(clips)

    def _choose(self, clips: torch.Tensor) -> None:
        both = (copy.deepcopy(self.network), self.network)
        for network, layout in zip(both, (torch.channels_last_3d, torch.contiguous_format), strict=True):
            network.to_format(layout)
        times: list[list[float]] = [[], []]
        while len(times[0]) < ROUNDS and sum(map(sum, times)) < SECONDS:
            for network, taken in zip(both, times, strict=True):
                taken.append(_seconds(network, clips))
        self.network = both[times.index(min(times, key=min))]
        self._chosen = True


def _seconds(network: nn.Module, clips: torch.Tensor) -> float:
    start = time.perf_counter()
    network(clips)
    return time.perf_counter() - start


@contextmanager
def _benchmarks(clips: torch.Tensor) -> Iterator[None]:
    """Let cuDNN time its algorithms for new shapes, on a GPU."""
    if not clips.is_cuda:
        yield
        return
    cudnn = torch.backends.cudnn
    before, cudnn.benchmark = cudnn.benchmark, not cudnn.deterministic
    try:
        yield
    finally:
        cudnn.benchmark = before
