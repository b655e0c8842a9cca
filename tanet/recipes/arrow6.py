"""Recipe for arrow6, which has six classes: three actions of UCF-101, each played forwards and backwards.

The first command makes the videos from UCF-101; the second command trains on them:

    python -m projects.compare.arrow6_videos UCF-101 arrow6
    tanet train arrow6 --data.root arrow6 --model.weights mobilenet_v2_imagenet.pth

No single frame shows the direction of time, so a network that ignores the order of frames should not exceed
50 %. In practice, such a network can reach 58 %: the two directions are encoded separately, so their codec
artefacts differ (LOG.md).
"""

from tanet.recipes.recipe import Data, Eval, Network2D, Optim, Recipe

ARROW6 = Recipe(
    data=Data(sampling="uniform", resize=128, size=112, flip="plain"),
    model=Network2D(backbone="mobilenet_v2", temporal="tam", frames=8, dropout=0.5),
    optim=Optim(epochs=70, lr=0.01, schedule="cosine", batch=16, weight_decay=5e-4),
    eval=Eval(clips=4, crops=3, resize=128, size=128, every=35),
)
