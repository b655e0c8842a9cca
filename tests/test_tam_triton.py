"""TAM by the kernels for evaluation, against the plain form in float64."""

import copy
import itertools

import pytest
import torch
from kernels import DEVICE, DTYPES, INTERPRETED, assert_as_exact, choose, need_triton, needs_gpu
from kernels import nan_buffers as nan_buffers
from torch import nn
from torch.nn import functional as F

from tanet import TAM
from tanet.ops import activate

need_triton()

from tanet.ops import tam_triton  # noqa: E402

# The interpreter takes matrices of bfloat16 for matrices of integers.
PRECISIONS = tuple(d for d in DTYPES if not INTERPRETED or d != torch.bfloat16)
SIZES = (
    [(1, 17, (7, 5)), (3, 64, (1, 1)), (8, 96, (7, 7))]
    if INTERPRETED
    else list(itertools.product((1, 3, 7, 8, 16, 64), (17, 96, 576), ((7, 5), (1, 1), (28, 28))))
)


def make(*, frames=4, channels=17, places=(3, 2), dtype=torch.float32, affine=True, clips=2, **options):
    """A TAM in evaluation whose statistics and weights are none of the initial ones; x, scale, shift."""
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
    """What the operator takes."""
    weights = [
        [branch[0].weight, norm.weight, norm.bias, norm.running_mean, norm.running_var, branch[3].weight]
        for branch in (tam.G, tam.L)
        for norm in [branch[1]]
    ]
    return x, conv, *maps, act, tam.frames, weights[0], tam.G[1].eps, weights[1], tam.L[1].eps


@torch.no_grad()
def check(tam, x, maps, *, act, conv=None):
    def plain(precision):
        scale, shift = (None if m is None else m.to(precision) for m in maps)
        module = copy.deepcopy(tam).to(precision)
        y = x.to(precision) if conv is None else F.conv2d(x.to(precision), conv.to(precision))
        taken = activate(y, scale=scale, shift=shift, act=act)
        with pytest.MonkeyPatch.context() as monkeypatch:
            choose(monkeypatch, "torch")
            return [module(taken)]

    def fused():
        return [tam_triton.tam(*arguments(tam, x, maps, act, conv=conv))]

    # However many clips there are, both of its ways are taken.
    for few in (0, 64):
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(tam_triton, "FEW", few)
            assert_as_exact(plain, fused, dtype=x.dtype, names=("y",))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_size(size, nan_buffers):
    frames, channels, places = size
    # Each precision meets each value of each size, if not all of their combinations.
    dtype = torch.float32 if INTERPRETED else DTYPES[(frames + channels + places[0]) % 3]
    check(*make(frames=frames, channels=channels, places=places, dtype=dtype), act="relu")


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": 1},
        {"kernel": 5, "local_kernel": 5},
        {"kernel": 7},
        {"local_kernel": 1},
        {"alpha": 3, "beta": 1},
        {"beta": 16},
    ],
    ids=str,
)
def test_every_shape_of_branch(options, nan_buffers):
    check(*make(frames=5, channels=33, **options), act="none")


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("act", ["none", "relu", "relu6"])
def test_what_is_taken_in(act, affine, nan_buffers):
    check(*make(affine=affine), act=act)


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
def test_every_precision(dtype, nan_buffers):
    check(*make(channels=64, frames=8, places=(7, 5), dtype=dtype), act="relu")


@pytest.mark.parametrize("dtype", (torch.float32,) if INTERPRETED else DTYPES[1:], ids=str)
@pytest.mark.parametrize(("inputs", "places"), [(16, (13, 11)), (24, (2, 1)), (64, (28, 28)), (2048, (7, 5))])
def test_the_convolution_before(inputs, places, dtype, nan_buffers):
    """Computed by the way, or by cuDNN where that is faster."""
    tam, x, maps = make(channels=72, frames=3, places=places, dtype=dtype, clips=3)
    x = torch.randn(x.shape[0], inputs, *places, device=DEVICE).to(dtype)
    conv = (torch.randn(72, inputs, 1, 1, device=DEVICE) / inputs**0.5).to(dtype)
    check(tam, x.contiguous(memory_format=torch.channels_last), maps, act="relu6", conv=conv)


@pytest.mark.parametrize("layout", ["contiguous", "every second"])
def test_strides_of_x(layout, nan_buffers):
    tam, x, maps = make()
    wide = torch.full((*x.shape, 2), torch.nan, device=DEVICE)
    wide[..., 0] = x
    check(tam, x.contiguous() if layout == "contiguous" else wide[..., 0], maps, act="relu")


def test_strides_of_the_weights(nan_buffers):
    """A network in channels-last may have brought its convolutions into an order of their own."""
    tam, x, maps = make()
    for branch in (tam.G, tam.L):
        for layer in (branch[0], branch[3]):
            weight = layer.get_parameter("weight").detach()
            layer.weight = nn.Parameter(weight.transpose(0, 1).contiguous().transpose(0, 1))
    check(tam, x, maps, act="relu")


@pytest.mark.parametrize("few", [0, 64])
@pytest.mark.parametrize("where", ["x", "L.0.weight", "G.1.bias"])
@torch.no_grad()
def test_nan_is_not_hidden(where, few, monkeypatch):
    monkeypatch.setattr(tam_triton, "FEW", few)
    tam, x, maps = make()
    tensor = x if where == "x" else tam.get_parameter(where)
    tensor[(0,) * tensor.ndim] = torch.nan
    assert tam_triton.tam(*arguments(tam, x, maps, "relu")).isnan().any()


def test_the_same_bits_every_time():
    inputs = arguments(*make(channels=96, places=(7, 7)), "relu")
    op = torch.ops.tanet.tam
    assert torch.equal(op(*inputs), op(*inputs))


def test_is_a_well_formed_operator():
    with torch.no_grad():
        tam, x, maps = make()
        tam.requires_grad_(False)
        torch.library.opcheck(tam_triton.tam, arguments(tam, x, maps, "relu"))
        conv = torch.randn(17, 17, 1, 1, device=DEVICE)
        torch.library.opcheck(tam_triton.tam, arguments(tam, x, maps, "relu", conv=conv))


@pytest.mark.parametrize("order", ["tam", "tanet-r"])
@pytest.mark.parametrize("dtype", PRECISIONS[:2], ids=str)
def test_a_whole_tam_in_evaluation(dtype, order, monkeypatch, nan_buffers):
    tam, x, _ = make(channels=64, frames=8, places=(7, 5), dtype=dtype, order=order)

    @torch.no_grad()
    def answer(how, precision):
        choose(monkeypatch, how)
        return [copy.deepcopy(tam).to(precision)(x.to(precision))]

    assert_as_exact(
        lambda precision: answer("torch", precision),
        lambda: answer("triton", dtype),
        dtype=dtype,
        names=("y",),
        norm=2,
    )


@needs_gpu
def test_a_whole_tam_compiles_as_one_graph():
    tam, x, _ = make(channels=64, frames=8, places=(7, 5))
    with torch.no_grad():
        assert torch.equal(torch.compile(tam, fullgraph=True)(x), tam(x))
