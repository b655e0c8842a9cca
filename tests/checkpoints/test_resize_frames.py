"""Adapting weights to another number of frames, and starting a training from a checkpoint."""

import dataclasses

import pytest
import torch

from tanet.checkpoints import checkpoint
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.checkpoints.initialize import load_initial_weights
from tanet.checkpoints.resize_frames import resize_frames
from tanet.models.factory import build
from tanet.models.temporal import TAM, TEMPORAL
from tanet.recipes.recipe import Network2D
from tests.support.tiny_videos import TINY

WITH_T = ("tam", "tanet-r", "global", "global+se")
SITE = "backbone.layer1.0.conv2.temporal."


def random_tam(frames, kernel=3):
    """Build a TAM with random weights and statistics."""
    module = TAM(8, frames=frames, kernel=kernel).eval()
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(
                    torch.rand_like(tensor) + 0.5 if "running_var" in name else torch.randn_like(tensor)
                )
    return module


def resized_tam(module, frames):
    """Build a TAM for another number of frames with weights adapted from `module`."""
    state = resize_frames({f"{SITE}{k}": v for k, v in module.state_dict().items()}, frames=frames)
    other = TAM(8, frames=frames, kernel=module.taps).eval()
    other.load_state_dict({name.removeprefix(SITE): tensor for name, tensor in state.items()})
    return other


def predict_kernel(module, s):
    return module.G(s.flatten(0, 1)).unflatten(0, s.shape[:2])


@pytest.mark.parametrize(("frames", "times", "kernel"), [(4, 2, 3), (8, 2, 5), (3, 3, 3), (1, 5, 3)])
def test_repeated_frames_give_same_kernel(frames, times, kernel):
    torch.manual_seed(0)
    module = random_tam(frames, kernel)
    x = torch.randn(2 * frames, 8, 3, 3)
    theta = module.branches(x)[1]
    repeated = resized_tam(module, frames * times).branches(x.repeat_interleave(times, 0))[1]
    assert theta.std() > 0.02
    torch.testing.assert_close(repeated, theta)


@pytest.mark.parametrize(("frames", "more"), [(4, 6), (8, 13), (2, 3)])
def test_kernel_of_more_frames_equals_kernel_of_their_means(frames, more):
    torch.manual_seed(0)
    module, s = random_tam(frames), torch.randn(2, 8, more)
    # Repeat every frame `frames` times, then average groups of `more` pieces to get `frames` means.
    means = s.repeat_interleave(frames, -1).unflatten(-1, (frames, more)).mean(-1)
    torch.testing.assert_close(predict_kernel(resized_tam(module, more), s), predict_kernel(module, means))


@pytest.mark.parametrize(("frames", "more"), [(4, 8), (8, 16), (4, 16)])
def test_resizing_there_and_back_restores_weights(frames, more):
    torch.manual_seed(0)
    module = random_tam(frames)
    back = resized_tam(resized_tam(module, more), frames).state_dict()
    for name, tensor in module.state_dict().items():
        assert torch.equal(back[name], tensor), name


def test_resized_weights_match_values_worked_out_by_hand():
    state = {
        f"{SITE}G.0.weight": torch.tensor([[1.0, 2.0], [3.0, 6.0]]),  # T 2, α 1
        f"{SITE}G.1.running_var": torch.tensor([1.0, 3.0]),
        f"{SITE}G.3.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
    }
    one = resize_frames(state, frames=1)
    assert one[f"{SITE}G.0.weight"].tolist() == [[6.0]]  # mean over both units, summed over both frames
    assert one[f"{SITE}G.1.running_var"].tolist() == [2.0]
    assert one[f"{SITE}G.3.weight"].tolist() == [[3.0], [7.0], [11.0]]
    three = resize_frames(state, frames=3)
    # The new units copy units 0, 0 and 1. The middle frame covers half of each old frame.
    expected = [[2 / 3, 1, 4 / 3], [2 / 3, 1, 4 / 3], [2, 3, 4]]
    torch.testing.assert_close(three[f"{SITE}G.0.weight"], torch.tensor(expected))
    assert three[f"{SITE}G.1.running_var"].tolist() == [1.0, 1.0, 3.0]
    assert three[f"{SITE}G.3.weight"].tolist() == [[0.5, 0.5, 2.0], [1.5, 1.5, 4.0], [2.5, 2.5, 6.0]]


@pytest.mark.parametrize("temporal", TEMPORAL)
def test_resized_weights_fit_network_with_new_number_of_frames(temporal):
    model = Network2D(backbone="resnet18_w16", temporal=temporal, frames=4)
    state = build(model, classes=3).state_dict()
    before = {name: tensor.clone() for name, tensor in state.items()}
    after = resize_frames(state, frames=6)
    build(dataclasses.replace(model, frames=6), classes=3).load_state_dict(after)
    assert all(torch.equal(state[name], before[name]) for name in before)
    other = {name for name in after if after[name] is not state[name] and after[name].ndim}
    assert all(".temporal.G." in name for name in other)
    assert bool(other) == (temporal in WITH_T)
    assert {name: t.dtype for name, t in after.items()} == {name: t.dtype for name, t in before.items()}


def test_zero_frames_are_rejected():
    with pytest.raises(ValueError, match="frames must be positive, not 0"):
        resize_frames({}, frames=0)


@pytest.fixture
def trained(tmp_path):
    torch.manual_seed(0)
    network = build(TINY.model, classes=2)
    path = tmp_path / "trained.safetensors"
    checkpoint.save(path, Checkpoint(network, TINY, ("left", "right")))
    return network, path


def build_from_file(path, *, interpolate=False, **fields):
    """Build a network with other model fields, load its initial weights, and return it with the notes."""
    model = dataclasses.replace(TINY.model, **fields)
    network = build(model, classes=2)
    notes = load_initial_weights(
        network, path, model=model, classes=("left", "right"), interpolate=interpolate
    )
    assert all(note.startswith(f"{path}: ") for note in notes)
    return network, [note.removeprefix(f"{path}: ") for note in notes]


def test_initial_weights_are_copied(trained):
    source, path = trained
    network, notes = build_from_file(path)
    assert notes == []
    assert all(map(torch.equal, network.state_dict().values(), source.state_dict().values()))


@pytest.mark.parametrize("classes", [("right", "left"), ("left", "right", "up")])
def test_classifier_is_new_if_classes_differ(trained, classes):
    source, path = trained
    network = build(TINY.model, classes=len(classes))
    head = network.head.weight.clone()
    notes = load_initial_weights(network, path, model=TINY.model, classes=classes)
    assert len(notes) == 1
    assert "the classifier is not copied" in notes[0]
    assert torch.equal(network.head.weight, head)
    assert torch.equal(network.backbone.conv1.weight, source.backbone.conv1.weight)


def test_other_number_of_frames_needs_interpolate(trained):
    source, path = trained
    with pytest.raises(ValueError, match=r"clips of 4 frames, not 8: --model\.init-frames interpolate"):
        build_from_file(path, frames=8)
    network, notes = build_from_file(path, frames=8, interpolate=True)
    assert notes == ["weights for 4 frames adapted to 8"]
    expected = resize_frames(source.state_dict(), frames=8)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())


def test_initial_weights_of_other_network_are_rejected(trained):
    _, path = trained
    with pytest.raises(ValueError, match=r"the file has temporal tam, model\.temporal is none; leave out"):
        build_from_file(path, temporal="none")
    with pytest.raises(ValueError, match=r"temporal\.G\.3\.weight \[3, 8\] instead of \[5, 8\]"):
        build_from_file(path, kernel=5)
    with pytest.raises(ValueError, match="no such file"):
        build_from_file("absent.safetensors")


def save(path, **fields):
    recipe = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, **fields))
    checkpoint.save(path, Checkpoint(build(recipe.model, classes=2), recipe, ("left", "right")))
    return path


@pytest.mark.parametrize("interpolate", [False, True])
@pytest.mark.parametrize("temporal", ["none", "tsm", "local"])
def test_frames_may_differ_if_weights_do_not_depend_on_them(tmp_path, temporal, interpolate):
    path = save(tmp_path / "a.safetensors", temporal=temporal)
    network, notes = build_from_file(path, temporal=temporal, frames=8, interpolate=interpolate)
    assert notes == ["trained on clips of 4 frames, now 8: its weights fit both"]
    assert network(torch.randn(1, 8, 3, 32, 32)).shape == (1, 2)


@pytest.mark.parametrize(
    ("was", "now", "notes"),
    [
        ({"temporal": "tsm"}, {"temporal": "none"}, ["trained with temporal module tsm, now none"]),
        ({"temporal": "tanet-r"}, {}, ["trained with temporal module tanet-r, now tam"]),
        ({"temporal": "pool"}, {"temporal": "pool", "kernel": 5}, ["trained with kernel 3, now 5"]),
        (
            {"temporal": "tsm"},
            {"temporal": "tsm", "position": "d", "stages": ("res4", "res5")},
            [
                "trained with position a, now d",
                "trained with stages res2, res3, res4, res5, now res4, res5",
            ],
        ),
        # No notes: b is the default position, and a network without a module has no such settings.
        ({}, {"position": "b"}, []),
        ({"temporal": "none"}, {"temporal": "none", "position": "a", "stages": ("res2",), "kernel": 5}, []),
    ],
)
def test_initialisation_reports_settings_that_weights_do_not_show(tmp_path, was, now, notes):
    path = save(tmp_path / "a.safetensors", **was)
    assert build_from_file(path, **now)[1] == notes
