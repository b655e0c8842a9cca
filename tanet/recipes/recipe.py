"""A recipe is one experiment as a value: what to read, what to build, how to train it and how to test it.

Frozen dataclasses, no files of settings: a recipe is changed with `dataclasses.replace`, from the command
line by field (`--optim.lr 0.02`), and every checkpoint carries its own. The comment behind a field is its
help text.
"""

import dataclasses
import math
import typing
from dataclasses import dataclass, field
from typing import Any, Literal

_MAY_BE_ZERO = ("resize", "workers", "milestones", "seed", "lr_batch", "most_steps")


class _Section:
    """A section refuses values that its fields do not allow, wherever it comes from."""

    def __post_init__(self) -> None:
        for name, kind in typing.get_type_hints(type(self)).items():
            value = getattr(self, name)
            if typing.get_origin(kind) is tuple:
                kind, values = typing.get_args(kind)[0], value
            else:
                values = (value,)
            allowed = typing.get_args(kind) if typing.get_origin(kind) is Literal else None
            for one in values:
                if allowed and one not in allowed:
                    raise ValueError(f"unknown {name} '{one}': known are {', '.join(map(str, allowed))}")
            least = 0 if name in _MAY_BE_ZERO else 1
            if kind is int and any(one < least for one in values):
                must = "be positive" if least else "not be negative"
                raise ValueError(f"{name} must {must}, not {value}")


@dataclass(frozen=True)
class Data(_Section):
    """Where the videos are, and how a clip is cut out of one."""

    root: str = ""
    """Folder of videos: ROOT/{train,val}/CLASS/…, or ROOT/CLASS/…; with lists, the base of their paths."""
    train: str = ""
    """List of training videos, lines `path label` or `path frames label`, or a CSV file."""
    val: str = ""
    """List of validation videos, as `train`."""
    class_names: str = ""
    """File of class names, one a line in the order of the labels; else taken from folders or lists."""
    quarantine: str = ""
    """File of videos to leave out, one a line, as `tanet data check` writes it."""
    val_fraction: float = 0.2
    """Part of the videos kept for validation where there is no val/ and no list."""
    sampling: Literal["dense", "uniform"] = "uniform"
    """dense: from `window` consecutive frames (Kinetics); uniform: one from each of T segments."""
    window: int = 64
    """Length of the window of dense sampling, in frames of the video."""
    resize: int = 256
    """Short side before the training crop, in pixels; 0 keeps the video's own size."""
    size: int = 224
    """Side of the training crop, in pixels."""
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)
    """Sides of the multi-scale crop as parts of the short side."""
    flip: Literal["none", "plain", "mirror"] = "plain"
    """Random mirroring: never; keeping the label; or exchanging labels of classes named left and right."""
    workers: int = 4
    """Processes that decode; of more than there are cores, as many as there are cores."""
    transform_on: Literal["workers", "device"] = "workers"
    """Who resizes, crops and mirrors training frames; the device, where a GPU waits for the workers."""
    bad_files: Literal["skip", "strict"] = "skip"
    """A video that can not be read is named, its batch filled from those after it; or it ends the run."""
    max_bad: float = 0.1
    """Part of bad videos above which the run ends; public sets have a few percent, a broken disk has more."""
    timeout: float = 300.0
    """Seconds after which a batch that does not come ends the run; only workers can be timed."""


@dataclass(frozen=True)
class Model(_Section):
    """A 2D network and the temporal module plugged into it."""

    backbone: str = "resnet50"
    """The 2D network."""
    temporal: str = "tam"
    """The temporal module; none gives the plain 2D network."""
    frames: int = 8
    """T, frames a clip."""
    weights: str = ""
    """File of ImageNet weights for the 2D network (torchvision's names); empty starts from scratch."""
    init: str = ""
    """Checkpoint to start from, of tanet's; its classifier as well where the classes are the same."""
    init_frames: Literal["same", "interpolate"] = "same"
    """Where `init` was trained on clips of another length: refuse it, or interpolate its weights over T."""
    dropout: float = 0.5
    """Dropout before the classifier."""
    position: Literal["auto", "a", "b", "c", "d"] = "auto"
    """Place in a block: its own (TAM's is b); before conv1, conv2, conv3, or the addition (Figure 3)."""
    stages: tuple[Literal["res2", "res3", "res4", "res5"], ...] = ("res2", "res3", "res4", "res5")
    """Stages that get the module: maps of stride 4, 8, 16, 32."""
    alpha: int = 2
    """TAM: hidden width of the global branch over T."""
    beta: int = 4
    """TAM: channel reduction of the local branch."""
    kernel: int = 3
    """K, taps along time of the adaptive kernel; of tconv, i3d and pool as well."""
    local_kernel: int = 3
    """TAM: taps of the local branch; the published code has as many as `kernel`, the paper 3."""
    identity: float = 0.0
    """Lead of the middle tap's logit at the start (TAM, global): 0 as published, 6: its weight is 0.96."""


@dataclass(frozen=True)
class Optim(_Section):
    """How the weights are found; by default as all the compared papers do it."""

    method: Literal["sgd", "adamw"] = "sgd"
    """SGD with momentum; or AdamW, which learns from scratch in fewer steps."""

    epochs: int = 50
    """Passes over the training videos."""
    lr: float = 0.01
    """Learning rate at its height: of the start, or after the warm-up."""
    lr_batch: int = 0
    """Batch that `lr` is meant for: the rate is scaled by batch / lr_batch (linear scaling). 0: it is not."""
    schedule: Literal["step", "cosine"] = "step"
    """The learning rate falls by `gamma` at the milestones, or along half a cosine to zero."""
    milestones: tuple[int, ...] = (30, 40, 45)
    """Epochs after which the learning rate is multiplied by `gamma`."""
    gamma: float = 0.1
    """Factor at the milestones."""
    warmup: float = 0.0
    """Epochs over which the learning rate rises to its height; the paper has none."""
    most_steps: int = 0
    """Steps that are enough: more videos get fewer epochs, with all of the schedule in them. 0: no limit."""
    batch: int = 64
    """Clips in a step, of all processes together: on more GPUs each has fewer, the experiment is the same."""
    accumulate: int = 1
    """Parts of a process's batch, one after the other, whose gradients add up: less memory, the same step."""
    momentum: float = 0.9
    """SGD's momentum."""
    weight_decay: float = 1e-4
    """Decay of convolution and linear weights; BatchNorm and biases have none."""
    clip_norm: float = 20.0
    """Largest norm of the gradient."""
    linear_lr: Literal["classifier", "all", "none"] = "all"
    """Linear layers that learn ×5 (bias ×10): all (published code), the classifier (mmaction2), or none."""
    fresh_lr: float = 1.0
    """The classifier learns so many times as fast, and temporal modules that no checkpoint (`init`) gives."""
    smoothing: float = 0.0
    """Part of a label that is spread over all classes (label smoothing)."""
    sync_norm: bool = False
    """BatchNorm over the batch of all processes (SyncBatchNorm, GPUs alone), not over that of each."""
    nonfinite: Literal["stop", "skip"] = "stop"
    """A loss or gradient that is not finite is named with its videos; it ends the run, or makes no step."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """Of convolutions and products on a GPU (autocast). A CPU computes in float32."""


@dataclass(frozen=True)
class Eval(_Section):
    """Views of a video in testing, and how their scores become one."""

    clips: int = 1
    """V, clips spread over the video."""
    crops: Literal[1, 3] = 1
    """1: centre; 3: left, centre, right (top, centre, bottom for a portrait video)."""
    resize: int = 256
    """Short side, in pixels."""
    size: int = 224
    """Side of the crops, in pixels."""
    fuse: Literal["logits", "softmax"] = "logits"
    """What is averaged over views: the published code takes logits, mmaction2 softmax."""
    batch: int = 32
    """Views that go through the network together; half as many where a GPU has too little memory."""
    every: int = 1
    """Epochs between validations in training; the last epoch always has one."""


@dataclass(frozen=True)
class Recipe:
    """One experiment."""

    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    optim: Optim = field(default_factory=Optim)
    eval: Eval = field(default_factory=Eval)
    seed: int = 0
    """Of weights, order, crops and dropout."""

    def __post_init__(self) -> None:
        if not 0 <= self.data.max_bad <= 1:
            raise ValueError(f"data.max_bad must be in [0, 1], not {self.data.max_bad}")
        milestones = self.optim.milestones
        if list(milestones) != sorted(milestones):
            raise ValueError(f"optim.milestones must be in order, not {', '.join(map(str, milestones))}")
        if not self.data.timeout > 0:
            raise ValueError(f"data.timeout must be positive, not {self.data.timeout}")
        if not 0 <= self.optim.smoothing < 1:
            raise ValueError(f"optim.smoothing must be in [0, 1), not {self.optim.smoothing}")
        if not 0 <= self.model.identity < math.inf:
            raise ValueError(f"model.identity must be a number from 0 on, not {self.model.identity}")
        if not self.optim.fresh_lr > 0:
            raise ValueError(f"optim.fresh_lr must be positive, not {self.optim.fresh_lr}")
        if self.eval.size > self.eval.resize:
            raise ValueError(f"eval.size {self.eval.size} does not fit into eval.resize {self.eval.resize}")
        if self.data.sampling == "dense" and self.model.frames > self.data.window:
            raise ValueError(f"{self.model.frames} frames do not fit into a window of {self.data.window}")
        if self.model.weights and self.model.init:
            raise ValueError("model.weights and model.init both say where to start: give one of them")


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values that JSON can hold."""
    return dataclasses.asdict(recipe)


def from_dict(values: dict[str, Any]) -> Recipe:
    """The recipe that `to_dict` wrote.

    A field that the values lack takes its default, so that older checkpoints go on loading.

    Raises:
        ValueError: a field is not known; the message lists those that are.
    """
    return _from_dict(Recipe, values, "recipe")


def _from_dict(cls: type, values: dict[str, Any], where: str) -> Any:
    kinds = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(kinds))
    if unknown:
        raise ValueError(f"{where}: unknown field {', '.join(unknown)}; known are {', '.join(kinds)}")
    return cls(**{name: _value(kinds[name], value, f"{where}.{name}") for name, value in values.items()})


def _value(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _from_dict(typing.cast(type, kind), value, where)
    # JSON has no tuples.
    return tuple(value) if isinstance(value, list) else value
