"""All kernels that must run fit into the shared memory of consumer GPUs. No GPU is needed: they only compile.

The kernels are launched on CPU tensors, but a stand-in for the launch only compiles them, for GPUs with the
least shared memory that are supported: RTX 30 and RTX 40. `run_fastest` tests at run time whether its other
kernels fit, so they are not tested here.
"""

import inspect
from importlib.util import find_spec

import pytest
import torch

from tanet import TAM, ops
from tests.support.kernels import INTERPRETED, use_backend

if find_spec("triton") is None or INTERPRETED:
    pytest.skip("needs Triton, not its interpreter", allow_module_level=True)

from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from triton.runtime.jit import JITFunction

from tanet.ops.depthwise_convolution.triton_kernel import depthwise_conv_triton
from tanet.ops.stem_convolution.packing import pack_weight
from tanet.ops.stem_convolution.triton_kernels import stem_conv_triton

GPU, SHARED = GPUTarget("cuda", 86, 32), 99 * 1024  # bytes of a program
TYPES = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16"}
OPTIONS = {"num_warps", "num_stages"}
ALIGNED = [["tt.divisibility", 16]]


@pytest.fixture
def needed(monkeypatch):
    """Return a dict that holds the bytes of shared memory of each kernel that is launched."""
    found: dict[str, int] = {}

    def compile_only(self, *args, grid, warmup, **kwargs):
        options = {name: kwargs.pop(name) for name in OPTIONS & kwargs.keys() - {*self.arg_names}}
        bound = inspect.signature(self.fn).bind(*args, **kwargs)
        bound.apply_defaults()
        types, constants, attributes = {}, {}, {}
        for number, (name, value) in enumerate(bound.arguments.items()):
            tensor = isinstance(value, torch.Tensor)
            if self.params[number].is_constexpr or value is None or (not tensor and value == 1):
                types[name], constants[number,] = "constexpr", value
                continue
            types[name] = TYPES[value.dtype] if tensor else {float: "fp32", int: "i32"}[type(value)]
            if tensor or (isinstance(value, int) and value % 16 == 0):
                attributes[number,] = ALIGNED
        made = compile(ASTSource(self, types, constants, attributes), target=GPU, options=options)
        found[self.fn.__name__] = max(made.metadata.shared, found.get(self.fn.__name__, 0))

    monkeypatch.setattr(JITFunction, "run", compile_only)
    use_backend(monkeypatch, "triton")
    return found


def maps(*shape, dtype):
    layout = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    return torch.randn(shape).to(dtype).contiguous(memory_format=layout)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("clips", "channels", "frames", "settings"),
    [(4, 512, 8, {}), (4, 64, 8, {"kernel": 7, "static_kernel": "random"}), (2, 64, 64, {})],
    ids=str,
)
def test_tam_and_tsm(clips, channels, frames, settings, dtype, needed):
    x = maps(clips * frames, channels, 7, 7, dtype=dtype)
    tam, leaf = TAM(channels, frames=frames, **settings), x.clone().requires_grad_()
    torch.autograd.grad(tam(leaf).float().sum(), [leaf, *tam.parameters()])
    with torch.no_grad():
        tam.eval().to(dtype)(x)
    ops.shift(x, frames=frames, part=channels // 8)
    assert len(needed) >= 10
    assert {name: size for name, size in needed.items() if size > SHARED} == {}


@pytest.mark.slow
def test_first_and_depthwise_convolutions(needed):
    dtype = torch.bfloat16  # the first layer is packed in 16 bits only
    for outputs, kernel, step in ((64, (1, 7, 7), 1), (64, (5, 7, 7), 2), (24, (1, 3, 3), 1)):
        x, weight = maps(2, 3, 4, 112, 112, dtype=dtype), torch.randn(outputs, 3, *kernel).to(dtype)
        options = {"size": kernel[-1], "step": step, "relu": True}
        for pool in (False, True) if step == 1 else (False,):
            stem_conv_triton(x, pack_weight(weight), torch.randn(outputs).to(dtype), pool=pool, **options)
    x, weight = maps(2, 216, 8, 14, 14, dtype=dtype), torch.randn(216, 1, 3, 3, 3).to(dtype)
    depthwise_conv_triton(x, weight, torch.randn(216).to(dtype), [1, 2, 2], relu=True)
    assert len(needed) >= 4
    assert {name: size for name, size in needed.items() if size > SHARED} == {}
