"""Other numbers of frames: which kernel comes out, what stays, and a training's start from a checkpoint."""

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
    """A module whose every weight and statistic counts."""
    module = TAM(8, frames=frames, kernel=kernel).eval()
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(
                    torch.rand_like(tensor) + 0.5 if "running_var" in name else torch.randn_like(tensor)
                )
    return module


def changed(module, frames):
    """The module for another number of frames."""
    state = resize_frames({f"{SITE}{k}": v for k, v in module.state_dict().items()}, frames=frames)
    other = TAM(8, frames=frames, kernel=module.taps).eval()
    other.load_state_dict({name.removeprefix(SITE): tensor for name, tensor in state.items()})
    return other


def kernel_of(module, s):
    return module.G(s.flatten(0, 1)).unflatten(0, s.shape[:2])


@pytest.mark.parametrize(("frames", "times", "kernel"), [(4, 2, 3), (8, 2, 5), (3, 3, 3), (1, 5, 3)])
def test_repeated_frames_have_the_same_kernel(frames, times, kernel):
    torch.manual_seed(0)
    module = random_tam(frames, kernel)
    x = torch.randn(2 * frames, 8, 3, 3)
    theta = module.branches(x)[1]
    repeated = changed(module, frames * times).branches(x.repeat_interleave(times, 0))[1]
    assert theta.std() > 0.02
    torch.testing.assert_close(repeated, theta)


@pytest.mark.parametrize(("frames", "more"), [(4, 6), (8, 13), (2, 3)])
def test_more_frames_give_the_kernel_of_their_means(frames, more):
    torch.manual_seed(0)
    module, s = random_tam(frames), torch.randn(2, 8, more)
    # Each frame cut into equal pieces, as many as make both divisions whole.
    means = s.repeat_interleave(frames, -1).unflatten(-1, (frames, more)).mean(-1)
    torch.testing.assert_close(kernel_of(changed(module, more), s), kernel_of(module, means))


@pytest.mark.parametrize(("frames", "more"), [(4, 8), (8, 16), (4, 16)])
def test_there_and_back_gives_the_weights_back(frames, more):
    torch.manual_seed(0)
    module = random_tam(frames)
    back = changed(changed(module, more), frames).state_dict()
    for name, tensor in module.state_dict().items():
        assert torch.equal(back[name], tensor), name


def test_fewer_frames_by_hand():
    state = {
        f"{SITE}G.0.weight": torch.tensor([[1.0, 2.0], [3.0, 6.0]]),  # T 2, α 1
        f"{SITE}G.1.running_var": torch.tensor([1.0, 3.0]),
        f"{SITE}G.3.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
    }
    one = resize_frames(state, frames=1)
    assert one[f"{SITE}G.0.weight"].tolist() == [[6.0]]  # both units' mean, on the frame that stands for both
    assert one[f"{SITE}G.1.running_var"].tolist() == [2.0]
    assert one[f"{SITE}G.3.weight"].tolist() == [[3.0], [7.0], [11.0]]
    three = resize_frames(state, frames=3)
    # Units 0, 0, 1; the middle frame belongs by halves to both of the old ones.
    expected = [[2 / 3, 1, 4 / 3], [2 / 3, 1, 4 / 3], [2, 3, 4]]
    torch.testing.assert_close(three[f"{SITE}G.0.weight"], torch.tensor(expected))
    assert three[f"{SITE}G.1.running_var"].tolist() == [1.0, 1.0, 3.0]
    assert three[f"{SITE}G.3.weight"].tolist() == [[0.5, 0.5, 2.0], [1.5, 1.5, 4.0], [2.5, 2.5, 6.0]]


@pytest.mark.parametrize("temporal", TEMPORAL)
def test_what_comes_out_fits_a_network_of_that_length(temporal):
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


def test_no_frames_are_refused():
    with pytest.raises(ValueError, match="frames must be positive, not 0"):
        resize_frames({}, frames=0)


@pytest.fixture
def trained(tmp_path):
    torch.manual_seed(0)
    network = build(TINY.model, classes=2)
    path = tmp_path / "trained.safetensors"
    checkpoint.save(path, Checkpoint(network, TINY, ("left", "right")))
    return network, path


def start(path, *, interpolate=False, **fields):
    """A network with other values of its model, started from a file; and the notes without its name."""
    model = dataclasses.replace(TINY.model, **fields)
    network = build(model, classes=2)
    notes = load_initial_weights(
        network, path, model=model, classes=("left", "right"), interpolate=interpolate
    )
    assert all(note.startswith(f"{path}: ") for note in notes)
    return network, [note.removeprefix(f"{path}: ") for note in notes]


def test_a_start_copies_all_weights(trained):
    source, path = trained
    network, notes = start(path)
    assert notes == []
    assert all(map(torch.equal, network.state_dict().values(), source.state_dict().values()))


@pytest.mark.parametrize("classes", [("right", "left"), ("left", "right", "up")])
def test_a_start_with_other_classes_has_a_fresh_classifier(trained, classes):
    source, path = trained
    network = build(TINY.model, classes=len(classes))
    head = network.head.weight.clone()
    notes = load_initial_weights(network, path, model=TINY.model, classes=classes)
    assert len(notes) == 1
    assert "the classifier is not copied" in notes[0]
    assert torch.equal(network.head.weight, head)
    assert torch.equal(network.backbone.conv1.weight, source.backbone.conv1.weight)


def test_a_start_with_other_frames_must_be_asked_for(trained):
    source, path = trained
    with pytest.raises(ValueError, match=r"clips of 4 frames, not 8: --model\.init-frames interpolate"):
        start(path, frames=8)
    network, notes = start(path, frames=8, interpolate=True)
    assert notes == ["weights for 4 frames adapted to 8"]
    expected = resize_frames(source.state_dict(), frames=8)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())


def test_a_start_from_another_network_names_what_does_not_fit(trained):
    _, path = trained
    with pytest.raises(
        ValueError, match=r"missing: none; unexpected: backbone\.layer1\.0\.conv2\.temporal\.G"
    ):
        start(path, temporal="none")
    with pytest.raises(ValueError, match=r"temporal\.G\.3\.weight \[3, 8\] instead of \[5, 8\]"):
        start(path, kernel=5)
    with pytest.raises(ValueError, match="no such file"):
        start("absent.safetensors")


def save(path, **fields):
    recipe = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, **fields))
    checkpoint.save(path, Checkpoint(build(recipe.model, classes=2), recipe, ("left", "right")))
    return path


@pytest.mark.parametrize("interpolate", [False, True])
@pytest.mark.parametrize("temporal", ["none", "tsm", "local"])
def test_a_start_with_other_frames_where_weights_do_not_know_them(tmp_path, temporal, interpolate):
    path = save(tmp_path / "a.safetensors", temporal=temporal)
    network, notes = start(path, temporal=temporal, frames=8, interpolate=interpolate)
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
        # The same by other words, and what a network without a module does not have.
        ({}, {"position": "b"}, []),
        ({"temporal": "none"}, {"temporal": "none", "position": "a", "stages": ("res2",), "kernel": 5}, []),
    ],
)
def test_a_start_says_what_weights_do_not_show(tmp_path, was, now, notes):
    path = save(tmp_path / "a.safetensors", **was)
    assert start(path, **now)[1] == notes
