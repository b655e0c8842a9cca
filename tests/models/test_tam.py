"""TAM matches the formulas of the paper, which are implemented here again with PyTorch convolutions."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from tanet import TAM
from tanet.models.factory import build
from tanet.models.temporal.tam_ablations import GlobalBranch, LocalBranch
from tanet.models.temporal.tam_branches import global_branch
from tanet.ops import adaptive_conv, shift
from tanet.recipes.recipe import Network2D
from tests.support.narrow_networks import NARROW


def tam_of_paper(tam, x):
    """Compute equations 1 to 4 and 7 (or 8) in training mode from the weights of the module."""
    w, frames = dict(tam.state_dict()), tam.frames
    clips, channels = x.shape[0] // frames, x.shape[1]
    video = x.view(clips, frames, channels, *x.shape[2:]).transpose(1, 2)  # [N, C, T, H, W]
    s = video.mean((3, 4))
    hidden = F.linear(s.reshape(clips * channels, frames), w["G.0.weight"])
    hidden = F.batch_norm(hidden, None, None, w["G.1.weight"], w["G.1.bias"], training=True)
    taps = len(w["G.3.weight"])
    logits = F.linear(hidden.relu(), w["G.3.weight"]).view(clips, channels, taps)
    theta = logits.softmax(-1) + w.get("S", torch.zeros(()))
    local = F.conv1d(s, w["L.0.weight"], padding=w["L.0.weight"].shape[-1] // 2)
    local = F.batch_norm(local, None, None, w["L.1.weight"], w["L.1.bias"], training=True)
    v = F.conv1d(local.relu(), w["L.3.weight"]).sigmoid()[..., None, None]

    def aggregate(z):  # a grouped convolution over time, as in the published code
        z = z.reshape(1, clips * channels, frames, -1)
        y = F.conv2d(z, theta.view(-1, 1, taps, 1), padding=(taps // 2, 0), groups=clips * channels)
        return y.view_as(video)

    y = aggregate(v * video) if tam.order == "tam" else v * aggregate(video)
    return y.transpose(1, 2).reshape_as(x)


@pytest.mark.parametrize("frames", [3, 8, 16])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel": 5},
        {"kernel": 5, "local_kernel": 5},
        {"order": "tanet-r"},
        {"static_kernel": "random"},
        {"static_kernel": "zeros", "order": "tanet-r"},
    ],
)
def test_tam_matches_formula_of_paper(frames, options):
    torch.manual_seed(0)
    tam = TAM(8, frames=frames, **options).double()
    with torch.no_grad():
        for parameter in tam.parameters():
            parameter.normal_()
    x = torch.randn(2 * frames, 8, 3, 5, dtype=torch.float64)
    assert (tam(x) - tam_of_paper(tam, x)).abs().max() <= 1e-10


def test_gradients_pass_gradcheck():
    torch.manual_seed(0)
    tam = TAM(4, frames=3, beta=2, static_kernel="random").double()
    x = torch.randn(6, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    names, values = zip(*tam.named_parameters(), strict=True)

    def run(x, *parameters):
        return torch.func.functional_call(tam, dict(zip(names, parameters, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *values))


def test_parameters_have_published_names_and_shapes():
    shapes = {name: tuple(p.shape) for name, p in TAM(64, frames=8).named_parameters()}
    assert shapes == {
        "G.0.weight": (16, 8),
        "G.1.weight": (16,),
        "G.1.bias": (16,),
        "G.3.weight": (3, 16),
        "L.0.weight": (16, 64, 3),
        "L.1.weight": (16,),
        "L.1.bias": (16,),
        "L.3.weight": (64, 16, 1),
    }


def test_tam_mixes_neighbouring_frames_of_one_clip_only():
    torch.manual_seed(0)
    tam = TAM(8, frames=4).eval()
    x = torch.randn(12, 8, 3, 3)
    y = tam(x)
    assert not torch.allclose(x, y, atol=0.1)
    other = x.clone()
    other[5] += 1  # a frame of the second of three clips
    changed = (tam(other) - y).abs().amax((1, 2, 3)) > 1e-7
    assert not changed[:4].any()
    assert not changed[8:].any()
    assert changed[4:7].all()  # the changed frame and both neighbours


def test_kernel_depends_on_clip():
    torch.manual_seed(0)
    tam = TAM(8, frames=4).eval()
    gate, kernel = tam.branches(torch.randn(8, 8, 3, 3))
    assert gate.shape == (2, 8, 4)
    assert kernel.shape == (2, 8, 3)
    assert torch.allclose(kernel.sum(-1), torch.ones(2, 8))
    assert not torch.allclose(kernel[0], kernel[1])


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize(("frames", "alpha"), [(4, 2), (8, 1), (8, 2), (16, 2), (32, 4)])
def test_center_tap_bias_starts_kernel_near_identity(frames, alpha, kernel):
    torch.manual_seed(0)
    rows = torch.randn(256, frames)
    middle = kernel // 2
    weights = []
    for center_tap_bias in (0.0, 6.0, 19.0):
        torch.manual_seed(0)
        branch = global_branch(frames, alpha=alpha, kernel=kernel, center_tap_bias=center_tap_bias)
        theta = branch(rows)
        weights.append(theta.mean(0)[middle].item())
        theta[:, 0].sum().backward()
        assert branch[3].weight.grad.abs().max() > 1e-6  # the branch can still move away from the identity
    assert weights[0] == pytest.approx(1 / kernel, abs=0.15)
    assert 0.8 < weights[1] < 0.999
    assert weights[2] > 0.9


@pytest.mark.parametrize("temporal", ["tam", "tanet-r", "global", "global+se"])
def test_recipe_sets_center_tap_bias(temporal):
    states = []
    for center_tap_bias in (0.0, 6.0):
        torch.manual_seed(0)
        model = Network2D(
            backbone="resnet18_w16", temporal=temporal, frames=4, center_tap_bias=center_tap_bias
        )
        states.append(build(model, classes=2).state_dict())
    for name, usual in states[0].items():
        ours = states[1][name]
        if name.endswith(".G.3.weight"):
            assert torch.equal(ours[::2], usual[::2])
            assert torch.allclose(ours[1] - usual[1], torch.tensor(6.0 / (0.4 * 8)), atol=1e-6)
        else:
            assert torch.equal(ours, usual)


def test_shift_starts_as_tsm():
    """With equal weights from G, an eighth of the channels reads the next frame, an eighth the one before."""
    torch.manual_seed(0)
    tam = TAM(16, frames=4, static_kernel="shift").eval()
    x = torch.randn(8, 16, 3, 3)
    with torch.no_grad():
        tam.G[3].weight.zero_()
        gate, kernel = tam.branches(x)
        gated = x * gate.mT.flatten(0, 1)[..., None, None]
        torch.testing.assert_close(tam(x), shift(gated, frames=4, part=2))
    assert torch.allclose(kernel.sum(-1), torch.ones(()))


@pytest.mark.parametrize(("bias", "tolerance"), [(0.0, 0.35), (19.0, 0.1)])
def test_shift_takes_the_start_of_the_adaptive_kernel_into_account(bias, tolerance):
    """The recipe finetune starts G at the middle tap."""
    torch.manual_seed(0)
    tam = TAM(16, frames=8, static_kernel="shift", center_tap_bias=bias)
    mean = tam.branches(torch.randn(64, 16, 3, 3))[1].mean(0)
    wanted = torch.eye(3)[[2] * 2 + [0] * 2 + [1] * 12]
    assert (mean - wanted).abs().max() < tolerance


def test_shift_moves_at_least_one_channel_each_way():
    """SlowFast's fast pathway has layers of fewer than shift_div channels."""
    taps = (TAM(4, frames=4, beta=2, static_kernel="shift").S > 0).int().argmax(1)
    assert taps.tolist() == [2, 0, 1, 1]
    with pytest.raises(ValueError, match="needs at least 3 taps and 3 channels, not 3 and 2"):
        TAM(2, frames=4, beta=2, static_kernel="shift")


def test_static_kernel_of_zeros_changes_nothing_at_first_and_learns():
    torch.manual_seed(0)
    plain, tam = TAM(8, frames=4), TAM(8, frames=4, static_kernel="zeros")
    tam.load_state_dict({**plain.state_dict(), "S": torch.zeros(8, 3)})
    x = torch.randn(8, 8, 3, 3)
    torch.testing.assert_close(tam(x), plain(x))
    tam(x).square().sum().backward()
    assert tam.S.grad.any()
    assert TAM(8, frames=4).S is None
    assert TAM(64, frames=4, static_kernel="random", static_strength=2.0).S.std().item() == pytest.approx(
        2.0, rel=0.3
    )


def test_ablations_with_static_kernels_are_parts_of_tam():
    """The local branch is TAM whose logits are 0; the global branch is TAM with a gate of 1."""
    torch.manual_seed(0)
    tam, x = TAM(8, frames=4, static_kernel="random"), torch.randn(8, 8, 3, 3)
    local = LocalBranch(8, frames=4, static=torch.zeros(8, 3))
    whole = GlobalBranch(frames=4, static=torch.zeros(8, 3))
    local.load_state_dict({key: value for key, value in tam.state_dict().items() if key[0] in "LS"})
    whole.load_state_dict({key: value for key, value in tam.state_dict().items() if key[0] in "GS"})
    torch.testing.assert_close(whole(x), adaptive_conv(x, tam.branches(x)[1]))
    with torch.no_grad():
        tam.G[3].weight.zero_()
    torch.testing.assert_close(local(x), tam(x))


def test_static_kernels_need_a_module_that_has_them():
    with pytest.raises(ValueError, match=r"shift works only with .* tam, .*, not tsm: .* none"):
        Network2D(temporal="tsm", static_kernel="shift")
    with pytest.raises(ValueError, match=r"zeros works only with .* tam, not conv"):
        replace(NARROW["slowonly"], static_kernel="zeros")
    assert "temporal module tam with static kernels" in Network2D(static_kernel="shift").title


@pytest.mark.parametrize("name", ["tam-slowonly", "tam-slowfast"])
def test_3d_networks_take_static_kernels(name):
    model = replace(NARROW[name], static_kernel="shift")
    network = build(model, classes=3)
    tams = [module for module in network.modules() if isinstance(module, TAM)]
    assert tams
    assert all(tam.S.shape == (tam.L[0].in_channels, 3) for tam in tams)


def test_fixed_kernels_reduce_tam_to_tsn_and_tsm():
    """With gate 1, Θ = [0, 1, 0] is the plain network; [1, 0, 0] and [0, 0, 1] shift by one frame."""

    class Fixed(TAM):
        def _branches(self, s):
            clips = s.shape[0] // self.frames
            return torch.ones(clips, 2, self.frames), torch.tensor(self.theta).expand(clips, 2, 3)

    tam = Fixed(2, frames=4, beta=1)
    x = torch.randn(8, 2, 3, 3)
    clips = x.view(2, 4, 2, 3, 3)
    tam.theta = [0.0, 1.0, 0.0]
    assert torch.equal(tam(x), x)
    tam.theta = [1.0, 0.0, 0.0]
    assert torch.equal(tam(x).view_as(clips)[:, 1:], clips[:, :-1])
    tam.theta = [0.0, 0.0, 1.0]
    assert torch.equal(tam(x).view_as(clips)[:, :-1], clips[:, 1:])


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": 2},
        {"local_kernel": 4},
        {"beta": 9},
        {"order": "tan"},
        {"frames": 0},
        {"center_tap_bias": -1.0},
        {"static_kernel": "none at all"},
        {"static_strength": -1.0},
        {"static_kernel": "shift", "kernel": 1},
    ],
)
def test_invalid_arguments_are_rejected(options):
    with pytest.raises(ValueError, match=r"kernel|beta|order|frames|center_tap_bias|static"):
        TAM(8, **{"frames": 4, **options})
