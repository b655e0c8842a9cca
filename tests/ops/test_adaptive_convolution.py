"""Adaptive convolution matches equation 7 of the paper, computed here frame by frame."""

import pytest
import torch

from tanet.ops import adaptive_conv, backend_for, squeeze
from tanet.ops.adaptive_convolution.op import reference


def equation_7(x, kernel, gate):
    """Compute Y[n, t, c] = Σ_k Θ[n, c, k] · Z[n, t + k - K//2, c] for each clip, frame and tap in turn."""
    clips, _, frames = gate.shape
    taps = kernel.shape[-1]
    z = [[gate[n, :, t, None, None] * x[n * frames + t] for t in range(frames)] for n in range(clips)]
    rows = []
    for n in range(clips):
        for t in range(frames):
            y = torch.zeros_like(x[0])
            for k in range(taps):
                if 0 <= t + k - taps // 2 < frames:
                    y += kernel[n, :, k, None, None] * z[n][t + k - taps // 2]
            rows.append(y)
    return torch.stack(rows)


def arguments(clips=2, frames=5, channels=3, taps=3, **options):
    x = torch.randn(clips * frames, channels, 2, 3, dtype=torch.float64, **options)
    kernel = torch.randn(clips, channels, taps, dtype=torch.float64, **options)
    gate = torch.rand(clips, channels, frames, dtype=torch.float64, **options)
    return x, kernel, gate


@pytest.mark.parametrize("taps", [1, 3, 5, 7])
@pytest.mark.parametrize("frames", [1, 2, 3, 8, 16])
def test_output_matches_equation_7(taps, frames):
    x, kernel, gate = arguments(frames=frames, taps=taps)
    assert (adaptive_conv(x, kernel, gate=gate) - equation_7(x, kernel, gate)).abs().max() <= 1e-12
    open_gate = torch.ones_like(gate)
    assert (adaptive_conv(x, kernel) - equation_7(x, kernel, open_gate)).abs().max() <= 1e-12


@pytest.mark.parametrize(("taps", "frames"), [(1, 3), (3, 1), (3, 2), (3, 4), (5, 2), (5, 4)])
def test_gradients_of_all_arguments_pass_gradcheck(taps, frames):
    x, kernel, gate = arguments(frames=frames, taps=taps, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, kernel, gate: adaptive_conv(x, kernel, gate=gate), (x, kernel, gate)
    )


def test_kernel_index_0_weights_previous_frame():
    x = torch.arange(4.0).view(4, 1, 1, 1)  # one clip of frames 0, 1, 2, 3
    before, after = torch.tensor([[[1.0, 0, 0]]]), torch.tensor([[[0, 0, 1.0]]])
    assert adaptive_conv(x, before).flatten().tolist() == [0, 0, 1, 2]
    assert adaptive_conv(x, after).flatten().tolist() == [1, 2, 3, 0]


def test_frames_outside_clip_are_not_read():
    x, kernel, _ = arguments(clips=3, frames=4)
    x[4:8] = torch.nan  # the second clip
    y = adaptive_conv(x, kernel)
    assert y[:4].isfinite().all()
    assert y[8:].isfinite().all()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_gradients_have_memory_format_of_input(layout):
    """The gradient of x has the layout of x, and all gradients equal those of the reference."""
    x, kernel, gate = arguments(requires_grad=True)
    maps = x.detach().contiguous(memory_format=layout).requires_grad_()
    came: list[torch.Tensor] = []
    through = maps * 1.0
    through.register_hook(came.append)
    y, s = adaptive_conv(through, kernel, gate=gate), squeeze(through)
    dy, ds = torch.randn(x.shape, dtype=x.dtype), torch.randn_like(s)
    found = torch.autograd.grad((y, s), (maps, kernel, gate), (dy, ds))
    assert came[0].is_contiguous(memory_format=layout)
    expected = (reference(x, kernel, gate=gate), x.mean((2, 3)))
    for one, other in zip(found, torch.autograd.grad(expected, (x, kernel, gate), (dy, ds)), strict=True):
        torch.testing.assert_close(one, other)


def test_output_keeps_channels_last():
    x, kernel, gate = arguments(channels=4)
    plain = adaptive_conv(x, kernel, gate=gate)
    y = adaptive_conv(x.contiguous(memory_format=torch.channels_last), kernel, gate=gate)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(y, plain)


@pytest.mark.parametrize("act", ["none", "relu", "relu6"])
@pytest.mark.parametrize("gated", [True, False])
def test_affine_map_and_activation_are_applied_to_input(act, gated):
    torch.manual_seed(0)
    x, kernel = torch.randn(8, 3, 2, 2, dtype=torch.float64), torch.randn(2, 3, 3, dtype=torch.float64)
    gate = torch.rand(2, 3, 4, dtype=torch.float64) if gated else None
    scale, shift = 4 * torch.randn(2, 3, dtype=torch.float64)
    before = {"none": lambda z: z, "relu": torch.relu, "relu6": lambda z: z.clamp(0, 6)}[act]
    taken = adaptive_conv(x, kernel, gate=gate, scale=scale, shift=shift, act=act)
    plain = adaptive_conv(before(x * scale.view(3, 1, 1) + shift.view(3, 1, 1)), kernel, gate=gate)
    torch.testing.assert_close(taken, plain)


def test_backend_on_cpu_is_torch():
    assert backend_for(torch.zeros(8, 3, 2, 2)) == "torch"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": torch.zeros(2, 3, 2)}, "odd K"),
        ({"kernel": torch.zeros(2, 4, 3)}, "expected a kernel"),
        ({"kernel": torch.zeros(3, 3, 3)}, "8 images cannot be divided evenly among 3 clips"),
        ({"gate": torch.zeros(2, 3, 3)}, "expected a gate"),
        ({"scale": torch.ones(3)}, "give both or none"),
        ({"act": "gelu"}, "choose from none, relu, relu6"),
    ],
)
def test_invalid_arguments_are_rejected(change, message):
    arguments = {"x": torch.zeros(8, 3, 2, 2), "kernel": torch.zeros(2, 3, 3), **change}
    x, kernel = arguments.pop("x"), arguments.pop("kernel")
    with pytest.raises(ValueError, match=message):
        adaptive_conv(x, kernel, **arguments)
