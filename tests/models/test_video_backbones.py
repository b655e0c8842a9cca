"""3D networks keep the contract of all networks, average windows, train, and can be folded and optimized."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tanet.errors import UserError
from tanet.models.factory import build
from tanet.models.fusion.fold_batch_norm import fold_batch_norms
from tanet.models.video_backbones import inception_i3d
from tanet.models.video_backbones.clip_network import average_windows, initialize
from tanet.recipes.networks3d import X3D, InceptionI3D, ResNet3D, SlowFast
from tanet.recipes.networks3d_factored import S3D
from tests.support.narrow_networks import NARROW, SIZE, randomize_norms

LARGER = {  # twice the size of training: the last map has 2 × 2 windows
    "slowonly": replace(NARROW["slowonly"], head_window=1),
    "slowfast": replace(NARROW["slowfast"], head_window=1),
    "x3d": replace(NARROW["x3d"], head_window=1),
}


def trained(model):
    """Build a network in float64 and evaluation mode. All its weights matter for its logits."""
    torch.manual_seed(0)
    network = randomize_norms(build(model, classes=5))
    nn.init.normal_(network.head.weight)
    if isinstance(model, S3D):  # its first weights are so small that no clip would matter
        initialize(network)
    return network


def clips_for(network, count=2, *, size=SIZE):
    return torch.randn(count, network.frames, 3, size, size, dtype=torch.float64)


@pytest.mark.parametrize("name", NARROW)
def test_head_applied_to_features_gives_logits(name):
    network = trained(NARROW[name])
    clips = clips_for(network)
    with torch.inference_mode():
        logits, features = network(clips), network.features(clips)
        assert logits.shape == (2, 5)
        assert features.shape == (2, network.head.in_features)
        torch.testing.assert_close(network.head(features), logits)
        torch.testing.assert_close(network(clips[1:]), logits[1:])  # other clips have no influence
        assert not torch.allclose(network(clips.flip(1)), logits, rtol=1e-6)  # the order of frames has


def test_order_of_frames_does_not_matter_without_temporal_layers():
    network = trained(replace(NARROW["slowonly"], temporal_blocks=("none",) * 4))
    clips = clips_for(network)
    with torch.inference_mode():
        torch.testing.assert_close(network(clips.flip(1)), network(clips))


def test_only_inception_takes_clips_of_any_length():
    for name in ("slowonly", "slowfast", "x3d"):
        network = build(NARROW[name], classes=2)
        with pytest.raises(
            ValueError, match=rf"^expected clips \[B, {network.frames}, 3, H, W\], not \[1, 5,"
        ):
            network(torch.zeros(1, 5, 3, SIZE, SIZE))
        assert not NARROW[name].any_frames
    network = trained(InceptionI3D())
    assert InceptionI3D.any_frames
    with torch.inference_mode():
        for frames in (1, 10):
            assert network(torch.zeros(1, frames, 3, SIZE, SIZE, dtype=torch.float64)).isfinite().all()
    with pytest.raises(ValueError, match=r"^expected clips \[B, T, 3, H, W\], not \[5, 3, 32, 32\]$"):
        network(torch.zeros(5, 3, SIZE, SIZE))


@pytest.mark.parametrize(
    ("sides", "window", "corners", "sizes"),
    [
        ((3, 3), 2, [(0, 0), (0, 1), (1, 0), (1, 1)], (2, 2)),
        ((2, 4), 3, [(0, 0), (0, 1)], (2, 3)),
        ((3, 4), 0, [(0, 0)], (3, 4)),
        ((3, 4), 5, [(0, 0)], (3, 4)),
    ],
)
def test_windows_lie_in_every_place_of_map(sides, window, corners, sizes):
    maps = torch.randn(2, 3, 4, *sides, dtype=torch.float64)
    found = average_windows(maps, window)
    height, width = sizes
    expected = [maps[:, :, :, y : y + height, x : x + width].mean((2, 3, 4)) for y, x in corners]
    torch.testing.assert_close(found, torch.stack(expected, 1))


@pytest.mark.parametrize("name", LARGER)
def test_probabilities_are_averaged_over_windows(name):
    network = trained(LARGER[name])
    maps = []
    network.register_forward_pre_hook(lambda *_: maps.clear())
    last = [network.norm5] if name == "x3d" else [network.res5] if name == "slowonly" else []
    last = last or [network.slow.res5, network.fast.res5]
    for module in last:
        module.register_forward_hook(lambda _, inputs, output: maps.append(output.relu()))
    clips = clips_for(network, size=2 * SIZE)
    with torch.inference_mode():
        found = network(clips)
        answers = []
        for y in range(2):
            for x in range(2):
                features = torch.cat([one[:, :, :, y, x].mean(2) for one in maps], 1)
                if name == "x3d":
                    features = F.relu(network.hidden(features))
                answers.append(network.head(features))
        expected = sum(answer.softmax(1) for answer in answers) / 4
        torch.testing.assert_close(found, expected.log())
        assert not torch.allclose(found.softmax(1), (sum(answers) / 4).softmax(1), rtol=1e-3)
        torch.testing.assert_close(found.exp().sum(1), torch.ones(2, dtype=torch.float64))
        whole = trained(replace(LARGER[name], head_window=0))
        assert not torch.allclose(whole(clips).softmax(1), expected, rtol=1e-3)


def test_logits_are_averaged_over_windows_in_training():
    network = trained(LARGER["slowonly"])
    clips = clips_for(network, size=2 * SIZE)
    network.dropout.p = 0.0
    with torch.inference_mode():
        expected = network.head(network.windows(clips)).mean(1)
        network.training = True  # BatchNorms stay in evaluation mode
        torch.testing.assert_close(network(clips), expected)


def test_i3d_averages_logits_over_time_and_space(monkeypatch):
    monkeypatch.setattr(inception_i3d, "WINDOW", (2, 1, 1))
    network = trained(InceptionI3D(frames=17))
    maps = []
    network.get_submodule("Mixed_5c").register_forward_hook(lambda _, inputs, output: maps.append(output))
    with torch.inference_mode():
        found = network(clips_for(network, 1, size=2 * SIZE))
        assert maps[0].shape == (1, 1024, 3, 2, 2)
        answers = [
            network.head(maps[0][:, :, t : t + 2, y, x].mean(2))
            for t in range(2)
            for y in range(2)
            for x in range(2)
        ]
        torch.testing.assert_close(found, sum(answers) / 8)


@pytest.mark.parametrize("name", NARROW)
def test_one_step_lowers_loss_and_reaches_every_weight(name):
    torch.manual_seed(0)
    network = build(replace(NARROW[name], dropout=0.0), classes=3).train()
    clips, labels = torch.randn(4, network.frames, 3, SIZE, SIZE), torch.tensor([0, 1, 2, 0])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02)
    before = F.cross_entropy(network(clips), labels)
    before.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    optimizer.step()
    assert F.cross_entropy(network(clips), labels) < before


@pytest.mark.parametrize("name", NARROW)
def test_folding_removes_every_3d_norm_and_keeps_logits(name):
    network = trained(NARROW[name])
    clips = clips_for(network, 1)
    norms = sum(isinstance(module, nn.BatchNorm3d) for module in network.modules())
    if name == "artnet":  # those that start a block, end the network or follow squares stay
        norms -= 8 + 1 + 7
    with torch.no_grad():
        expected = network(clips)
        assert fold_batch_norms(network) == norms
        torch.testing.assert_close(network(clips), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NARROW)
def test_optimize_prepares_faster_copy_with_same_logits(name):
    network = trained(NARROW[name]).float()
    before = copy.deepcopy(network.state_dict())
    clips = clips_for(network).float()
    with torch.inference_mode():
        fast = network.optimize()
        if name != "artnet":
            assert not any(isinstance(module, nn.BatchNorm3d) for module in fast.modules())
        torch.testing.assert_close(fast(clips), network(clips), rtol=1e-3, atol=1e-3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_compiled_network_has_same_logits():
    network = trained(NARROW["tam-slowonly"]).float()
    clips = clips_for(network).float()
    # Tracing shows whether there is one graph. test_fold_batch_norm.py also generates code, which takes long.
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    with torch.inference_mode():
        torch.testing.assert_close(compiled(clips), network(clips), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ResNet3D(blocks=(3, 4, 6)), "model.blocks needs 4 values, for res2 to res5, not 3"),
        (
            lambda: ResNet3D(temporal_blocks=("all",) * 5),
            "model.temporal_blocks needs 4 values, for res2 to res5, not 5",
        ),
        (
            lambda: ResNet3D(temporal_blocks=("all", "some", "all", "all")),
            "unknown model.temporal_blocks 'some': choose from all, even, odd, none",
        ),
        (lambda: ResNet3D(blocks=(3, 0, 6, 3)), "model.blocks must be at least 1, not 0"),
        (lambda: ResNet3D(stem_kernel=2), "model.stem_kernel must be odd, not 2"),
        (
            lambda: ResNet3D(non_local=("res3.4",)),
            "unknown model.non_local 'res3.4': blocks are res2.0 to res5.2",
        ),
        (lambda: ResNet3D(temporal="tsm"), "unknown model.temporal 'tsm': choose from conv, tam"),
        (lambda: SlowFast(fast_blocks=(1, 1)), "model.fast_blocks needs 4 values, for res2 to res5, not 2"),
        (lambda: SlowFast(frames=30), "model.frames 30 must be a multiple of model.speed_ratio 8"),
        (
            lambda: SlowFast(width=16, temporal="tam"),
            "model.width must be at least 32 with model.temporal tam, not 16",
        ),
        (
            lambda: build(replace(NARROW["i3d"], frames=2), classes=2),
            "model.frames 2 are too few for this network's strides over time",
        ),
        (lambda: SlowFast(width=20), "model.width must be a multiple of 8, not 20"),
        (lambda: SlowFast(lateral_kernel=4), "model.lateral_kernel must be odd, not 4"),
        (
            lambda: SlowFast(non_local=("res6.0",)),
            "unknown model.non_local 'res6.0': blocks are res2.0 to res5.2",
        ),
        (lambda: X3D(width_factor=0), "model.width_factor must be above 0, not 0"),
        (lambda: InceptionI3D(frames=0), "model.frames must be at least 1, not 0"),
    ],
)
def test_wrong_settings_give_error_of_one_line(make, message):
    with pytest.raises(UserError) as error:
        make()
    assert str(error.value) == message
