"""Recipe of `tanet demo`: synthetic actions that differ only in the order of their frames (synthetic/)."""

from tanet.recipes.recipe import Data, Eval, Network2D, Optim, Recipe

VERBS = Recipe(
    data=Data(sampling="uniform", resize=48, size=40, scales=(1.0, 0.875), flip="mirror", workers=1),
    model=Network2D(backbone="resnet18_w16", temporal="tam", frames=8, dropout=0.0),
    # From random weights, SGD would need three times as many steps as AdamW.
    optim=Optim(
        method="adamw",
        epochs=18,
        lr=0.006,
        schedule="cosine",
        warmup=1.5,
        batch=16,
        weight_decay=5e-4,
        linear_lr_boost="none",
    ),
    eval=Eval(clips=3, crops=1, resize=40, size=40, every=9),
)
