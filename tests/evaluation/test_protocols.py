"""Named protocols set the evaluation of the papers in a recipe and change nothing else."""

import dataclasses

import pytest

from tanet.evaluation.protocols import PROTOCOLS, find_protocol
from tanet.recipes.recipe import Data, Eval, Network2D, Recipe

# sampling, window, clips, crops, short side, size
PUBLISHED = {
    "k400-10x3": ("dense", 64, 10, 3, 256, 256),
    "k400-4x3": ("dense", 64, 4, 3, 256, 256),
    "sth-1x1": ("uniform", 64, 1, 1, 256, 224),
    "sth-2x3": ("uniform", 64, 2, 3, 256, 256),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_protocol_sets_published_values_and_nothing_else(name):
    before = Recipe(
        data=Data(root="here", sampling="dense", window=32, workers=1),
        model=Network2D(frames=16),
        eval=Eval(clips=7, resize=300, size=299, average="softmax", batch=5, every=3),
    )
    after = find_protocol(name).apply(before)
    data, eval = after.data, after.eval
    found = (data.sampling, data.window, eval.clips, eval.crops, eval.resize, eval.size)
    assert found == PUBLISHED[name]
    assert eval.average == "logits"  # as in the published code
    views = {name: getattr(before.eval, name) for name in ("clips", "crops", "resize", "size", "fuse")}
    frames = {name: getattr(before.data, name) for name in ("sampling", "window")}
    restored = dataclasses.replace(
        after, data=dataclasses.replace(data, **frames), eval=dataclasses.replace(eval, **views)
    )
    assert restored == before


def test_unknown_protocol_is_rejected():
    assert set(PROTOCOLS) == set(PUBLISHED)
    with pytest.raises(ValueError, match="unknown protocol 'k400': choose from k400-10x3, k400-4x3, sth-1x1"):
        find_protocol("k400")
