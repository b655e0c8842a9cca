"""One's own videos in folders: `tanet train finetune --data.root my_videos --init checkpoint.safetensors`.

For some 300 to 50,000 videos. `--init` takes a checkpoint, whose network is trained on, with a classifier
that learns ten times as fast; or ImageNet's weights of a 2D network. Those are not to be forgotten: TAM
begins near the identity, so that the features are at first what they were but for their scale, and learns ten
times as fast as they change. LOG.md has what else was tried.
"""

from tanet.recipes.recipe import Data, Eval, Network2D, Optim, Recipe

FINETUNE = Recipe(
    data=Data(sampling="uniform", resize=256, size=224, flip="mirror"),
    model=Network2D(backbone="resnet50", temporal="tam", frames=8, dropout=0.5, center_tap_bias=19.0),
    optim=Optim(
        method="adamw",
        epochs=150,
        max_steps=40_000,  # 4,266 videos get all the epochs, 50,000 a twelfth of them
        lr=2e-4,
        new_layer_lr_scale=10.0,
        schedule="cosine",
        warmup=5.0,
        batch=16,
        weight_decay=0.05,
        clip_norm=5.0,
        linear_lr_boost="none",
        smoothing=0.1,
    ),
    eval=Eval(clips=1, crops=1, resize=256, size=224, every=10),
)
