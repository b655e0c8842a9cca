"""The Triton kernel of the temporal shift gives the bits and gradients of the reference, for any strides."""

import importlib

import pytest
import torch

from tanet.models.temporal.temporal_shift import TemporalShift
from tests.support.kernels import DEVICE, DTYPES, INTERPRETED, need_triton, needs_gpu, use_backend
from tests.support.kernels import nan_buffers as nan_buffers

need_triton()

from tanet.ops.temporal_shift.triton_kernel import shift_triton  # noqa: E402

# Import by name, because the package exports a function with the name of this module.
OPS = importlib.import_module("tanet.ops.temporal_shift.op")
PLACES = [(7, 5), (1, 1)] if INTERPRETED else [(7, 5), (1, 1), (28, 28)]
BITS = {2: torch.int16, 4: torch.int32}


def make(*, frames=4, channels=16, places=(3, 2), dtype=torch.float32, clips=2):
    """Make x in channels-last, with values that arithmetic would change: NaN, ±inf, -0 and a denormal."""
    torch.manual_seed(0)
    x = torch.randn(clips * frames, channels, *places)
    odd = torch.tensor([torch.nan, torch.inf, -torch.inf, -0.0, 1e-42])
    x = torch.where(torch.rand(x.shape) < 0.3, odd[torch.randint(5, x.shape)], x)
    return x.to(DEVICE, dtype).contiguous(memory_format=torch.channels_last)


def same_bits(one, other):
    assert one.dtype == other.dtype
    bits = BITS[one.element_size()]
    return torch.equal(one.contiguous().view(bits), other.contiguous().view(bits))


def gradient(op, x, dy):
    leaf = x.detach().requires_grad_()
    return torch.autograd.grad(op(leaf), leaf, dy)[0]


def check(x, *, frames, part):
    def plain(x):
        return OPS.reference(x, frames=frames, part=part)

    def fused(x):
        return shift_triton(x, frames, part, 1)

    y = fused(x)
    assert same_bits(y, plain(x))
    assert y.is_contiguous(memory_format=torch.channels_last)
    dy = x.flip(0)
    # Compare gradients by value, because autograd adds zeros, which can change the sign of a zero.
    expected = gradient(plain, x, dy)
    torch.testing.assert_close(gradient(fused, x, dy), expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("places", PLACES, ids=str)
@pytest.mark.parametrize("channels", [5, 17, 24, 64, 96, 256])  # channels // 8 shifted: from 0 to 32
@pytest.mark.parametrize("frames", [1, 2, 8])
def test_every_size_matches_reference(frames, channels, places, dtype, nan_buffers):
    check(
        make(frames=frames, channels=channels, places=places, dtype=dtype), frames=frames, part=channels // 8
    )


@pytest.mark.parametrize(
    ("channels", "part"), [(16, 16), (16, 8), (16, 12), (1, 1), (24, 8), (20, 8), (12, 3)]
)
def test_every_number_of_shifted_channels_matches_reference(channels, part, nan_buffers):
    check(make(channels=channels, frames=3), frames=3, part=part)


@pytest.mark.parametrize("layout", ["contiguous", "every second", "expanded", "off by one"])
def test_x_may_have_any_layout(layout, nan_buffers):
    x = make(channels=64, dtype=torch.bfloat16)
    if layout == "contiguous":
        x = x.contiguous()
    elif layout == "every second":
        x = x.repeat_interleave(2, 3)[..., ::2]
    elif layout == "expanded":
        x = x[:1].expand(8, -1, -1, -1)
    else:  # no pixel starts at a multiple of 16 bytes
        x = (
            torch.empty(x.numel() + 1, dtype=x.dtype, device=DEVICE)[1:]
            .as_strided(x.shape, x.stride())
            .copy_(x)
        )
    check(x, frames=4, part=8)


def test_incoming_gradient_may_have_any_layout(nan_buffers):
    x = make(channels=64)
    for dy in (x.contiguous(), x[:1, :1, :1, :1].expand_as(x)):
        found, expected = (
            gradient(op, x, dy)
            for op in (lambda x: shift_triton(x, 4, 8, 1), lambda x: OPS.reference(x, frames=4, part=8))
        )
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_module_gives_same_bits_with_both_backends(monkeypatch, nan_buffers):
    x = make(channels=40)
    module = TemporalShift(frames=4)
    found = []
    for how in ("torch", "triton"):
        use_backend(monkeypatch, how)
        found.append(module(x))
        with pytest.raises(ValueError, match="7 images cannot be divided into clips of 4 frames"):
            module(x[:7])
    assert same_bits(*found)


def test_operator_passes_opcheck():
    x = torch.randn(8, 16, 3, 2, device=DEVICE)
    torch.library.opcheck(shift_triton, (x.requires_grad_(), 4, 2, 1))
    torch.library.opcheck(shift_triton, (x.detach().bfloat16()[:, :13, :, :1], 2, 3, -1))


@needs_gpu
def test_module_uses_triton_kernel_on_gpu(monkeypatch):
    """On a GPU, float32 maps use the Triton kernel and float64 maps do not."""
    ran = []
    monkeypatch.setattr(
        "tanet.ops.temporal_shift.triton_kernel.shift_triton", lambda *given: ran.append(given[1:])
    )
    TemporalShift(frames=4)(make())
    TemporalShift(frames=4)(make().double())
    assert ran == [(4, 2, 1)]


@needs_gpu
def test_module_compiles_and_exports_as_one_graph():
    module, x = TemporalShift(frames=4), make(channels=64, dtype=torch.bfloat16)
    expected, compiled = module(x), torch.compile(module, fullgraph=True)
    assert same_bits(compiled(x), expected)
    one, other = gradient(module, x, x), gradient(compiled, x, x)
    torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    clips = torch.export.Dim("clips", min=1, max=64)
    program = torch.export.export(module, (x,), dynamic_shapes=({0: 4 * clips},)).module()
    more = make(channels=64, dtype=torch.bfloat16, clips=5)
    assert same_bits(program(more), module(more))


@needs_gpu
def test_maps_with_more_than_2_to_the_31_values():
    x = torch.empty(
        16, 64, 1536, 1536, device=DEVICE, dtype=torch.bfloat16, memory_format=torch.channels_last
    )
    assert x.numel() > 1 << 31
    x.random_(-100, 100)
    assert torch.equal(shift_triton(x, 8, 8, 1)[8:], OPS.reference(x[8:], frames=8, part=8))


@needs_gpu
def test_more_images_than_grid_limit():
    x = torch.randn(70_000, 16, 1, 1, device=DEVICE)
    assert torch.equal(shift_triton(x, 1, 2, 1), OPS.reference(x, frames=1, part=2))
    x = x[:, :, 0, 0].reshape(140_000, 8, 1, 1)
    assert torch.equal(shift_triton(x, 2, 1, 1), OPS.reference(x, frames=2, part=1))
