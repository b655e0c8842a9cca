"""The 2D networks match torchvision: parameter names, shapes, initial weights and logits."""

import copy
import hashlib
import importlib
import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from tanet.models.backbones2d import BACKBONES, remove_classifier
from tanet.models.meta import on_meta

DATA = Path(os.environ.get("TANET_DATA", Path(__file__).parents[2].parent / "shared" / "data"))

# Number of parameters, number of tensors in the state dict, and sha256 of the sorted lines "name shape".
# The values were recorded with torchvision 0.28.
STATE = {
    "resnet18": (11689512, 122, "5191d63ec398959223d67ef37376f9061e6965b859fc2d4e40e23d037147a0d7"),
    "resnet34": (21797672, 218, "f8de2a1812ef85e46b3f60c61589921afee0c2a6d4165e27508ad215f101671b"),
    "resnet50": (25557032, 320, "a87e91cd6bd1f939e0b723852e567a7205d33b0ac984ac02dd1a5f225d37c036"),
    "resnet101": (44549160, 626, "dbc3ca74fffafc728641ec2b524ccedcbae337de9d3e3cf1f0552330d07303ea"),
    "resnet152": (60192808, 932, "7d486dbdc941506eeed76c4b06e6a00c943ff5aa11c0ced1b2e1b12faebd4729"),
    "resnext50_32x4d": (25028904, 320, "20929ac81dfcc94f1881e0e17fe3e5466d5b44c9be2adc47868c4a8b1be05281"),
    "mobilenet_v2": (3504872, 314, "e3eb10f890f74c6ee65e79c53b1a3c9ee5dd5c8d8eb4ec3185d92cbea9d47b89"),
    "shufflenet_v2_x1_0": (2278604, 338, "c54ed350c00fa178be923c05d6796570c99b6c8a672060871ad995a148b7a30a"),
    "inception_v3": (27161264, 580, "4c9e13f64584de741d008cd24d3aae249cd3871df374ba3da192ffb031ba7376"),
}
# Number of features per network. resnet34, 101 and 152 are left out: they differ from these only in depth.
FEATURES = {
    "resnet18": 512,
    "resnet50": 2048,
    "resnext50_32x4d": 2048,
    "mobilenet_v2": 1280,
    "shufflenet_v2_x1_0": 1024,
    "inception_v3": 2048,
}
# Logits 0, 1 and 999 of the two `images`, computed by torchvision 0.28 on weights of `fill_with_patterns`.
LOGITS = {
    "resnet18": [[-15.5618546, -5.01201545, -32.9388056], [-11.476639, -13.8368991, -38.3282334]],
    "resnet50": [[-6278.06116, -3058.92897, -3852.16867], [-6018.96559, -3384.31625, -5263.11393]],
    "resnext50_32x4d": [[-83774.3025, -61682.6467, -78086.9159], [-72920.3649, -62227.5301, -57946.979]],
    "mobilenet_v2": [[-19.4410126, -3.83476087, -9.67472694], [-20.507962, -3.41114672, -10.9892777]],
    "shufflenet_v2_x1_0": [[2675142.13, -1765629.43, -1832791.73], [3502596.48, -930984.341, -1909247.53]],
    "inception_v3": [
        [0.0160329515, 0.147485506, -0.336983403],
        [-0.00170405445, -0.0252165254, -0.450534356],
    ],
}


def pattern(shape: torch.Size, *, offset: int) -> torch.Tensor:
    """Return scattered values in [-0.5, 0.5), computed from integers so that all machines agree."""
    n = torch.arange(1009)
    period = ((n * n * 7 + n + offset) % 1009).double().div(1009).sub(0.5)
    return period.repeat(shape.numel() // 1009 + 1)[: shape.numel()].reshape(shape)


def images(*, height: int = 75, width: int = 91) -> torch.Tensor:
    return 4 * pattern(torch.Size((2, 3, height, width)), offset=500)


@torch.no_grad()
def fill_with_patterns(network: nn.Module) -> nn.Module:
    """Move a network from the meta device to the CPU in float64 and fill each tensor; set evaluation mode."""
    network = network.to_empty(device="cpu").double().eval()
    for offset, (name, tensor) in enumerate(sorted(network.state_dict().items())):
        values = pattern(tensor.shape, offset=offset)
        if tensor.dim() > 1:
            values *= (48 / tensor[0].numel()) ** 0.5
        elif name.endswith(("weight", "running_var")):
            values += 1
        tensor.copy_(values)
    return network


def build_on_meta(name: str, *, classes: int = 1000) -> nn.Module:
    with on_meta():
        return BACKBONES[name](classes=classes)


@pytest.fixture(scope="module")
def torchvision_models():
    try:
        return importlib.import_module("torchvision.models")
    except (ImportError, RuntimeError) as error:  # RuntimeError: a wheel built for another torch
        pytest.skip(f"torchvision does not import: {error}")


def build_torchvision(models, name: str) -> nn.Module:
    if name != "inception_v3":
        return getattr(models, name)()
    return models.inception_v3(aux_logits=True, transform_input=True, init_weights=True)


@pytest.mark.parametrize("name", STATE)
def test_parameters_and_state_dict_match_torchvision(name):
    network = build_on_meta(name)
    state = network.state_dict()
    lines = sorted(f"{key} {tuple(tensor.shape)}" for key, tensor in state.items())
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert (parameters, len(state), digest) == STATE[name]


@pytest.mark.parametrize("name", LOGITS)
def test_logits_match_recorded_torchvision_values(name):
    with torch.no_grad():
        logits = fill_with_patterns(build_on_meta(name))(images())
    golden = torch.tensor(LOGITS[name], dtype=torch.float64)
    torch.testing.assert_close(logits[:, [0, 1, 999]], golden, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", STATE)
def test_logits_match_installed_torchvision(name, torchvision_models):
    with on_meta():
        theirs = build_torchvision(torchvision_models, name)
    theirs, ours = fill_with_patterns(theirs), build_on_meta(name).to_empty(device="cpu").double().eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(ours(images()), theirs(images()), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet50", "mobilenet_v2", "shufflenet_v2_x1_0", "inception_v3"]
)
def test_initial_weights_match_torchvision_for_same_seed(name, torchvision_models):
    torch.manual_seed(0)
    theirs = build_torchvision(torchvision_models, name).state_dict()
    torch.manual_seed(0)
    ours = BACKBONES[name]().state_dict()
    # Our auxiliary head never runs, so its classifier keeps the default initialisation.
    assert {key for key in ours if not torch.equal(ours[key], theirs[key])} <= {"AuxLogits.fc.weight"}


def test_published_imagenet_file_loads():
    path = DATA / "weights" / "mobilenet_v2_imagenet.pth"
    if not path.exists():
        pytest.skip(f"no {path}")
    state = torch.load(path, weights_only=True)
    result = BACKBONES["mobilenet_v2"]().load_state_dict(state, strict=False)
    assert result.unexpected_keys == []
    assert result.missing_keys == ["classifier.1.weight", "classifier.1.bias"]


@pytest.mark.parametrize("name", FEATURES)
def test_classes_sets_number_of_logits(name):
    assert build_on_meta(name, classes=7)(images().float().to("meta")).shape == (2, 7)


@pytest.mark.parametrize("name", FEATURES)
def test_remove_classifier_leaves_pooled_features(name):
    network = build_on_meta(name)
    assert remove_classifier(network) == FEATURES[name]
    for mode in (True, False):
        assert network.train(mode)(images().float().to("meta")).shape == (2, FEATURES[name])
    left = [key for key in network.state_dict() if key.startswith(("fc.", "classifier.", "AuxLogits."))]
    assert left == []


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "inception_v3"])
def test_classifier_applied_to_features_gives_logits(name):
    network = fill_with_patterns(build_on_meta(name))
    linear = network.classifier[1] if name == "mobilenet_v2" else network.fc
    with torch.no_grad():
        logits = network(images())
        remove_classifier(network)
        torch.testing.assert_close(linear(network(images())), logits)


def test_remove_classifier_leaves_no_dropout_and_no_unused_parameter():
    network = BACKBONES["inception_v3"]()
    remove_classifier(network)
    network(images().float()).sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
    assert [name for name, module in network.named_modules() if isinstance(module, nn.Dropout)] == []


def test_remove_classifier_rejects_network_without_classifier():
    network = BACKBONES["resnet18"]()
    remove_classifier(network)
    with pytest.raises(ValueError, match="ResNet has no linear classifier"):
        remove_classifier(network)


def test_inception_returns_one_tensor_in_training_mode():
    network = build_on_meta("inception_v3").train()
    assert network(images().float().to("meta")).shape == (2, 1000)


@pytest.mark.parametrize("name", FEATURES)
def test_forward_calls_every_module_so_that_its_hooks_run(name):
    network = build_on_meta(name)
    called = set()
    for key, module in network.named_modules():
        module.register_forward_hook(lambda *_, key=key: called.add(key))
    network(images().float().to("meta"))
    assert {key for key, _ in network.named_modules() if not key.startswith("AuxLogits")} == called


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("resnet18", "conv1 bn1 relu1 conv2 bn2 downsample relu2"),
        ("resnet50", "conv1 bn1 relu1 conv2 bn2 relu2 conv3 bn3 downsample relu3"),
    ],
)
def test_residual_block_calls_layers_in_order(name, order):
    block = build_on_meta(name).layer2[0]
    called = []
    for key, module in block.named_children():
        module.register_forward_hook(lambda *_, key=key: called.append(key))
    block(torch.empty(1, block.conv1.in_channels, 8, 8, device="meta"))
    assert called == order.split()


@pytest.mark.parametrize(("height", "width"), [(65, 47), (33, 1)])
def test_resnet_accepts_odd_image_sizes(height, width):
    network = BACKBONES["resnet18"](classes=5)
    network(images(height=height, width=width).float()).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize("name", ["resnet18", "shufflenet_v2_x1_0", "inception_v3"])
def test_copy_pickle_and_channels_last_give_same_logits(name):
    network = fill_with_patterns(build_on_meta(name))
    with torch.no_grad():
        logits = network(images())
        assert torch.equal(copy.deepcopy(network)(images()), logits)
        assert torch.equal(pickle.loads(pickle.dumps(network))(images()), logits)
        network.to(memory_format=torch.channels_last)
        torch.testing.assert_close(network(images().contiguous(memory_format=torch.channels_last)), logits)
