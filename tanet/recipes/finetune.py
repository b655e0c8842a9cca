"""One's own videos in folders: `tanet train finetune --data.root my_videos --init checkpoint.safetensors`.

For some 500 to 50,000 videos. `--init` takes a checkpoint, whose network is trained on, or ImageNet's weights
of a 2D network.
"""

from tanet.recipe import Data, Eval, Model, Optim, Recipe

FINETUNE = Recipe(
    data=Data(sampling="uniform", resize=256, size=224, flip="mirror"),
    model=Model(backbone="resnet50", temporal="tam", frames=8, dropout=0.5),
    # 12,800 videos get all the epochs, 50,000 a quarter of them.
    optim=Optim(epochs=50, most_steps=40_000, lr=0.01, schedule="cosine", batch=16, weight_decay=5e-4),
    eval=Eval(clips=1, crops=1, resize=256, size=224),
)
