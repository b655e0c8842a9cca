"""Fine-tuning on your own videos: `tanet train finetune --data.root my_videos --init checkpoint.safetensors`.

Use this recipe for about 300 to 50,000 videos in class folders. `--init` takes a checkpoint, or ImageNet
weights of a 2D network.

If `--init` is a checkpoint, the whole network is trained further. The classifier has 10 times the learning
rate of the other layers.

If `--init` has ImageNet weights, TAM is added to the 2D network. At first, TAM only scales the features, so
it disturbs them little. TAM and the classifier have 10 times the learning rate of the 2D network. LOG.md
lists the other settings that were tried.
"""

from tanet.recipes.recipe import Data, Eval, Network2D, Optim, Recipe

FINETUNE = Recipe(
    data=Data(sampling="uniform", resize=256, size=224, flip="mirror"),
    model=Network2D(backbone="resnet50", temporal="tam", frames=8, dropout=0.5, center_tap_bias=19.0),
    optim=Optim(
        method="adamw",
        epochs=150,
        max_steps=40_000,  # for up to 4,266 videos, all 150 epochs fit; for 50,000 videos, 12 epochs fit
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
