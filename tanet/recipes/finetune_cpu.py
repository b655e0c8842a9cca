"""Fine-tuning on your own videos without a GPU: `tanet train finetune-cpu --data.root my_videos --init FILE`.

Use this recipe for about 50 to 1,000 videos in class folders. `--init` takes torchvision's ImageNet weights
of MobileNetV2 (mobilenet_v2.pth), or a checkpoint.
"""

from tanet.recipes.recipe import Data, Eval, Network2D, Optim, Recipe

FINETUNE_CPU = Recipe(
    data=Data(sampling="uniform", resize=128, size=112, flip="mirror"),
    model=Network2D(backbone="mobilenet_v2", temporal="tam", frames=8, dropout=0.5, center_tap_bias=19.0),
    optim=Optim(
        method="adamw",
        epochs=20,
        max_steps=2_000,
        lr=5e-4,
        new_layer_lr_scale=10.0,
        schedule="cosine",
        warmup=2.0,
        batch=8,
        weight_decay=0.05,
        clip_norm=5.0,
        linear_lr_boost="none",
        smoothing=0.1,
    ),
    eval=Eval(clips=1, crops=1, resize=128, size=128, every=5),
)
