"""TAMs in 3D networks are recorded by stage and pathway; convolutions over time give fixed kernels."""

from dataclasses import replace

import pytest
import torch

from tanet.checkpoints import checkpoint
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.cli import main
from tanet.errors import UserError
from tanet.models.factory import build
from tanet.models.video_backbones.tam3d import frames_of
from tanet.ops import adaptive_conv
from tanet.visualization.fixed_kernels import fixed_kernels, name_of_kernels
from tanet.visualization.record import last_sites, record_batch, require_adaptive
from tests.support.narrow_networks import NARROW, ONE_EACH, RESNET3D, SLOWFAST
from tests.support.tiny_videos import TINY, make, make_folders

TWO = replace(SLOWFAST, width=32, temporal="tam", blocks=(1, 1, 2, 1), fast_blocks=(1, 1, 2, 1))
TWO = replace(TWO, temporal_blocks=(1, 1, 2, 1))
FOUND = {
    "slow res4": "slow.res4.1",
    "slow res5": "slow.res5.0",
    "fast res2": "fast.res2.0",
    "fast res3": "fast.res3.0",
    "fast res4": "fast.res4.1",
    "fast res5": "fast.res5.0",
}


def make_model(settings):
    torch.manual_seed(0)
    network = build(settings, classes=2).eval()
    with torch.no_grad():  # the initial weights give the same kernel for all channels and clips
        for name, weight in network.named_parameters():
            if ".G." in name or ".L." in name:
                weight.copy_(torch.randn_like(weight))
    return Checkpoint(network, replace(TINY, model=settings), ("run", "jump"))


def views_of(model, count=2):
    generator = torch.Generator().manual_seed(1)
    shape = (count, model.recipe.model.frames, 3, 32, 32)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        (TWO, FOUND),
        (replace(RESNET3D, temporal="tam"), {"res4": "res4.0", "res5": "res5.0"}),
        (
            replace(NARROW["i3d"], temporal="tam", frames=16, blocks=(1, 3, 1, 2)),
            {"res2": "res2.0", "res3": "res3.2", "res4": "res4.0", "res5": "res5.1"},
        ),
    ],
    ids=["slowfast", "slowonly", "i3d"],
)
def test_last_tam_of_each_stage_is_recorded(settings, found):
    model = make_model(settings)
    require_adaptive(model)
    seen = {}
    for site in last_sites(model):
        tam = site.module.get_submodule("temporal")
        tam.register_forward_hook(lambda _, x, y, name=site.name: seen.update({name: (x[0], y)}))
    recorded = record_batch(model, views_of(model))[1]
    assert {site.stage: site.name for site, _ in recorded} == found
    for site, (gate, kernel) in recorded:
        assert gate is not None
        assert kernel is not None
        x, y = seen[site.name]  # [2, C, T, H, W]
        assert gate.shape == x.shape[:3]
        torch.testing.assert_close(adaptive_conv(frames_of(x), kernel, gate=gate), frames_of(y))
        assert all((part[0] - part[1]).abs().max() > 0 for part in (gate, kernel))


def test_pathways_have_their_own_numbers_of_frames():
    recorded = record_batch(model := make_model(TWO), views_of(model, 1), stages=("res5",))[1]
    frames = {site.stage: gate.shape[-1] for site, (gate, _) in recorded if gate is not None}
    assert frames == {"slow res5": 2, "fast res5": 8}


def test_network_without_tam_is_refused_in_one_line():
    with pytest.raises(UserError, match="has no TAM: SlowFast-14 2\\+8, 3×1×1 convolutions computes no gate"):
        require_adaptive(make_model(SLOWFAST))
    with pytest.raises(UserError, match="has no TAM: I3D"):
        require_adaptive(make_model(NARROW["i3d-inception"]))
    model = make_model(replace(RESNET3D, temporal="tam"))
    with pytest.raises(UserError, match="TAM is in no block of res2"):
        last_sites(model, stages=("res2",))


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (RESNET3D, {"res4": "res4.0.conv1", "res5": "res5.0.conv1"}),
        (
            SLOWFAST,
            {
                f"{pathway} {stage}": f"{pathway}.{stage}.0.conv1"
                for pathway, stages in (("slow", "45"), ("fast", "2345"))
                for stage in (f"res{number}" for number in stages)
            },
        ),
        (NARROW["x3d"], {f"res{number}": None for number in (2, 3, 4, 5)}),
        (
            NARROW["i3d-inception"],
            {"res3": "Mixed_3c.b2b.conv", "res4": "Mixed_4f.b2b.conv", "res5": "Mixed_5c.b2b.conv"},
        ),
    ],
    ids=["slowonly", "slowfast", "x3d", "i3d-inception"],
)
def test_convolutions_over_time_are_fixed_kernels(settings, names):
    model = make_model(settings)
    kernels = fixed_kernels(model)
    assert {kernel.stage: kernel.site for kernel in kernels}.keys() == names.keys()
    for kernel in kernels:
        assert names[kernel.stage] in (None, kernel.site)
        weight = model.network.get_parameter(f"{kernel.site}.weight")
        assert kernel.shares.shape == (weight[:, :, 0].numel(), 3)
        torch.testing.assert_close(kernel.shares.sum(1), torch.ones(len(kernel.shares)))
    assert name_of_kernels(model) == "3D convolution"


def test_shares_of_3d_kernel_are_over_time():
    model = make_model(NARROW["x3d"])
    weight = model.network.get_parameter(f"{fixed_kernels(model, stages=['res5'])[0].site}.weight")
    with torch.no_grad():
        for tap, value in enumerate((-1.0, 2.0, 5.0)):
            weight[:, :, tap] = value
    (kernels,) = fixed_kernels(model, stages=["res5"])
    assert torch.equal(kernels.shares.unique(dim=0), torch.tensor([[0.125, 0.25, 0.625]]))


def test_networks_without_fixed_kernels_are_refused():
    with pytest.raises(UserError, match=r"'tam' does not learn fixed kernels .* or a 3D network without TAM"):
        fixed_kernels(make_model(replace(RESNET3D, temporal="tam")))
    plain = replace(RESNET3D, temporal_blocks=("none",) * len(ONE_EACH))
    with pytest.raises(UserError, match="has no convolution over time in res4, res5"):
        fixed_kernels(make_model(plain), stages=("res4", "res5"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("show")
    one = replace(SLOWFAST, width=32, temporal="tam")
    for name, settings in (("tam", one), ("plain", SLOWFAST), ("slowonly", RESNET3D)):
        checkpoint.save(folder / name, make_model(settings))
    make_folders(folder / "videos", train=1, val=1)
    return folder


def run_show(folder, out, *args):
    return main(["show", str(folder / "tam"), *map(str, args), "--device", "cpu", "--out", str(out)])


def test_show_command_draws_both_pathways(folder, tmp_path, capsys):
    assert run_show(folder, tmp_path / "a.svg", make(tmp_path / "jump.mp4")) == 0
    caption = capsys.readouterr().out
    assert all(f"{stage}: std of V" in caption for stage in FOUND)
    assert (tmp_path / "a.svg").stat().st_size > 10_000


@pytest.mark.slow
def test_show_command_draws_many_videos_of_two_networks(folder, tmp_path, capsys):
    args = [folder / "videos", "--against", folder / "plain"]
    assert run_show(folder, tmp_path / "a.pdf", *args) == 0
    assert "3D convolution in fast res5: median share" in capsys.readouterr().out
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"a-gates.pdf", "a-kernels.pdf", "a-motion.pdf"}


def test_networks_without_common_stage_are_not_compared(folder, tmp_path, capsys):
    args = [folder / "videos", "--against", folder / "slowonly"]
    assert run_show(folder, tmp_path / "a.pdf", *args) == 2
    cause = "has kernels in res4, res5, but TAM is in fast res4, fast res5, slow res4"
    assert cause in capsys.readouterr().err
