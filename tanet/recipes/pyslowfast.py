"""Training and testing as in PySlowFast, the code of the SlowFast and X3D papers.

`OPTIM` has the values that the settings files of SlowFast, SlowOnly and I3D share, for example
configs/Kinetics/SLOWFAST_4x16_R50.yaml, and Nesterov's momentum, which is PySlowFast's default. The
learning rate is that of one machine with 8 GPUs and 8 clips on each. With another batch size, it changes in
proportion.

Two details are not the same. PySlowFast computes BatchNorm statistics over the 8 clips of a GPU: with fewer
GPUs, `--optim.accumulate` splits a batch into such parts. Before a test, it computes them again from 200
batches; a long training here uses the running averages.
"""

from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.recipe import Data, Eval, Optim, Recipe

OPTIM = Optim(
    epochs=196,
    lr=0.1,
    lr_batch=64,
    schedule="full-cosine",
    warmup=34.0,
    warmup_lr=0.01,
    batch=64,
    momentum=0.9,
    nesterov=True,
    weight_decay=1e-4,
    biases="like-weights",
    clip_norm=0.0,
    linear_lr_boost="none",
)


def pyslowfast(
    model: NetworkSettings,
    *,
    step: int,
    short_sides: tuple[int, int] = (256, 320),
    size: int = 224,
    optim: Optim = OPTIM,
) -> Recipe:
    """Return a recipe for clips whose frames are `step` thirtieths of a second apart.

    Args:
        model: settings of the network.
        step: distance between two frames of a clip, in frames at 30 fps.
        short_sides: smallest and largest short side of training frames. Tests use the smallest.
        size: side of the training crops, in pixels.
        optim: how the weights are trained.
    """
    side = short_sides[0]
    return Recipe(
        data=Data(
            sampling="dense",
            window=step * model.frames,
            rate="30fps",
            short_sides=short_sides,
            size=size,
            flip="plain",
        ),
        model=model,
        optim=optim,
        eval=Eval(clips=10, crops=3, resize=side, size=side, style="pyslowfast", average="softmax"),
    )
