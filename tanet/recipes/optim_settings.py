"""Settings of the optimizer, the learning rate and the BatchNorms: the section `optim` of a recipe."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from tanet.errors import UserError
from tanet.recipes.fields import Section, setting


@dataclass(frozen=True)
class Optim(Section):
    """How the weights are trained. The defaults are the values that all compared papers share."""

    section: ClassVar[str] = "optim"

    method: Literal["sgd", "adamw"] = "sgd"
    """Optimizer. sgd: SGD with momentum. adamw: AdamW, which needs fewer steps from random weights."""
    epochs: int = setting(50, least=1)
    """Number of passes over the training videos."""
    lr: float = setting(0.01, above=0)
    """Peak learning rate, reached at the start or after the warm-up."""
    lr_batch: int = setting(0, least=0)
    """Batch size that `lr` was chosen for. `lr` is multiplied by batch / lr_batch. 0: no scaling."""
    schedule: Literal["step", "cosine", "full-cosine"] = "step"
    """Learning rate schedule. step: multiply by `gamma` at milestones. cosine: half a cosine, down to 0,
    after the warm-up. full-cosine: half a cosine over all epochs, which the warm-up rises to."""
    milestones: tuple[int, ...] = setting((30, 40, 45), least=0, may_be_empty=True)
    """Epochs after which the learning rate is multiplied by `gamma`."""
    gamma: float = setting(0.1, above=0, most=1)
    """Factor applied to the learning rate at each milestone."""
    warmup: float = setting(0.0, least=0)
    """Length of the linear warm-up, in epochs; must be below `epochs`. The paper has none."""
    warmup_lr: float = setting(0.0, least=0)
    """Learning rate at the start of the warm-up, scaled like `lr` if `lr_batch` is set."""
    max_steps: int = setting(0, least=0)
    """Maximum number of steps. If `epochs` epochs need more steps, the schedule is shortened. 0: no limit."""
    batch: int = setting(64, least=1)
    """Batch size: number of clips per step, over all GPUs together."""
    accumulate: int = setting(1, least=1, role="machine")
    """Number of parts that each process splits its batch into, to save memory. Gradients are summed."""
    momentum: float = setting(0.9, least=0, below=1)
    """Momentum of SGD, or beta1 of AdamW."""
    nesterov: bool = False
    """SGD: use Nesterov's momentum, as PySlowFast and video-nonlocal-net do."""
    weight_decay: float = setting(1e-4, least=0)
    """Weight decay of convolution and linear weights. BatchNorms have none; for biases, see `biases`."""
    biases: Literal["published", "like-weights"] = "published"
    """Rules for biases of convolutions and Linears. published: twice the learning rate, no weight decay.
    like-weights: the learning rate and the weight decay of the weights, as in PySlowFast."""
    clip_norm: float = setting(20.0, least=0)
    """Maximum gradient norm. Gradients with a larger norm are scaled down. 0: no maximum."""
    linear_lr_boost: Literal["classifier", "all", "none"] = "all"
    """Which Linear layers get 5 times the learning rate: all, as in the published code; classifier, as in
    mmaction2; or none. `biases` published gives their biases 10 times the learning rate."""
    first_conv_lr_scale: float = setting(1.0, above=0)
    """Learning rate multiplier for the first convolution. TSN and TSM use 5 for optical flow."""
    new_layer_lr_scale: float = setting(1.0, above=0)
    """Learning rate multiplier for new layers: the classifier, and temporal modules that `init` lacks."""
    trained: Literal["all", "from-res2", "from-res3", "from-res4", "from-res5", "head"] = "all"
    """Layers to train. all: the whole network. head: only the classifier (linear probe). from-res4: res4 and
    the layers after it. The other layers are frozen, but new temporal modules are always trained."""
    smoothing: float = setting(0.0, least=0, below=1)
    """Label smoothing: fraction of the target probability that is spread evenly over all classes."""
    sync_norm: bool = False
    """Compute BatchNorm statistics over the batch of all processes (SyncBatchNorm). Needs GPUs."""
    norm_statistics: Literal["auto", "running"] = "auto"
    """BatchNorm statistics of validation and checkpoints. auto: a training of at most 500 steps computes
    them from training videos after each epoch. running: the running averages of training."""
    nonfinite: Literal["stop", "skip"] = setting("stop", role="machine", on_resume="free")
    """What to do if a loss or gradient is not finite. stop: end the run. skip: skip the step.
    The videos of the step are reported."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """Precision of convolutions and matrix products on a GPU (autocast). CPUs always use float32."""
    partial_norm: bool = False
    """Freeze the weights and statistics of every BatchNorm but the first, as TSN and TRN do."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not (self.method == "sgd" and self.momentum):
            raise UserError(
                "optim.nesterov needs optim.method sgd and a momentum above 0: give --optim.no-nesterov"
            )
