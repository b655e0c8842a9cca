"""A recipe is one experiment as a value: what to read, what to build, how to train it and how to test it.

Sections are frozen dataclasses; there are no settings files. Change a recipe with `dataclasses.replace`,
or on the command line by field (`--optim.lr 0.02`). Every checkpoint carries its recipe.
The docstring under a field is its help text; its bounds and its role stand in its declaration (fields.py).
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from tanet.errors import UserError
from tanet.recipes.fields import Section, section_from_dict, setting
from tanet.recipes.renamed import accept_old_names, warn_of_new_name, with_new_names


@dataclass(frozen=True)
class Data(Section):
    """Where the videos are, and how a clip is cut out of one."""

    section: ClassVar[str] = "data"

    root: str = setting("", role="place", on_resume="free")
    """Folder of videos: ROOT/{train,val}/CLASS/…, or ROOT/CLASS/…. With lists: the base of their paths."""
    train: str = setting("", role="place", on_resume="content")
    """List of training videos: lines `path label` or `path frames label`, or a CSV file."""
    val: str = setting("", role="place", on_resume="content")
    """List of validation videos, in the format of `train`."""
    class_names: str = setting("", role="place", on_resume="content")
    """File of class names, one a line in the order of the labels. Default: names of folders or lists."""
    quarantine: str = setting("", role="place", on_resume="content")
    """File of videos to leave out, one a line, as `tanet data check` writes it."""
    val_fraction: float = setting(0.2, least=0, below=1)
    """Fraction of the videos kept for validation where there is neither val/ nor a list."""
    sampling: Literal["dense", "uniform"] = "uniform"
    """dense: frames from a window of `window` consecutive frames (Kinetics). uniform: one frame from each of
    T segments of the video."""
    window: int = setting(64, least=1)
    """Length of the window of dense sampling, in frames of the video."""
    resize: int = setting(256, least=0)
    """Short side before the training crop, in pixels; 0 keeps the size of the video."""
    size: int = setting(224, least=1)
    """Side of the training crop, in pixels."""
    scales: tuple[float, ...] = setting((1.0, 0.875, 0.75, 0.66), above=0, most=1)
    """Sides of the multi-scale crop as fractions of the short side."""
    flip: Literal["none", "plain", "mirror"] = "plain"
    """Random mirroring. none: never. plain: the label stays. mirror: labels with left and right swap."""
    workers: int = setting(4, least=0, role="machine", on_resume="free")
    """Decoding processes, at most one for each CPU core."""
    transform_on: Literal["workers", "device"] = setting("workers", role="machine")
    """Where training frames are resized, cropped and mirrored. Choose device if a GPU waits for data."""
    bad_files: Literal["skip", "strict"] = setting("skip", role="machine", on_resume="free")
    """skip: name an unreadable video and fill its batch with the next. strict: end the run."""
    max_bad: float = setting(0.1, least=0, most=1, role="machine", on_resume="free")
    """End the run when more than this fraction of the videos is unreadable."""
    timeout: float = setting(300.0, above=0, role="machine", on_resume="free")
    """End the run when a batch takes longer than this many seconds; needs workers."""


@dataclass(frozen=True)
class Network2D(Section):
    """A 2D network and the temporal module plugged into it."""

    section: ClassVar[str] = "model"
    family: ClassVar[str] = "2d"

    backbone: str = "resnet50"
    """The 2D network."""
    temporal: str = "tam"
    """The temporal module; none leaves the plain 2D network."""
    frames: int = setting(8, least=1)
    """Frames of a clip, T."""
    weights: str = setting("", role="place", on_resume="free")
    """File of ImageNet weights for the 2D network, with torchvision's names. Default: random weights."""
    init: str = setting("", role="place", on_resume="free")
    """Checkpoint to start from. Its classifier is used too if the classes are the same."""
    init_frames: Literal["same", "interpolate"] = setting("same", role="place")
    """If `init` was trained on clips of another length: refuse it, or interpolate its weights over T."""
    dropout: float = setting(0.5, least=0, below=1)
    """Dropout before the classifier."""
    position: Literal["auto", "a", "b", "c", "d"] = "auto"
    """Place in a block. auto: the module's own (b for TAM). a, b, c: before conv1, conv2, conv3.
    d: before the addition (Figure 3)."""
    stages: tuple[Literal["res2", "res3", "res4", "res5"], ...] = ("res2", "res3", "res4", "res5")
    """Stages that get the module: feature maps of stride 4, 8, 16, 32."""
    alpha: int = setting(2, least=1)
    """TAM: hidden width of the global branch, as a multiple of T."""
    beta: int = setting(4, least=1)
    """TAM: channel reduction of the local branch."""
    kernel: int = setting(3, least=1)
    """Temporal taps K of the adaptive kernel, and of tconv, i3d and pool."""
    local_kernel: int = setting(3, least=1)
    """TAM: temporal taps of the local branch: 3 in the paper, as many as `kernel` in the published code."""
    center_tap_bias: float = setting(0.0, least=0)
    """TAM, global: lead of the middle tap's logit at the start. 0 as published; with 6 its weight is 0.96."""


@dataclass(frozen=True)
class Optim(Section):
    """How the weights are learned. The defaults are those of all the compared papers."""

    section: ClassVar[str] = "optim"

    method: Literal["sgd", "adamw"] = "sgd"
    """sgd: SGD with momentum. adamw: learns from random weights in fewer steps."""
    epochs: int = setting(50, least=1)
    """Passes over the training videos."""
    lr: float = setting(0.01, above=0)
    """Peak learning rate: at the start, or after the warm-up."""
    lr_batch: int = setting(0, least=0)
    """Batch size that `lr` is meant for: the rate is scaled by batch / lr_batch. 0: no scaling."""
    schedule: Literal["step", "cosine"] = "step"
    """step: multiply the learning rate by `gamma` at the milestones. cosine: half a cosine down to zero."""
    milestones: tuple[int, ...] = setting((30, 40, 45), least=0, may_be_empty=True)
    """Epochs after which the learning rate is multiplied by `gamma`."""
    gamma: float = setting(0.1, above=0, most=1)
    """Factor at the milestones."""
    warmup: float = setting(0.0, least=0)
    """Epochs of linear warm-up; fewer than `epochs`. The paper has none."""
    max_steps: int = setting(0, least=0)
    """Upper limit of steps: with more videos the whole schedule is shortened. 0: no limit."""
    batch: int = setting(64, least=1)
    """Clips in a step, over all processes: more GPUs do not change the experiment."""
    accumulate: int = setting(1, least=1, role="machine")
    """Split the batch of a process into this many parts and add up their gradients: less memory."""
    momentum: float = setting(0.9, least=0, below=1)
    """Momentum of SGD; the first beta of AdamW."""
    weight_decay: float = setting(1e-4, least=0)
    """Weight decay of convolutions and linear layers; BatchNorms and biases have none."""
    clip_norm: float = setting(20.0, above=0)
    """Largest norm of the gradient."""
    linear_lr_boost: Literal["classifier", "all", "none"] = "all"
    """Linear layers with 5 × the learning rate (bias 10 ×). all: as in the published code. classifier: as in
    mmaction2."""
    new_layer_lr_scale: float = setting(1.0, above=0)
    """Multiplier of the learning rate of new layers: the classifier, and modules that `init` lacks."""
    smoothing: float = setting(0.0, least=0, below=1)
    """Label smoothing: fraction of a label that is spread over all classes."""
    sync_norm: bool = False
    """Compute BatchNorm over the batch of all processes (SyncBatchNorm); GPUs only."""
    nonfinite: Literal["stop", "skip"] = setting("stop", role="machine", on_resume="free")
    """If a loss or gradient is not finite: stop the run, or skip the step. Its videos are named."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """Precision of convolutions and matrix products on a GPU (autocast). A CPU computes in float32."""


@dataclass(frozen=True)
class Eval(Section):
    """Views of a video in testing, and how their scores become one."""

    section: ClassVar[str] = "eval"

    clips: int = setting(1, least=1)
    """Clips spread over the video."""
    crops: Literal[1, 3] = 1
    """1: the centre. 3: left, centre, right (for a portrait video top, centre, bottom)."""
    resize: int = setting(256, least=1)
    """Short side, in pixels."""
    size: int = setting(224, least=1)
    """Side of the crops, in pixels."""
    average: Literal["logits", "softmax"] = "logits"
    """What is averaged over the views: logits as in the published code, or softmax as in mmaction2."""
    batch: int = setting(32, least=1, role="machine")
    """Views in one forward pass; halved when a GPU runs out of memory."""
    every: int = setting(1, least=1, role="machine")
    """Epochs between validations while training; the last epoch always has one."""


for _section in (Data, Network2D, Optim, Eval):
    accept_old_names(_section)

NETWORKS: dict[str, type[Network2D]] = {"2d": Network2D}
"""Families of networks: name in a recipe → the section that holds its settings."""


@dataclass(frozen=True)
class Recipe:
    """One experiment."""

    data: Data = field(default_factory=Data)
    model: Network2D = field(default_factory=Network2D)
    optim: Optim = field(default_factory=Optim)
    eval: Eval = field(default_factory=Eval)
    seed: int = 0
    """Seed of weights, order, crops and dropout."""

    def __post_init__(self) -> None:
        data, model, optim, eval = self.data, self.model, self.optim, self.eval
        if list(optim.milestones) != sorted(optim.milestones):
            raise UserError(f"optim.milestones must be in order, not {', '.join(map(str, optim.milestones))}")
        if not optim.warmup < optim.epochs:
            raise UserError(
                f"optim.warmup {optim.warmup:g} must be below optim.epochs {optim.epochs}: "
                "lower --optim.warmup, or raise --optim.epochs"
            )
        if eval.size > eval.resize:
            raise UserError(f"eval.size {eval.size} does not fit into eval.resize {eval.resize}")
        if data.sampling == "dense" and model.frames > data.window:
            raise UserError(f"{model.frames} frames do not fit into a window of {data.window}")
        if model.weights and model.init:
            raise UserError("model.weights and model.init both say where to start: give one of them")


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """Turn a recipe into plain values for JSON; the model section names its family."""
    values = dataclasses.asdict(recipe)
    return {**values, "model": {"family": recipe.model.family, **values["model"]}}


def from_dict(values: dict[str, Any]) -> Recipe:
    """Rebuild the recipe that `to_dict` wrote, also one of an older tanet.

    A missing field takes its default, and old field names are accepted, so older checkpoints keep loading.

    Raises:
        UserError: a field or family is unknown (the message lists the known), or a value is not allowed.
    """
    sections = {"data": Data, "optim": Optim, "eval": Eval}
    _check_fields("recipe", values)
    known = [field.name for field in dataclasses.fields(Recipe)]
    if unknown := sorted(set(values) - set(known)):
        raise UserError(f"recipe: unknown field {', '.join(unknown)}; known are {', '.join(known)}")
    for name in values.keys() - {"seed"}:
        _check_fields(f"recipe.{name}", values[name])
    values = with_new_names(values)
    found: dict[str, Any] = {
        name: section_from_dict(cls, values[name], f"recipe.{name}")
        for name, cls in sections.items()
        if name in values
    }
    if "model" in values:
        found["model"] = _network_from_dict(values["model"])
    return Recipe(**found, **({"seed": values["seed"]} if "seed" in values else {}))


def _check_fields(where: str, values: object) -> None:
    if not isinstance(values, dict):
        raise UserError(f"{where}: expected fields and values, not {values!r:.80}")


def _network_from_dict(values: dict[str, Any]) -> Network2D:
    settings = dict(values)
    family = settings.pop("family", "2d")  # tanet 0.1.0 knew no other
    if family not in NETWORKS:
        raise UserError(f"recipe.model: unknown family '{family}': known are {', '.join(NETWORKS)}")
    return section_from_dict(NETWORKS[family], settings, "recipe.model")


def __getattr__(name: str) -> Any:
    if name == "Model":
        warn_of_new_name("Model", "Network2D")
        return Network2D
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
