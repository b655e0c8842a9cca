"""`create_model` builds networks by name and still accepts the keywords of version 0.1.0."""

import pytest
import torch

import tanet
from tanet.data.normalisation import normalise
from tanet.errors import UserError
from tanet.models.architectures import ARCHITECTURES, find_architecture
from tanet.models.factory import BUILDERS
from tanet.models.meta import on_meta
from tanet.recipes.input_spec import InputSpec
from tanet.recipes.recipe import NETWORKS, Network2D


@pytest.mark.parametrize("name", tanet.list_models())
def test_every_name_builds_a_network(name):
    with on_meta():
        network = tanet.create_model(name, classes=7)
    assert (network.frames, network.head.out_features) == (ARCHITECTURES[name].settings.frames, 7)
    assert network.input_spec == ARCHITECTURES[name].input_spec


def test_name_builds_same_network_as_its_settings():
    with on_meta():
        found = tanet.create_model("tsm-resnet50", classes=174).state_dict()
        same = tanet.build(Network2D(backbone="resnet50", temporal="tsm"), classes=174).state_dict()
    assert {name: tensor.shape for name, tensor in found.items()} == {k: v.shape for k, v in same.items()}
    assert tanet.create_model("tanet-resnet18", dropout=0.1).dropout.p == 0.1


def test_name_gives_input_that_network_is_made_for():
    spec = find_architecture("x3d-xl").input_spec
    assert (spec.mean, spec.frame_step, spec.resize, spec.size) == ((0.45,) * 3, 5, 356, 312)
    assert find_architecture("i3d-inception").input_spec.range == (-1.0, 1.0)
    with on_meta():
        network = tanet.create_model("slowfast-r50-4x16", frames=16, classes=2)
    assert (network.frames, network.slow_indices.shape) == (16, (2,))


def test_every_network_family_has_a_builder():
    assert (
        set(BUILDERS)
        == set(NETWORKS.values())
        == {type(architecture.settings) for architecture in ARCHITECTURES.values()}
    )


def test_unknown_name_is_rejected_with_list_of_names():
    with pytest.raises(
        UserError, match=r"^unknown model 'tanet': choose from c2d-resnet50, .*tanet-resnet50"
    ):
        tanet.create_model("tanet")
    with pytest.raises(UserError, match="a name cannot be combined with backbone"):
        tanet.create_model("tanet-resnet50", backbone="resnet18")


def test_keywords_of_0_1_0_work_with_deprecation_warning():
    with pytest.warns(DeprecationWarning, match=r"create_model takes a name now"):
        network = tanet.create_model(backbone="resnet18_w16", temporal="none", frames=3, classes=5)
    assert (network.frames, network.head.out_features) == (3, 5)
    with pytest.warns(DeprecationWarning, match="absorb_batch_norms"):
        assert network.fuse() == 0


def test_network_uses_its_own_input_spec():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1)  # R, G, B
    caffe = InputSpec(mean=(104.0, 117.0, 128.0), std=(1.0, 1.0, 1.0), range=(0.0, 255.0), channels="bgr")
    assert normalise(pixels, caffe).flatten().tolist() == [255 - 104, 51 - 117, 0 - 128]
    signed = InputSpec(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), range=(-1.0, 1.0))
    torch.testing.assert_close(normalise(pixels, signed).flatten(), torch.tensor([-1.0, -0.6, 1.0]))
    network = tanet.create_model("c2d-mobilenet-v2", input_spec=caffe, classes=2)
    assert network.input_spec == caffe
    assert tanet.create_model("c2d-mobilenet-v2", classes=2).input_spec == InputSpec()
