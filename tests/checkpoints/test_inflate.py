"""An inflated 3D ResNet computes what the 2D ResNet computes, wherever it sees no padding in time."""

from dataclasses import replace

import pytest
import torch

from tanet.checkpoints import checkpoint
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.checkpoints.image_weights import load_image_weights
from tanet.checkpoints.inflate import INFLATED, inflate, load_inflated_weights
from tanet.errors import UserError
from tanet.models.backbones2d import BACKBONES
from tanet.models.backbones2d.resnet import Bottleneck, ResNet
from tanet.models.factory import build
from tanet.models.meta import on_meta
from tanet.models.video_backbones.resnet3d import ResNet3DNetwork
from tanet.profiling.flops import build_on_meta
from tanet.recipes.input_spec import IMAGENET
from tanet.recipes.networks3d import X3D, InceptionI3D, ResNet3D, SlowFast
from tanet.recipes.recipe import Network2D
from tests.support.narrow_networks import NARROW, RESNET3D
from tests.support.start_files import model_from_file
from tests.support.tiny_videos import TINY


@pytest.fixture(scope="module")
def image_network():
    torch.manual_seed(0)
    network = ResNet(Bottleneck, depths=(1, 1, 1, 1), classes=5, width=8)
    for name, buffer in network.named_buffers():
        if "running" in name:
            torch.nn.init.uniform_(buffer, 0.5, 1.5)
    return network.double().eval()


@pytest.fixture(scope="module")
def path(image_network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet.pth"
    torch.save(image_network.state_dict(), path)
    return path


NO_BLOCKS = ("none",) * 4


# Frames of a map of res5 that see only frames of the clip: the middle of the receptive field is inside.
@pytest.mark.parametrize(
    ("model", "inside"),
    [
        (replace(RESNET3D, temporal_blocks=NO_BLOCKS, frames=2), slice(None)),
        (replace(RESNET3D, frames=5), slice(2, 3)),
        (replace(RESNET3D, frames=9, stem_kernel=5), slice(4, 5)),
        (
            replace(RESNET3D, temporal_blocks=("none",) * 4, frames=9, stem_kernel=5, stem_stride=2),
            slice(1, 4),
        ),
    ],
)
def test_equal_frames_give_the_maps_of_the_2d_network(model, inside, image_network, path):
    network = build(model, classes=2).double().eval()
    load_image_weights(network, path, model=model)
    assert network.input_spec.mean == IMAGENET.mean
    assert isinstance(network, ResNet3DNetwork)
    seen = []
    network.res5.register_forward_hook(lambda _, inputs, maps: seen.append(maps))
    image = torch.randn(2, 3, 64, 64, dtype=torch.double)
    with torch.no_grad():
        network(image[:, None].expand(-1, model.frames, -1, -1, -1))
        x = image_network.maxpool(image_network.relu(image_network.bn1(image_network.conv1(image))))
        for layer in (image_network.layer1, image_network.layer2, image_network.layer3, image_network.layer4):
            x = layer(x)
    maps = seen[0][:, :, inside]  # [2, C, frames inside, 2, 2]
    assert maps.shape[2] > 0
    torch.testing.assert_close(maps, x[:, :, None].expand_as(maps))


def test_kernels_and_norms_have_exact_values(image_network, path):
    model = replace(NARROW["nl-i3d"], temporal="tam", frames=16)
    network = build(model, classes=2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    load_inflated_weights(network, path)
    theirs, ours = image_network.state_dict(), network.state_dict()
    stem = theirs["conv1.weight"].float()
    assert all(torch.equal(ours["stem.conv.weight"][:, :, k], stem / 5) for k in range(5))
    assert torch.equal(ours["res4.0.conv1.weight"][:, :, 0], theirs["layer3.0.conv1.weight"].float())
    assert torch.equal(ours["res5.0.norm3.running_var"], theirs["layer4.0.bn3.running_var"].float())
    assert torch.equal(ours["res2.0.shortcut.norm.bias"], theirs["layer1.0.downsample.1.bias"].float())
    new = [name for name in ours if name.startswith("head.") or ".non_local." in name or ".temporal." in name]
    assert len(new) > 40
    assert all(torch.equal(ours[name], before[name]) for name in new)
    plain = build(replace(model, temporal="conv"), classes=2).state_dict()
    kernel = inflate(theirs, plain)["res4.0.conv1.weight"]
    assert kernel.shape[2] == 3
    torch.testing.assert_close(kernel.sum(2), theirs["layer3.0.conv1.weight"])


@pytest.mark.parametrize("name", ["resnet50", "resnet101", "resnet152"])
def test_names_of_each_resnet_are_those_of_the_3d_network(name):
    with on_meta():
        state = BACKBONES[name]().state_dict()
    own = build_on_meta(ResNet3D(blocks=INFLATED[name]), classes=2).state_dict()
    found = {key: tensor.shape for key, tensor in inflate(state, own).items()}
    wanted = {key: tensor.shape for key, tensor in own.items() if not key.startswith("head.")}
    assert found == wanted


def test_file_sets_number_of_blocks(tmp_path):
    with on_meta():
        names = {name: tensor.shape for name, tensor in BACKBONES["resnet101"]().state_dict().items()}
    state = {name: torch.tensor(0.0).expand(shape) for name, shape in names.items()}
    torch.save(state, tmp_path / "r101.pth")
    model = model_from_file(tmp_path / "r101.pth", ResNet3D(frames=4))
    assert model == ResNet3D(frames=4, blocks=(3, 4, 23, 3), weights=str(tmp_path / "r101.pth"))


@pytest.mark.parametrize("model", [InceptionI3D(), SlowFast(), X3D()], ids=lambda model: model.family)
def test_other_families_take_no_image_weights(model, path, tmp_path):
    with pytest.raises(UserError, match="this network cannot start from ImageNet weights"):
        load_image_weights(build_on_meta(model, classes=2), path, model=model)
    torch.save(BACKBONES["resnet18"]().state_dict(), tmp_path / "r18.pth")
    for other in (model, ResNet3D()):  # ResNet-18 has no bottlenecks
        with pytest.raises(UserError, match=r"r18\.pth: the ImageNet weights of resnet18 do not fit "):
            model_from_file(tmp_path / "r18.pth", other)


def test_other_width_is_refused_by_name(path):
    model = replace(RESNET3D, width=16)
    with pytest.raises(UserError, match=r"do not fit this 3D ResNet; .*of another shape: res2\.0\.conv1"):
        load_image_weights(build(model, classes=2), path, model=model)
    network = build(Network2D(backbone="resnet18_w16", frames=4), classes=2)
    with pytest.raises(UserError, match="the weights do not fit this 2D network"):
        load_image_weights(network, path, model=Network2D(backbone="resnet18_w16"))


def test_files_of_other_networks_are_told_in_one_line(tmp_path):
    model = RESNET3D
    torch.save(BACKBONES["mobilenet_v2"]().state_dict(), tmp_path / "mobilenet.pth")
    with pytest.raises(
        UserError, match=r"the weights of mobilenet_v2 do not fit a 3D ResNet, .* resnet50, "
    ) as error:
        load_image_weights(build_on_meta(model, classes=2), tmp_path / "mobilenet.pth", model=model)
    assert len(str(error.value).replace(str(tmp_path), "")) < 220
    trained = Checkpoint(build(model, classes=2), replace(TINY, model=model), ("a", "b"))
    checkpoint.save(tmp_path / "i3d.safetensors", trained)
    for other in (model, TINY.model):
        with pytest.raises(
            UserError, match=r"a checkpoint of tanet, not ImageNet weights: pass it to --init$"
        ):
            load_image_weights(build(other, classes=2), tmp_path / "i3d.safetensors", model=other)
