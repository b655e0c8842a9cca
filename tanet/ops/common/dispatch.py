"""Choose what computes an operation: Triton's fused kernels on a GPU, or PyTorch's own operations."""

from importlib.util import find_spec
from typing import Literal, get_args

import torch

Act = Literal["none", "relu", "relu6"]


TRITON = find_spec("triton") is not None


CLIPS = 65_535  # as many as the second axis of a GPU's grid


def check_affine(scale: torch.Tensor | None, shift: torch.Tensor | None, act: str) -> None:
    """Raise ValueError where what is taken in is half given or not known."""
    if (scale is None) != (shift is None):
        raise ValueError("scale and shift are one map: give both or none")
    if act not in get_args(Act):
        raise ValueError(f"unknown act '{act}': known are {', '.join(get_args(Act))}")


def implementation(x: torch.Tensor, *, taps: int = 3, frames: int = 8) -> Literal["triton", "torch"]:
    """What computes `adaptive_conv` for such an x: fused kernels on a GPU, or PyTorch's operations."""
    fused = x.is_cuda and taps <= 7 and frames <= 64 and x.shape[0] <= CLIPS * frames and TRITON
    return "triton" if fused and x.dtype in (torch.float32, torch.bfloat16, torch.float16) else "torch"


def activate(
    x: torch.Tensor, *, scale: torch.Tensor | None, shift: torch.Tensor | None, act: Act
) -> torch.Tensor:
    """act(scale · x + shift) for maps [N·T, C, H, W], in their precision; arguments as in `adaptive_conv`."""
    if scale is not None and shift is not None:
        x = (x * scale[:, None, None] + shift[:, None, None]).to(x.dtype)
    if act == "none":
        return x
    return torch.nn.functional.relu(x) if act == "relu" else torch.nn.functional.relu6(x)


def eager(*tensors: torch.Tensor) -> bool:
    """Whether autograd would record these operations one by one."""
    records = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return records and not torch.compiler.is_compiling()
