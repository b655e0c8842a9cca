"""Made-up verbs that only the order of frames tells apart (synthetic.py): what `tanet demo` trains."""

from tanet.recipe import Data, Eval, Model, Optim, Recipe

VERBS = Recipe(
    data=Data(sampling="uniform", resize=64, size=56, flip="mirror", workers=2),
    model=Model(backbone="resnet18", temporal="tam", frames=8, dropout=0.0),
    optim=Optim(epochs=10, lr=0.02, milestones=(7, 9), batch=16, weight_decay=5e-4),
    eval=Eval(clips=1, crops=1, resize=64, size=56),
)
