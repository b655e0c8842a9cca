"""One's own videos in folders: `tanet train folder --data.root my_videos`."""

from tanet.recipe import Data, Eval, Model, Optim, Recipe

FOLDER = Recipe(
    data=Data(sampling="uniform", resize=256, size=224, flip="mirror"),
    model=Model(backbone="resnet50", temporal="tam", frames=8, dropout=0.5),
    optim=Optim(epochs=50, lr=0.01, schedule="cosine", batch=16, weight_decay=5e-4),
    eval=Eval(clips=1, crops=1, resize=256, size=224),
)
