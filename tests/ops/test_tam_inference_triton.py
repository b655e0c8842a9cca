"""The Triton kernels for TAM in evaluation mode match the plain PyTorch code in float64."""

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tanet import TAM
from tanet.models.temporal.absorbed_norm import AbsorbedBatchNorm
from tanet.ops import activate
from tests.support.kernels import (
    DEVICE,
    DTYPES,
    INTERPRETED,
    PRECISIONS,
    assert_as_exact,
    need_triton,
    needs_gpu,
    use_backend,
)
from tests.support.kernels import nan_buffers as nan_buffers

need_triton()

from tanet.ops.pooling import triton_squeeze  # noqa: E402
from tanet.ops.tam_inference import branches as branches_triton  # noqa: E402
from tanet.ops.tam_inference import squeeze as squeeze_triton  # noqa: E402
from tanet.ops.tam_inference import tam as tam_triton  # noqa: E402

SIZES = (
    [(1, 17, (7, 5)), (3, 64, (1, 1)), (8, 96, (7, 7))]
    if INTERPRETED
    else list(itertools.product((1, 3, 7, 8, 16, 64), (17, 96, 576), ((7, 5), (1, 1), (28, 28))))
)


def make(*, frames=4, channels=17, places=(3, 2), dtype=torch.float32, affine=True, clips=2, **options):
    """Make a TAM in evaluation mode with random weights and statistics, an input x, and (scale, shift)."""
    torch.manual_seed(0)
    tam = TAM(channels, frames=frames, **options).to(DEVICE).eval()
    for name, tensor in tam.state_dict().items():
        if name.endswith("running_var") or (name.endswith("weight") and tensor.ndim == 1):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point():
            tensor.normal_(std=0.5)
    x = torch.randn(clips * frames, channels, *places, device=DEVICE).to(dtype)
    scale, shift = torch.randn(2, channels, device=DEVICE).to(dtype)
    maps = (scale, shift) if affine else (None, None)
    return tam.to(dtype), x.contiguous(memory_format=torch.channels_last), maps


def arguments(tam, x, maps, act, *, conv=None):
    """Collect the arguments of the operator."""
    weights = [
        [branch[0].weight, norm.weight, norm.bias, norm.running_mean, norm.running_var, branch[3].weight]
        for branch in (tam.G, tam.L)
        for norm in [branch[1]]
    ]
    return x, conv, *maps, act, tam.frames, tam.S, weights[0], tam.G[1].eps, weights[1], tam.L[1].eps


@torch.no_grad()
def check(tam, x, maps, *, act, conv=None):
    def plain(precision):
        scale, shift = (None if m is None else m.to(precision) for m in maps)
        module = copy.deepcopy(tam).to(precision)
        y = x.to(precision) if conv is None else F.conv2d(x.to(precision), conv.to(precision))
        taken = activate(y, scale=scale, shift=shift, act=act)
        with pytest.MonkeyPatch.context() as monkeypatch:
            use_backend(monkeypatch, "torch")
            return [module(taken)]

    def fused():
        return [tam_triton.tam(*arguments(tam, x, maps, act, conv=conv))]

    # The kernels differ for few and for many clips; setting FEW tests both.
    for few in (0, 64):
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(tam_triton, "FEW", few)
            assert_as_exact(plain, fused, dtype=x.dtype, names=("y",))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_size_matches_reference(size, nan_buffers):
    frames, channels, places = size
    # Each dtype is tested with each value of each dimension, but not with all combinations.
    dtype = torch.float32 if INTERPRETED else DTYPES[(frames + channels + places[0]) % 3]
    check(*make(frames=frames, channels=channels, places=places, dtype=dtype), act="relu")


@pytest.mark.parametrize(("frames", "places"), [(17, (1, 1)), (18, (33, 32)), (64, (7, 5))])
def test_long_clips_are_split_over_programs(frames, places, nan_buffers):
    """Each program computes a part of the frames and also reads the frames next to them."""
    check(*make(frames=frames, channels=17, places=places, clips=2), act="relu")


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": 1},
        {"kernel": 5, "local_kernel": 5},
        {"kernel": 7},
        {"local_kernel": 1},
        {"alpha": 3, "beta": 1},
        {"beta": 16},
        {"static_kernel": "random"},
        {"static_kernel": "shift", "kernel": 5},
    ],
    ids=str,
)
def test_every_branch_option_matches_reference(options, nan_buffers):
    check(*make(frames=5, channels=33, **options), act="none")


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("act", ["none", "relu", "relu6"])
def test_absorbed_affine_map_and_activation(act, affine, nan_buffers):
    check(*make(affine=affine), act=act)


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
def test_every_dtype_matches_reference(dtype, nan_buffers):
    check(*make(channels=64, frames=8, places=(7, 5), dtype=dtype), act="relu")


@pytest.mark.parametrize("way", ["cudnn", "product", "kernel, 64 channels", "kernel, 128 channels"])
@pytest.mark.parametrize("dtype", PRECISIONS[1:], ids=str)
@pytest.mark.parametrize(("inputs", "places"), [(16, (13, 11)), (24, (2, 1)), (64, (28, 28)), (2048, (7, 5))])
def test_every_way_to_absorb_a_convolution(inputs, places, dtype, way, monkeypatch, nan_buffers):
    if INTERPRETED and inputs == 2048 and way != "kernel, 64 channels":
        pytest.skip("takes long")
    tam, x, maps = make(channels=72, frames=3, places=places, dtype=dtype, clips=3)
    x = torch.randn(x.shape[0], inputs, *places, device=DEVICE).to(dtype)
    conv = (torch.randn(72, inputs, 1, 1, device=DEVICE) / inputs**0.5).to(dtype)
    # For few clips, there is no kernel for both.
    chosen = lambda _, ways: ways.get(way, ways["cudnn"])()  # noqa: E731
    monkeypatch.setattr(squeeze_triton, "run_fastest", chosen)
    check(tam, x.contiguous(memory_format=torch.channels_last), maps, act="relu6", conv=conv)


@pytest.mark.parametrize("layout", ["contiguous", "every second"])
def test_x_may_be_strided(layout, nan_buffers):
    tam, x, maps = make()
    wide = torch.full((*x.shape, 2), torch.nan, device=DEVICE)
    wide[..., 0] = x
    check(tam, x.contiguous() if layout == "contiguous" else wide[..., 0], maps, act="relu")


def test_weights_may_be_strided(nan_buffers):
    """In a channels-last network, the weights of convolutions may have other strides."""
    tam, x, maps = make()
    for branch in (tam.G, tam.L):
        for layer in (branch[0], branch[3]):
            weight = layer.get_parameter("weight").detach()
            layer.weight = nn.Parameter(weight.transpose(0, 1).contiguous().transpose(0, 1))
        for name, tensor in branch[1].state_dict().items():
            if tensor.ndim:
                wide = torch.stack((tensor, torch.full_like(tensor, torch.nan)), 1)
                branch[1]._parameters.pop(name, None)
                branch[1]._buffers[name] = wide[:, 0]
    check(tam, x, maps, act="relu")


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_weight_of_convolution_may_be_strided(layout, nan_buffers):
    tam, x, maps = make(dtype=PRECISIONS[-1])
    wide = torch.randn(34, 34, 1, 1, device=DEVICE).to(x.dtype).contiguous(memory_format=layout)
    check(tam, x, maps, act="relu", conv=wide[::2, ::2])


def test_squeeze_with_many_parts(monkeypatch, nan_buffers):
    monkeypatch.setattr(triton_squeeze, "PLACES", 1)
    tam, x, maps = make(frames=2, places=(17, 1))
    assert len(triton_squeeze.squeeze(x, *maps, "relu", few=True)) == 17 > branches_triton.PARTS
    check(tam, x, maps, act="relu")


@pytest.mark.parametrize("few", [True, False])
def test_squeeze_of_3d_maps(few, nan_buffers):
    x = torch.randn(2, 24, 5, 17, 13, device=DEVICE).contiguous(memory_format=torch.channels_last_3d)
    parts = triton_squeeze.squeeze(x, None, None, "none", few=few)
    torch.testing.assert_close(parts.sum(0), x.mean((2, 3, 4)))


def test_empty_batch_gives_empty_maps():
    tam, x, maps = make()
    assert tam_triton.tam(*arguments(tam, x[:0], maps, "relu")).shape == (0, *x.shape[1:])


def test_default_dtype_does_not_change_result():
    inputs = arguments(*make(), "relu")
    expected = tam_triton.tam(*inputs)
    torch.set_default_dtype(torch.float16)
    try:
        assert torch.equal(tam_triton.tam(*inputs), expected)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("few", [0, 64])
@pytest.mark.parametrize("where", ["x", "L.0.weight", "G.1.bias"])
@torch.no_grad()
def test_nan_is_propagated(where, few, monkeypatch):
    monkeypatch.setattr(tam_triton, "FEW", few)
    tam, x, maps = make()
    tensor = x if where == "x" else tam.get_parameter(where)
    tensor[(0,) * tensor.ndim] = torch.nan
    assert tam_triton.tam(*arguments(tam, x, maps, "relu")).isnan().any()


@pytest.mark.parametrize("few", [0, 64])
@torch.no_grad()
def test_nan_does_not_reach_other_clips(few, monkeypatch):
    monkeypatch.setattr(tam_triton, "FEW", few)
    tam, x, maps = make(frames=3, clips=4)
    expected = tam_triton.tam(*arguments(tam, x, maps, "relu")).unflatten(0, (4, 3))
    for value in (torch.nan, torch.inf):
        spoiled = x.clone()
        spoiled[3:6, 0] = value
        found = tam_triton.tam(*arguments(tam, spoiled, maps, "relu")).unflatten(0, (4, 3))
        for clip in (0, 2, 3):
            assert torch.equal(found[clip], expected[clip])


def test_repeated_runs_are_bitwise_equal():
    inputs = arguments(*make(channels=96, places=(7, 7)), "relu")
    op = torch.ops.tanet.tam
    assert torch.equal(op(*inputs), op(*inputs))


def test_operator_passes_opcheck():
    with torch.no_grad():
        tam, x, maps = make()
        tam.requires_grad_(False)
        torch.library.opcheck(tam_triton.tam, arguments(tam, x, maps, "relu"))
        conv = torch.randn(17, 17, 1, 1, device=DEVICE)
        torch.library.opcheck(tam_triton.tam, arguments(tam, x, maps, "relu", conv=conv))


@pytest.mark.parametrize("order", ["tam", "tanet-r"])
@pytest.mark.parametrize("dtype", PRECISIONS[:2], ids=str)
def test_whole_tam_in_evaluation_matches_float64(dtype, order, monkeypatch, nan_buffers):
    tam, x, _ = make(channels=64, frames=8, places=(7, 5), dtype=dtype, order=order)

    @torch.no_grad()
    def answer(how, precision):
        use_backend(monkeypatch, how)
        return [copy.deepcopy(tam).to(precision)(x.to(precision))]

    assert_as_exact(
        lambda precision: answer("torch", precision),
        lambda: answer("triton", dtype),
        dtype=dtype,
        names=("y",),
        norm=2,
    )


@torch.no_grad()
def test_sync_batch_norms_give_same_maps(monkeypatch):
    use_backend(monkeypatch, "triton")
    tam, x, _ = make()
    expected = tam(x)
    assert torch.equal(nn.SyncBatchNorm.convert_sync_batchnorm(tam)(x), expected)


@pytest.mark.parametrize("which", ["norm", "G", "L"])
@torch.no_grad()
def test_norm_in_training_mode_uses_batch_statistics(which, monkeypatch):
    """A BatchNorm in training mode does so even if the rest of the module is in evaluation mode."""
    tam, x, _ = make()
    tam.norm = AbsorbedBatchNorm(x.shape[1], device=DEVICE).eval()
    answers = []
    for how in ("torch", "triton"):
        use_backend(monkeypatch, how)
        module = copy.deepcopy(tam)
        module.get_submodule("norm" if which == "norm" else f"{which}.1").train()
        answers.append(module(x))
    torch.testing.assert_close(*answers, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("few", [0, 64])
@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@torch.no_grad()
def test_absorbed_convolution_works_under_autocast(dtype, few, monkeypatch):
    """The maps may be float32 or the autocast dtype; the weights are float32."""
    monkeypatch.setattr(tam_triton, "FEW", few)
    tam, x, _ = make(channels=16)
    tam.absorb_conv(nn.Conv2d(24, 16, 1, bias=False, device=DEVICE))
    x = torch.randn(x.shape[0], 24, 3, 2, device=DEVICE).to(dtype)
    low = PRECISIONS[-1] if dtype == torch.float32 else dtype
    answers = []
    for how in ("torch", "triton"):
        use_backend(monkeypatch, how)
        with torch.autocast(DEVICE.type, low):
            answers.append(tam(x))
    assert answers[0].dtype == answers[1].dtype == low
    torch.testing.assert_close(*answers, rtol=0.1, atol=0.1)


@needs_gpu
def test_whole_tam_compiles_to_one_graph():
    tam, x, _ = make(channels=64, frames=8, places=(7, 5))
    with torch.no_grad():
        assert torch.equal(torch.compile(tam, fullgraph=True)(x), tam(x))
