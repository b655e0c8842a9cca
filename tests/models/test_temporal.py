"""The temporal modules match formulas that are written here again, frame by frame."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tanet.models.backbones2d import BACKBONES
from tanet.models.factory import build
from tanet.models.meta import on_meta
from tanet.models.temporal import TEMPORAL
from tanet.models.temporal.gst import GroupedConv
from tanet.models.temporal.non_local import NonLocal
from tanet.models.temporal.stm import STM
from tanet.models.temporal.tada import Calibration, PooledNorm
from tanet.models.temporal.tam import TAM
from tanet.models.temporal.tam_ablations import GlobalBranch, GlobalSE, LocalBranch
from tanet.models.temporal.tei import TEI
from tanet.models.temporal.temporal_aggregation import TemporalAggregation
from tanet.models.temporal.temporal_conv import SideTaps, TemporalConv, TemporalPool
from tanet.models.temporal.temporal_shift import TemporalShift
from tanet.recipes.recipe import Network2D
from tests.support.thin_networks import BLOCKS
from tests.support.thin_networks import thin_networks as thin_networks

NAMES = [name for name in TEMPORAL if name != "none"]
C = 16


def make(name, frames):
    """Build a temporal module of the given kind: a name, or a name and a kernel size."""
    return {
        "pool": lambda: TemporalPool(frames=frames),
        "pool 5": lambda: TemporalPool(frames=frames, kernel=5),
        "tconv": lambda: TemporalConv(C, frames=frames),
        "tconv 5": lambda: TemporalConv(C, frames=frames, kernel=5),
        "tsm": lambda: TemporalShift(frames=frames),
        "tei": lambda: TEI(C, frames=frames),
        "i3d": lambda: SideTaps(nn.Conv2d(C, 8, 3, stride=2, padding=1), frames=frames),
        "i3d 5": lambda: SideTaps(nn.Conv2d(C, 8, 1), frames=frames, kernel=5),
        "nonlocal": lambda: NonLocal(C, frames=frames),
        "dot": lambda: NonLocal(C, frames=frames, attention="dot"),
        "gaussian": lambda: NonLocal(C, frames=frames, attention="gaussian"),
        "gst": lambda: GroupedConv(nn.Conv2d(C, 8, 3, stride=2, padding=1), frames=frames),
        "gst large": lambda: GroupedConv(nn.Conv2d(C, 8, 3, padding=1), frames=frames, groups=1),
        "stm": lambda: STM(nn.Conv2d(C, 8, 3, stride=2, padding=1, bias=False), frames=frames),
        "calibration": lambda: Calibration(C, frames=frames),
        "pooled norm": lambda: PooledNorm(C, frames=frames),
        "global": lambda: GlobalBranch(frames=frames),
        "global 5": lambda: GlobalBranch(frames=frames, alpha=3, kernel=5),
        "local": lambda: LocalBranch(C, frames=frames),
        "global+se": lambda: GlobalSE(C, frames=frames),
        "tam": lambda: TAM(C, frames=frames),
        "tam-ibm": lambda: TemporalAggregation(C, frames=frames),
    }[name]()


KINDS = (
    *("pool", "pool 5", "tconv", "tconv 5", "tsm", "tei", "i3d", "i3d 5", "nonlocal"),
    *("global", "global 5", "local", "global+se", "tam-ibm"),
    *("dot", "gaussian", "gst", "gst large", "stm", "calibration", "pooled norm"),
)


def frame_at(clip, t):
    """Return frame t of a clip [T, …], or zeros if t is outside the clip."""
    return clip[t] if 0 <= t < len(clip) else torch.zeros_like(clip[0])


def filter_frames(clip, weight):
    """Compute Σ_k weight[:, k] · clip[t + k - K//2] for a clip [T, C, H, W] and weights [C, K]."""
    half = weight.shape[1] // 2
    return torch.stack(
        [
            sum(weight[:, k, None, None] * frame_at(clip, t + k - half) for k in range(weight.shape[1]))
            for t in range(len(clip))
        ]
    )


def eval_batch_norm(rows, w, name):
    """Apply the BatchNorm `name`, with its weights and statistics from w, to the last axis of `rows`."""
    return (rows - w[f"{name}.running_mean"]) / (w[f"{name}.running_var"] + 1e-5).sqrt() * w[
        f"{name}.weight"
    ] + w[f"{name}.bias"]


def theta(clip, w):
    """Compute the kernels [C, K] that the global branch predicts for one clip [T, C, H, W]."""
    rows = clip.mean((2, 3)).T  # [C, T]
    return (eval_batch_norm(rows @ w["G.0.weight"].T, w, "G.1").relu() @ w["G.3.weight"].T).softmax(-1)


def pool(clip, w, k):
    return filter_frames(clip, torch.full((C, k), 1 / k, dtype=clip.dtype))


def tconv(clip, w, k):
    kernel = w["conv.weight"][..., 0]  # [C', C, K]
    return torch.stack(
        [
            sum(
                torch.einsum("oc,chw->ohw", kernel[:, :, i], frame_at(clip, t + i - k // 2)) for i in range(k)
            )
            for t in range(len(clip))
        ]
    )


def tsm(clip, w, k):
    out = clip.clone()
    for t in range(len(clip)):
        out[t, : C // 8] = frame_at(clip, t + 1)[: C // 8]
        out[t, C // 8 : C // 4] = frame_at(clip, t - 1)[C // 8 : C // 4]
    return out


def tei(clip, w, k):
    s, gated = clip.mean((2, 3)), []
    for t in range(len(clip) - 1):
        later = sum(w["next.weight"][:, :, i] @ frame_at(s, t + 1 + i - 1) for i in range(3))
        moved = w["now.weight"][:, :, 0] @ s[t] - later
        gated.append(clip[t] * (w["expand.weight"][:, :, 0] @ moved).sigmoid()[:, None, None])
    return filter_frames(torch.stack([*gated, clip[-1]]), w["weight"])


def i3d(clip, w, k):
    weight = w["taps_conv.weight"].chunk(k - 1)
    geometry = {"stride": 2, "padding": 1} if k == 3 else {}
    steps = [i - k // 2 for i in range(k) if i != k // 2]
    return torch.stack(
        [
            sum(
                F.conv2d(frame_at(clip, t + step)[None], one, **geometry)[0]
                for step, one in zip(steps, weight, strict=True)
            )
            for t in range(len(clip))
        ]
    )


def places(clip, w):
    """Return query, key and value of a non-local block, [places, C/2] each; None if it has no such weight."""
    found = []
    for name in ("theta", "phi", "g"):
        if f"{name}.weight" not in w:
            found.append(None)
            continue
        maps = torch.einsum("oc,tchw->tohw", w[f"{name}.weight"][..., 0, 0], clip)
        maps = maps + w[f"{name}.bias"][:, None, None]
        maps = maps if name == "theta" else F.max_pool2d(maps, 2)
        found.append(maps.permute(0, 2, 3, 1).reshape(-1, C // 2))
    return found


def nonlocal_(clip, w, k):
    query, key, value = places(clip, w)
    return attended(clip, w, (query @ key.T).softmax(-1) @ value)


def attended(clip, w, found):
    """Return the output of a non-local block that has found [T·H·W, C/2]."""
    out = eval_batch_norm(found @ w["out.weight"][..., 0, 0].T + w["out.bias"], w, "norm")
    return clip + out.view(len(clip), *clip.shape[2:], C).permute(0, 3, 1, 2)


def dot(clip, w, k):
    query, key, value = places(clip, w)
    return attended(clip, w, (query @ key.T / len(key)) @ value)


def gaussian(clip, w, k):
    key = F.max_pool2d(clip, 2).permute(0, 2, 3, 1).reshape(-1, C)
    return attended(
        clip, w, (clip.permute(0, 2, 3, 1).reshape(-1, C) @ key.T).softmax(-1) @ places(clip, w)[2]
    )


def gst(clip, w, k):
    space, time = w["space.weight"], w["temporal.weight"].chunk(3)
    stride = 2 if space.shape[1] < C else 1
    first, last = clip[:, : space.shape[1]], clip[:, -space.shape[1] :]
    return torch.stack(
        [
            torch.cat(
                (
                    F.conv2d(first[t], space, stride=stride, padding=1),
                    sum(
                        F.conv2d(frame_at(last, t + i - 1), time[i], stride=stride, padding=1)
                        for i in range(3)
                    ),
                )
            )
            for t in range(len(clip))
        ]
    )


def maps_batch_norm(maps, w, name):
    """Apply the BatchNorm `name` in evaluation mode to maps [T, C, H, W]."""
    return eval_batch_norm(maps.movedim(1, -1), w, name).movedim(-1, 1)


def stm(clip, w, k):
    shifted = maps_batch_norm(filter_frames(clip, w["temporal.shift.weight"]), w, "temporal.shift.norm")
    m = {name.removeprefix("temporal.motion."): tensor for name, tensor in w.items()}
    narrow = maps_batch_norm(F.conv2d(clip, m["reduce.weight"]), m, "norm")
    moved = [
        F.conv2d(narrow[t + 1 : t + 2], m["next.weight"], padding=1, groups=narrow.shape[1])[0] - narrow[t]
        for t in range(len(clip) - 1)
    ]
    moved = torch.stack([*moved, torch.zeros_like(narrow[0])])
    motion = maps_batch_norm(F.conv2d(moved, m["expand.weight"], stride=2), m, "norm_out")
    return F.conv2d(shifted, w["space.weight"], stride=2, padding=1) + motion


def conv1d_at(rows, weight, t):
    """Compute Σ_i weight[:, :, i] rows[t + i - 1] for rows [T, C]."""
    return sum(weight[:, :, i] @ frame_at(rows, t + i - 1) for i in range(3))


def calibration(clip, w, k):
    s = clip.mean((2, 3))  # [T, C]
    s = s + w["g.weight"][:, :, 0] @ s.mean(0) + w["g.bias"]
    hidden = torch.stack([conv1d_at(s, w["a.weight"], t) + w["a.bias"] for t in range(len(clip))])
    hidden = eval_batch_norm(hidden, w, "norm").relu()
    alpha = torch.stack([1 + conv1d_at(hidden, w["b.weight"], t) for t in range(len(clip))])
    return clip * alpha[..., None, None]


def pooled_norm(clip, w, k):
    return maps_batch_norm(pool(clip, w, 3), w, "norm")


def local(clip, w, k):
    s = clip.mean((2, 3))  # [T, C]
    narrow = torch.stack(
        [sum(w["L.0.weight"][:, :, i] @ frame_at(s, t + i - 1) for i in range(3)) for t in range(len(clip))]
    )
    gate = (eval_batch_norm(narrow, w, "L.1").relu() @ w["L.3.weight"][..., 0].T).sigmoid()
    return clip * gate[..., None, None]


def global_se(clip, w, k):
    hidden = (clip.mean((2, 3)) @ w["SE.0.weight"].T + w["SE.0.bias"]).relu()
    gate = (hidden @ w["SE.2.weight"].T + w["SE.2.bias"]).sigmoid()
    return filter_frames(clip * gate[..., None, None], theta(clip, w))


FORMULAS = {
    "pool": pool,
    "tconv": tconv,
    "tsm": tsm,
    "tei": tei,
    "i3d": i3d,
    "nonlocal": nonlocal_,
    "global": lambda clip, w, k: filter_frames(clip, theta(clip, w)),
    "local": local,
    "global+se": global_se,
    "tam-ibm": lambda clip, w, k: filter_frames(clip, w["weight"]).relu(),
    "dot": dot,
    "gaussian": gaussian,
    "gst": gst,
    "gst large": gst,
    "stm": stm,
    "calibration": calibration,
    "pooled norm": pooled_norm,
}


def apply_formula(kind, clip, w):
    """Compute the output of a module of the given kind with weights w for one clip [T, C, H, W]."""
    if kind in FORMULAS:
        return FORMULAS[kind](clip, w, 3)
    name, _, k = kind.partition(" ")
    return FORMULAS[name](clip, w, int(k))


def randomise(module):
    """Fill weights and statistics with random values, so that every term of a formula has an effect."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5) if name.endswith("running_var") else tensor.normal_()
    return module


@pytest.mark.parametrize("frames", [1, 3, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_module_matches_its_formula(kind, frames):
    torch.manual_seed(0)
    module = randomise(make(kind, frames).double()).eval()
    clips = torch.randn(2, frames, C, 5, 6, dtype=torch.float64)
    out = module(clips.flatten(0, 1)).unflatten(0, (2, frames))
    w = module.state_dict()
    for clip, found in zip(clips, out, strict=True):
        assert (found - apply_formula(kind, clip, w)).abs().max() <= 1e-10


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_pass_gradcheck(kind):
    torch.manual_seed(0)
    module = randomise(make(kind, 3).double()).eval()
    x = torch.randn(3, C, 2, 2, dtype=torch.float64, requires_grad=True)
    names, values = [], []
    for name, value in module.named_parameters():
        names.append(name)
        values.append(value)

    def run(x, *parameters):
        return torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), (x,))

    # fast_mode checks random directions; the whole Jacobian of the larger modules would take minutes.
    assert torch.autograd.gradcheck(run, (x, *values), fast_mode=True)


@pytest.mark.parametrize("kind", [*KINDS, "tam"])
def test_output_of_clip_does_not_depend_on_other_clips(kind):
    torch.manual_seed(0)
    module = randomise(make(kind, 4)).eval()
    x = torch.randn(12, C, 4, 4)
    other = x.clone()
    other[:4] = torch.randn(4, C, 4, 4)
    other[8:] = torch.randn(4, C, 4, 4)
    assert torch.equal(module(x)[4:8], module(other)[4:8])
    assert not torch.equal(module(x)[:4], module(other)[:4])


def test_module_reads_frames_within_its_reach():
    for kind, reach in {"pool": 1, "pool 5": 2, "tconv": 1, "tsm": 1, "i3d": 1, "tam-ibm": 1}.items():
        torch.manual_seed(0)
        module = randomise(make(kind, 7)).eval()
        x = torch.rand(7, C, 4, 4) + 0.1
        other = x.clone()
        other[3] = torch.rand(C, 4, 4)
        changed = (module(other) != module(x)).flatten(1).any(1)
        own = [] if kind == "i3d" else [3]  # the 2D convolution next to it reads the frame itself
        near = sorted([3 - i for i in range(1, reach + 1)] + own + [3 + i for i in range(1, reach + 1)])
        assert changed.nonzero().flatten().tolist() == near


def test_shift_keeps_inner_frames_of_constant_clip():
    x = torch.randn(1, C, 3, 3).expand(5, -1, -1, -1)
    y = TemporalShift(frames=5)(x)
    assert torch.equal(y[1:-1], x[1:-1])
    assert (y[-1, : C // 8] == 0).all()
    assert (y[0, C // 8 : C // 4] == 0).all()


@pytest.mark.parametrize("name", ["i3d", "nonlocal", "tconv", "tam-ibm", "tada"])
def test_initial_logits_equal_2d_network(name):
    torch.manual_seed(0)
    plain = build(Network2D(backbone="resnet18", temporal="none", frames=4), classes=5).eval()
    other = build(Network2D(backbone="resnet18", temporal=name, frames=4), classes=5).eval()
    left_out = other.load_state_dict(plain.state_dict(), strict=False)
    assert not left_out.unexpected_keys
    assert all(".temporal." in key for key in left_out.missing_keys)
    clips = torch.randn(2, 4, 3, 32, 32)
    assert torch.equal(plain(clips), other(clips))


def test_resnet50_has_five_non_local_blocks_at_positions_of_paper():
    with on_meta():
        network = build(Network2D(temporal="nonlocal"), classes=5)
    found = [name for name, module in network.named_modules() if isinstance(module, NonLocal)]
    blocks = ("layer2.0", "layer2.2", "layer3.0", "layer3.2", "layer3.4")
    assert found == [f"backbone.{block}.temporal" for block in blocks]


SMALL = {"inception_v3": 75}
# Networks with the blocks of another one
DEEP = ("resnet34", "resnet101", "resnet152", "resnext50_32x4d", "resnet18_w16", "inception_v3_cuhk")
GROUPED = ("resnext50_32x4d", "thin_resnext", "mobilenet_v2", "shufflenet_v2_x1_0")


def has_place(name, backbone):
    """Tell whether a 2D network has places for a temporal module."""
    if backbone.startswith("blresnet") or (name in ("gst", "stm", "tada") and "inception" in backbone):
        return False
    return name != "gst" or backbone not in GROUPED


PAIRS = [
    (name, backbone)
    for name in NAMES
    for backbone in BACKBONES
    if (name == "tam" or backbone not in DEEP) and has_place(name, backbone)
]
ONE_PER_PLACE = ("tam", "tsm", "i3d", "nonlocal")
TRAINED = [
    *(
        (name, backbone)
        for name in NAMES
        for backbone in (*BLOCKS, "shufflenet_v2_x1_0")
        if has_place(name, backbone)
    ),
    *((name, "mobilenet_v2") for name in ONE_PER_PLACE),
    *(("tam", backbone) for backbone in ("inception_v3", "bn_inception")),
]


@pytest.mark.parametrize(("name", "backbone"), TRAINED)
def test_training_step_lowers_loss(name, backbone, thin_networks):
    torch.manual_seed(0)
    network = build(Network2D(backbone=backbone, temporal=name, frames=2, dropout=0.0), classes=3).double()
    nn.init.normal_(network.head.weight, std=0.05)
    size = SMALL.get(backbone, 32)
    clips, labels = torch.randn(3, 2, 3, size, size, dtype=torch.float64), torch.arange(3)
    before = F.cross_entropy(network(clips), labels)
    before.backward()
    with torch.no_grad():
        # The step is so small that the loss is nearly linear along it.
        squared = sum(p.grad.square().sum() for p in network.parameters() if p.grad is not None)
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter -= 1e-5 * before * parameter.grad / squared
    assert F.cross_entropy(network(clips), labels) < before
    touched = [p.grad is not None for n, p in network.named_parameters() if ".temporal." in n]
    assert all(touched)


@pytest.mark.parametrize("name", NAMES)
def test_channels_last_keeps_logits(name):
    # Every network is trained in this memory format.
    torch.manual_seed(0)
    network = build(Network2D(backbone="resnet18_w16", temporal=name, frames=4), classes=5).double().eval()
    clips = torch.randn(2, 4, 3, 32, 32, dtype=torch.float64)
    before = network(clips)
    torch.testing.assert_close(network.to(memory_format=torch.channels_last)(clips), before)


@pytest.mark.parametrize("name", NAMES)
def test_logits_of_clip_do_not_depend_on_batch(name):
    torch.manual_seed(0)
    network = build(Network2D(backbone="resnet18_w16", temporal=name, frames=4), classes=5).eval()
    clips = torch.randn(3, 4, 3, 32, 32)
    other = torch.cat([torch.randn(1, 4, 3, 32, 32), clips[1:2], torch.randn(1, 4, 3, 32, 32)])
    with torch.inference_mode():
        assert torch.equal(network(clips)[1], network(other)[1])


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in ("tanet-r", "global")]
)  # parts of tam
def test_network_can_be_copied_pickled_and_exported(name, thin_networks):
    torch.manual_seed(0)
    model = Network2D(backbone="thin_basic", temporal=name, frames=4, stages=("res4",))
    network = build(model, classes=5).eval()
    clips = torch.randn(2, 4, 3, 32, 32)
    with torch.no_grad():
        expected = network(clips)
        assert torch.equal(copy.deepcopy(network)(clips), expected)
        assert torch.equal(pickle.loads(pickle.dumps(network))(clips), expected)
        batch = {0: torch.export.Dim("batch", min=1, max=64)}
        program = torch.export.export(network, (clips,), dynamic_shapes=(batch,)).module()
        torch.testing.assert_close(program(clips), expected)
        more = torch.randn(5, 4, 3, 32, 32)
        torch.testing.assert_close(program(more), network(more))


# Export has traced every module as one graph. These call operations of ours, and are trained compiled.
@pytest.mark.parametrize("name", ["tam", "tsm"])
def test_network_compiles_to_one_graph(name, thin_networks):
    torch.manual_seed(0)
    torch.compiler.reset()  # Dynamo limits the recompilations of one forward method
    model = Network2D(backbone="thin_basic", temporal=name, frames=4, stages=("res4",))
    network = build(model, classes=5).eval()
    clips = torch.randn(2, 4, 3, 32, 32)
    # Finding one graph is enough; generating code would take minutes. Training also needs its gradient.
    is_trained = name == "tam"
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager" if is_trained else "eager")
    with torch.inference_mode(not is_trained):
        answer = compiled(clips)
        torch.testing.assert_close(answer, network(clips))
    if is_trained:
        answer.sum().backward()


@pytest.mark.parametrize("name", ["i3d", "nonlocal", "gst", "tada"])
def test_modules_with_fixed_places_reject_a_position(name):
    with pytest.raises(ValueError, match=f"{name} is placed .*: its position must be auto, not c"):
        build(Network2D(backbone="resnet50", temporal=name, position="c"), classes=5)


def test_position_moves_module_within_block():
    with on_meta():
        network = build(Network2D(backbone="resnet50", temporal="tsm", position="c"), classes=5)
    assert isinstance(network.backbone.layer1[0].conv3.temporal, TemporalShift)


def test_modules_are_inserted_in_chosen_stages_only():
    with on_meta():
        network = build(
            Network2D(backbone="resnet50", temporal="nonlocal", stages=("res4", "res5")), classes=5
        )
    assert sum(isinstance(module, NonLocal) for module in network.modules()) == 3
    with pytest.raises(ValueError, match="ResNet has no block in the chosen stages"):
        build(Network2D(backbone="resnet50", temporal="nonlocal", stages=("res5",)), classes=5)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda: TemporalPool(frames=4, kernel=2), "kernel must be odd"),
        (lambda: TemporalConv(4, frames=0), "frames must be positive"),
        (lambda: TemporalShift(frames=4, divisor=0), "must be positive"),
        (lambda: TEI(4, frames=4), "reduction at most 4"),
        (lambda: SideTaps(nn.Conv2d(8, 8, 1, groups=2), frames=4), "groups=1"),
        (lambda: NonLocal(4, frames=0), "frames must be positive"),
        (lambda: GlobalBranch(frames=4, kernel=4), "kernel must be odd"),
        (lambda: LocalBranch(4, frames=4, beta=5), "beta must be in"),
        (lambda: GlobalSE(4, frames=4), "reduction must be in"),
        (lambda: TemporalAggregation(4, frames=0), "frames must be positive"),
    ],
)
def test_invalid_arguments_are_rejected(bad, message):
    with pytest.raises(ValueError, match=message):
        bad()


def test_every_module_can_be_inserted_in_every_backbone():
    with on_meta():
        for name, backbone in PAIRS:
            build(Network2D(backbone=backbone, temporal=name, frames=2), classes=3)


@pytest.mark.parametrize(
    ("name", "backbone", "cause"),
    [
        ("tam", "blresnet50", "no places for temporal modules"),
        ("gst", "mobilenet_v2", "3×3 convolutions without groups"),
        ("stm", "bn_inception", "does not exist in the branches of Inception"),
    ],
)
def test_networks_without_places_for_a_module_are_refused(name, backbone, cause):
    with pytest.raises(ValueError, match=cause), on_meta():
        build(Network2D(backbone=backbone, temporal=name, frames=2), classes=3)


@pytest.mark.parametrize("kind", [*KINDS, "tam"])
def test_images_that_do_not_form_whole_clips_are_rejected(kind):
    with pytest.raises(ValueError, match="20 images cannot be divided into clips of 8 frames"):
        make(kind, 8)(torch.randn(20, C, 4, 4))
