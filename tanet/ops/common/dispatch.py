"""Choice of the backend of an operation: fused Triton kernels on a GPU, or PyTorch's own operations."""

from importlib.util import find_spec
from typing import Literal, get_args

import torch

Activation = Literal["none", "relu", "relu6"]
Backend = Literal["triton", "torch"]
TRITON = find_spec("triton") is not None
MAX_CLIPS = 65_535  # clips are the second axis of the launch grid, and CUDA limits this axis
MAX_TAPS, MAX_FRAMES = 7, 64  # more taps or frames would not fit into a program's registers
OLDEST = (8, 0)  # compute capability; older GPUs have no bfloat16 and too little shared memory


def check_affine(scale: torch.Tensor | None, shift: torch.Tensor | None, act: str) -> None:
    """Raise ValueError if only one of scale and shift is given, or the activation is unknown."""
    if (scale is None) != (shift is None):
        raise ValueError("scale and shift form one affine map: give both or none")
    if act not in get_args(Activation):
        raise ValueError(f"unknown act '{act}': choose from {', '.join(get_args(Activation))}")


def backend_for(x: torch.Tensor, *, taps: int = 3, frames: int = 8) -> Backend:
    """Return "triton" if x is on a GPU and fits the limits of the fused kernels, and otherwise "torch"."""
    fits = taps <= MAX_TAPS and frames <= MAX_FRAMES and x.shape[0] <= MAX_CLIPS * frames
    fused = x.is_cuda and TRITON and fits and runs_kernels(x.device.index)
    return "triton" if fused and x.dtype in (torch.float32, torch.bfloat16, torch.float16) else "torch"


def runs_kernels(gpu: int) -> bool:
    """Return whether the GPU with this number is recent enough for the fused kernels."""
    return torch.cuda.get_device_capability(gpu) >= OLDEST


# As torch.compiler.assume_constant_result does. That function imports the compiler, which takes a second.
runs_kernels._dynamo_marked_constant = True  # type: ignore[attr-defined]


def activate(
    x: torch.Tensor, *, scale: torch.Tensor | None, shift: torch.Tensor | None, act: Activation
) -> torch.Tensor:
    """Return act(scale · x + shift) in the dtype of x [N·T, C, H, W]. scale and shift are [C] or None."""
    if scale is not None and shift is not None:
        x = (x * scale[:, None, None] + shift[:, None, None]).to(x.dtype)
    if act == "none":
        return x
    return torch.nn.functional.relu(x) if act == "relu" else torch.nn.functional.relu6(x)


def records_autograd(*tensors: torch.Tensor) -> bool:
    """Return whether autograd records operations on these tensors, or False while torch.compile traces."""
    records = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return records and not torch.compiler.is_compiling()
