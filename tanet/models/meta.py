"""Networks without weights: built on PyTorch's meta device, to count, compare or plan.

with on_meta():
    network = build(settings, classes=400)
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

FILLS = {
    getattr(torch.Tensor, name)
    for name in ("normal_", "uniform_", "zero_", "fill_", "erfinv_", "mul_", "add_", "clamp_", "copy_")
}


class _NoFills(TorchFunctionMode):
    """Skip functions that would fill a meta tensor. Drawing weights takes most of the time of building."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in FILLS and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


@contextmanager
def on_meta() -> Iterator[None]:
    """Build networks on the meta device within a `with` block: they have shapes, but no weights."""
    with torch.device("meta"), _NoFills():
        yield
