"""Fine-tuning on your own videos without a GPU: `tanet train finetune-cpu --data.root my_videos --init FILE`.

Use this recipe for about 50 to 1,000 videos in class folders. `--init` takes torchvision's ImageNet weights
of MobileNetV2 (mobilenet_v2.pth), or a checkpoint.
"""

from dataclasses import replace

from tanet.recipes.finetune import FINETUNE

FINETUNE_CPU = replace(
    FINETUNE,
    data=replace(FINETUNE.data, resize=128, size=112),
    model=replace(FINETUNE.model, backbone="mobilenet_v2"),
    optim=replace(FINETUNE.optim, epochs=20, max_steps=2_000, lr=5e-4, warmup=2.0, batch=8),
    eval=replace(FINETUNE.eval, resize=128, size=128, every=5),
)
