"""The Triton kernels match the float64 reference: outputs and gradients, for odd shapes and any strides."""

import copy
import importlib
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tanet import TAM, build
from tanet.models.fusion.fuse_tam import absorb_batch_norms
from tanet.models.temporal.absorbed_norm import AbsorbedBatchNorm
from tanet.ops import adaptive_conv, backend_for
from tanet.recipes.recipe import Network2D
from tests.support.kernels import (
    DEVICE,
    DTYPES,
    INTERPRETED,
    PRECISIONS,
    assert_as_exact,
    need_triton,
    needs_gpu,
    relative_error,
    use_backend,
)
from tests.support.kernels import nan_buffers as nan_buffers

need_triton()

from tanet.ops.adaptive_convolution.triton_forward import adaptive_conv_triton  # noqa: E402

# Import by name, because the package exports a function with the name of this module.
OPS = importlib.import_module("tanet.ops.adaptive_convolution.op")
FLOOR_NETWORK = 1e-5  # relative error of the norm of all gradients in float32
NAMES = ("y", "dx", "dkernel", "dgate", "dscale", "dshift")
OPTIONS = [  # act, gate, affine
    ("none", False, False),
    ("none", True, False),
    ("relu", False, True),
    ("relu", True, True),
    ("relu6", False, False),
    ("relu6", True, True),
]
SIZES = (
    [(1, 17, (7, 5)), (3, 17, (1, 1)), (8, 40, (2, 3))]
    if INTERPRETED
    else list(itertools.product((1, 3, 7, 8, 16, 64), (17, 96, 576), ((7, 5), (1, 1), (28, 28))))
)


def make(
    *, frames=4, channels=17, places=(3, 2), taps=3, act="relu", gate=True, affine=True, dtype=torch.float32,
    small=torch.float32, clips=2,
):  # fmt: skip
    """Make x, kernel, gate, scale, shift; keep x away from the kinks of the activation."""
    torch.manual_seed(0)
    new = {"device": DEVICE, "dtype": torch.float64}
    scale, shift = 0.5 + torch.rand(channels, **new), torch.randn(channels, **new)
    x = torch.randn(clips * frames, channels, *places, **new)
    maps = scale[:, None, None], shift[:, None, None]
    pre = 4 * x * maps[0] + maps[1] if affine else 4 * x
    for kink in () if act == "none" else (0.0, 6.0):
        pre = torch.where((pre - kink).abs() < 0.15, kink + 0.5, pre)
    x = (pre - maps[1]) / maps[0] if affine else pre
    kernel = torch.randn(clips, channels, taps, **new).softmax(-1).to(small)
    gates = torch.rand(clips, channels, frames, **new).to(small) if gate else None
    x = x.to(dtype).contiguous(memory_format=torch.channels_last)
    return x, kernel, gates, *((scale.to(small), shift.to(small)) if affine else (None, None))


def run(inputs, *, act, op=None, cast=None):
    """Return the output of the operator and its gradient for each input that is not None."""
    leaves = [None if i is None else (i.to(cast) if cast else i).detach().requires_grad_() for i in inputs]
    x, kernel, gate, scale, shift = leaves
    if op is None:
        y = OPS.reference(x, kernel, gate=gate, scale=scale, shift=shift, act=act)
    else:
        y = op(x, kernel, gate, scale, shift, act)
    torch.manual_seed(1)
    dy = torch.randn(y.shape, device=DEVICE).to(x.dtype if cast is None else inputs[0].dtype).to(y.dtype)
    there = [leaf for leaf in leaves if leaf is not None]
    return [y.detach(), *torch.autograd.grad(y, there, dy)]


def check(inputs, *, act):
    names = [NAMES[0], *(name for name, i in zip(NAMES[1:], inputs, strict=True) if i is not None)]

    def plain(dtype):
        return run(inputs, act=act, cast=torch.float64 if dtype == torch.float64 else None)

    def fused():
        return run(inputs, act=act, op=adaptive_conv_triton)

    assert_as_exact(plain, fused, dtype=inputs[0].dtype, names=names)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_size_matches_reference(size, nan_buffers):
    frames, channels, places = size
    # Each dtype is tested with each value of each dimension, but not with all combinations.
    dtype = torch.float32 if INTERPRETED else DTYPES[(frames + channels + places[0]) % 3]
    check(make(frames=frames, channels=channels, places=places, dtype=dtype), act="relu")


@pytest.mark.parametrize("taps", [1, 3, 5, 7])
@pytest.mark.parametrize(("act", "gate", "affine"), OPTIONS)
def test_every_option_matches_reference(act, gate, affine, taps, nan_buffers):
    check(make(act=act, gate=gate, affine=affine, taps=taps), act=act)


@pytest.mark.parametrize("taps", [1, 3, 5, 7])
@pytest.mark.parametrize("frames", [2, 9, 20])
def test_short_clips_and_clips_split_over_programs(frames, taps, nan_buffers):
    """One clip does not fill a GPU, so its frames are split over several programs, and not evenly."""
    check(make(clips=1, frames=frames, taps=taps), act="relu")


@pytest.mark.parametrize("taps", [3, 5])
def test_empty_maps_give_zero_gradients(taps, nan_buffers):
    inputs = make(places=(0, 2), taps=taps)
    y, dx, *of_weights = run(inputs, act="relu", op=adaptive_conv_triton)
    assert y.shape == dx.shape == inputs[0].shape
    assert all(not gradient.any() for gradient in of_weights)


@pytest.mark.parametrize("small", ["float32", "the same"])
@pytest.mark.parametrize("taps", [3, 5])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_matches_reference(dtype, taps, small, nan_buffers):
    small = torch.float32 if small == "float32" else dtype
    check(make(frames=8, places=(7, 5), dtype=dtype, taps=taps, small=small), act="relu")


def change_strides(tensor, layout):
    """Return the same values with other strides."""
    if layout == "last dimensions swapped":
        return tensor.mT.contiguous().mT
    if layout == "every second":
        wide = torch.full((*tensor.shape, 2), torch.nan, dtype=tensor.dtype, device=tensor.device)
        wide[..., 0] = tensor
        return wide[..., 0]
    return tensor.flip(0).contiguous().flip(0) if layout == "contiguous" else tensor[:1].expand_as(tensor)


@pytest.mark.parametrize("layout", ["last dimensions swapped", "every second", "expanded"])
@pytest.mark.parametrize("which", ["kernel", "gate"])
def test_kernel_and_gate_may_be_strided(which, layout, nan_buffers):
    inputs = list(make(frames=3))
    place = 1 if which == "kernel" else 2
    inputs[place] = change_strides(inputs[place], layout)
    check(inputs, act="relu")


@pytest.mark.parametrize("layout", ["every second", "expanded"])
def test_scale_and_shift_may_be_strided(layout, nan_buffers):
    inputs = list(make(act="none"))
    inputs[3:] = [change_strides(tensor, layout) for tensor in inputs[3:]]
    check(inputs, act="none")


@pytest.mark.parametrize("layout", ["contiguous", "every second", "expanded"])
def test_x_may_be_strided(layout, nan_buffers):
    inputs = list(make())
    inputs[0] = change_strides(inputs[0], layout)
    check(inputs, act="relu")


def test_incoming_gradient_may_have_any_layout(nan_buffers):
    x, kernel, *_ = make(gate=False, affine=False, act="none")
    grads = []
    for dy in (torch.ones_like(x), torch.ones(1, 1, 1, 1, device=DEVICE).expand_as(x)):
        leaf = x.detach().requires_grad_()
        y = adaptive_conv_triton(leaf, kernel, None, None, None, "none")
        grads += torch.autograd.grad(y, leaf, dy)
    assert torch.equal(*grads)


def test_repeated_runs_are_bitwise_equal():
    inputs = make(frames=3 if INTERPRETED else 8, places=(3, 2) if INTERPRETED else (28, 28))
    first = run(inputs, act="relu", op=adaptive_conv_triton)
    again = run(inputs, act="relu", op=adaptive_conv_triton)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_operator_passes_opcheck():
    inputs = [i if i is None else i.requires_grad_() for i in make(frames=3)]
    torch.library.opcheck(adaptive_conv_triton, (*inputs, "relu"))
    torch.library.opcheck(adaptive_conv_triton, (*make(frames=3, gate=False, affine=False), "none"))


@pytest.mark.parametrize("order", ["tam", "tanet-r"])
@pytest.mark.parametrize("norm", ["none", "batch", "running"])
@pytest.mark.parametrize("dtype", [t for t in PRECISIONS if t != torch.float16], ids=str)
def test_gradients_of_whole_tam_match_float64(dtype, norm, order, monkeypatch, nan_buffers):
    """Check the gradients of x, of the weights of G and L, and of the absorbed norm, in training mode."""
    torch.manual_seed(0)
    channels = 16 if INTERPRETED else 96
    tam = TAM(channels, frames=4, order=order).to(DEVICE)
    if norm != "none":
        # Register the norm as a child, so that it is copied and cast with the module.
        tam.norm = AbsorbedBatchNorm(channels, device=DEVICE).train(norm == "batch")
        tam.act = "relu6"
    for parameter in tam.parameters():
        nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.3)

    # Keep the ReLU inputs away from 0, so that rounding does not change their sign.
    for branch in (tam.G, tam.L):
        bias = branch[1].bias
        bias.data.copy_(4 - 8 * (torch.arange(len(bias)) % 2))
    x = torch.randn(12, channels, 7, 5, device=DEVICE).to(dtype)
    x = x.contiguous(memory_format=torch.channels_last)

    def learn(how, precision):
        module, leaf = copy.deepcopy(tam), x.detach().requires_grad_()
        if precision == torch.float64:
            module, leaf = module.double(), x.detach().double().requires_grad_()
        use_backend(monkeypatch, how)
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=precision == torch.bfloat16):
            y = module(leaf)
        torch.manual_seed(1)
        dy = torch.randn(y.shape, device=DEVICE).to(dtype).to(y.dtype)
        dx, *of_weights = torch.autograd.grad(y, [leaf, *module.parameters()], dy)
        return [y.detach(), dx, torch.cat([gradient.flatten() for gradient in of_weights])]

    assert_as_exact(
        lambda precision: learn("torch", precision),
        lambda: learn("triton", dtype),
        dtype=dtype,
        names=("y", "dx", "weights"),
        norm=2,
    )


@needs_gpu
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
@pytest.mark.parametrize("backbone", ["resnet18_w16", "mobilenet_v2"])
def test_fused_network_gets_gradients_of_plain_network(backbone, dtype, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    plain = build(Network2D(backbone=backbone, frames=4, dropout=0.0), classes=5).to(DEVICE)
    nn.init.normal_(plain.head.weight, std=0.1)
    clips = torch.randn(4, 4, 3, 64, 64, device=DEVICE)
    labels = torch.arange(4, device=DEVICE)

    def gradients(network, how):
        use_backend(monkeypatch, how)
        exact = network.head.weight.dtype == torch.float64
        network = network.to(memory_format=torch.channels_last)
        with torch.autocast("cuda", torch.bfloat16, enabled=dtype == torch.bfloat16 and not exact):
            loss = F.cross_entropy(network(clips.double() if exact else clips), labels)
        loss.backward()
        return {name: p.grad.double() for name, p in network.named_parameters()}

    exact = gradients(copy.deepcopy(plain).double(), "torch")
    fused = copy.deepcopy(plain)
    assert absorb_batch_norms(fused.backbone) > 0
    theirs, ours = gradients(plain, "torch"), gradients(fused, "triton")
    # The error of a single weight is random in such a deep network. Compare the gradients of all temporal
    # modules together, and those of all other layers together.
    for of_tam in (True, False):
        names = [name for name in exact if (".temporal." in name) is of_tam]
        joined = [torch.cat([g[name].flatten() for name in names]) for g in (exact, theirs, ours)]
        allowed = 2 * (joined[1] - joined[0]).norm()
        assert (joined[2] - joined[0]).norm() <= max(allowed, FLOOR_NETWORK * joined[0].norm())


@needs_gpu
def test_operator_compiles_to_one_graph():
    inputs = make(frames=8, places=(14, 14), dtype=torch.bfloat16)

    def op(x, kernel, gate, scale, shift, act):
        return adaptive_conv(x, kernel, gate=gate, scale=scale, shift=shift, act=act)

    compiled = torch.compile(op, fullgraph=True)
    for one, other in zip(run(inputs, act="relu", op=op), run(inputs, act="relu", op=compiled), strict=True):
        assert torch.equal(one, other)


@needs_gpu
def test_network_compiles_to_one_graph():
    torch.manual_seed(0)
    network = build(Network2D(backbone="resnet18_w16", frames=4, dropout=0.0), classes=5).to(DEVICE)
    nn.init.normal_(network.head.weight)
    absorb_batch_norms(network.backbone)
    clips = torch.randn(2, 4, 3, 64, 64, device=DEVICE)
    compiled = torch.compile(network, fullgraph=True)
    compiled(clips).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    network.eval()
    with torch.no_grad():
        assert relative_error(compiled(clips), network(clips).double()) <= 1e-2  # TF32


@pytest.mark.parametrize("act", ["none", "relu", "relu6"])
def test_nan_is_propagated(act):
    x, *others = make(act="none", places=(2, 1))
    x[0, 0, 0, 0] = torch.nan
    assert adaptive_conv_triton(x, *others, act)[0, 0, 0, 0].isnan()


def test_backend_depends_on_device_and_size():
    x = torch.zeros(8, 3, 2, 2, device=DEVICE)
    assert backend_for(x) == ("triton" if DEVICE.type == "cuda" else "torch")
    assert backend_for(x, taps=9) == "torch"
    assert backend_for(x, frames=65) == "torch"
    assert backend_for(x.double()) == "torch"
    assert backend_for(x[:1].expand(65_536 * 8, -1, -1, -1)) == "torch"
