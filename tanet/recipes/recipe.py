"""A recipe describes one experiment: what to read, what to build, how to train it and how to test it.

Recipes and their sections are frozen dataclasses; there are no settings files. Change a recipe with
`dataclasses.replace`, or field by field on the command line (`--optim.lr 0.02`). Every checkpoint contains
its recipe. The docstring below a field is the help text of its flag. The declaration of a field states its
bounds and what it affects (fields.py). Sections with many fields have files of their own.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from tanet.errors import UserError
from tanet.recipes.fields import Section, reject_unknown_fields, section_from_dict, setting
from tanet.recipes.network2d import Network2D
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.networks3d import X3D, InceptionI3D, ResNet3D, SlowFast
from tanet.recipes.networks3d_factored import CSN, S3D, ARTNet, VideoResNet
from tanet.recipes.networks_hybrid import ECO, BLVNet, CPNet, RegionGraphNet
from tanet.recipes.optim_settings import Optim
from tanet.recipes.renamed import accept_old_names, warn_of_new_name, with_new_names

LEAST_FLOW_SIDE = 16
"""Smallest width and height of frames from which flow is computed, in pixels."""


@dataclass(frozen=True)
class Data(Section):
    """Where the videos are, and how clips are sampled from them."""

    section: ClassVar[str] = "data"

    root: str = setting("", role="place", on_resume="free")
    """Folder of videos, as ROOT/{train,val}/CLASS/… or ROOT/CLASS/…. Paths in lists are relative to it."""
    train: str = setting("", role="place", on_resume="content")
    """File that lists the training videos, with lines `path label` or `path frames label`, or as CSV."""
    val: str = setting("", role="place", on_resume="content")
    """File that lists the validation videos, in the same format as `train`."""
    class_names: str = setting("", role="place", on_resume="content")
    """File of class names, one per line, in label order. Default: names from the folders or lists."""
    flow: str = setting("", role="place", on_resume="free")
    """For networks of optical flow: folder that `tanet data flow` or `tanet data pack` has written. Default:
    flow is computed from the frames of the videos, unless the videos are folders of flow themselves."""
    flow_method: Literal["dis", "tvl1", "farneback"] = "dis"
    """Method by which flow is computed while a video is read. Stored flow keeps its own."""
    flow_size: tuple[int, ...] = setting((340, 256), least=0)
    """Width and height of the frames from which flow is computed, in pixels. 0 0: the video's own size."""
    quarantine: str = setting("", role="place", on_resume="content")
    """File of videos to leave out, one per line, as written by `tanet data check`."""
    val_fraction: float = setting(0.2, least=0, below=1)
    """Fraction of the videos held out for validation if there is no val/ folder and no list."""
    sampling: Literal["dense", "uniform"] = "uniform"
    """How frames are sampled. dense: evenly spaced frames from `window` consecutive frames (Kinetics).
    uniform: one frame from each of T equal segments of the video."""
    window: int = setting(64, least=1)
    """Window length for dense sampling, in frames at `rate`. Some code uses (64 // T) · T frames."""
    rate: Literal["video", "30fps"] = "video"
    """Frame rate of dense windows. video: the video's own; a short video starts again. 30fps: `window`
    counts thirtieths of a second, as in PySlowFast; a short video's last frame is repeated."""
    segments: Literal["equal", "published", "mmaction2", "shared"] = "equal"
    """How uniform sampling cuts a training video. equal: into T equal parts, as in testing. published:
    into parts of n // T frames; a video of fewer than T frames shows only its first. mmaction2: as
    published, but frames of a short video are spread over it. shared: as published, with the same random
    offset in all parts (bLVNet-TAM)."""
    resize: int = setting(256, least=0)
    """Short side of the frames before the training crop, in pixels; 0 keeps the video's own size."""
    resize_width: int = setting(0, least=0)
    """Width of the frames before the training crop, in pixels; `resize`, or the smallest of `short_sides`, is
    then their height, whatever the shape of the video. 0: the width follows from the shape."""
    size: int = setting(224, least=1)
    """Side length of the training crop, in pixels."""
    scales: tuple[float, ...] = setting((1.0, 0.875, 0.75, 0.66), above=0, most=1)
    """Side lengths of the random multi-scale crop, as fractions of the short side."""
    snap: int = setting(0, least=0)
    """A side of the training crop within `snap` pixels of `size` becomes `size`. Published code: 2."""
    short_sides: tuple[int, ...] = setting((), least=1, may_be_empty=True)
    """Smallest and largest short side of the frames before the training crop, drawn for each clip. The
    crop of `size` pixels is at any position; `resize`, `scales` and `snap` have no effect."""
    flip: Literal["none", "plain", "mirror", "published"] = "plain"
    """Random horizontal flip. none: no flips. plain: a flipped video keeps its label. mirror: left and
    right are swapped in the label; classes without a counterpart are not flipped. published: as mirror,
    but classes without a counterpart are flipped and keep their label."""
    workers: int = setting(4, least=0, role="machine", on_resume="free")
    """Number of decoding processes, limited to one per CPU core; 0 decodes in the main process."""
    transform_on: Literal["workers", "device"] = setting("workers", role="machine")
    """Where training frames are resized, cropped and flipped. Choose device if the GPU waits for data."""
    bad_files: Literal["skip", "strict"] = setting("skip", role="machine", on_resume="free")
    """What to do with an unreadable video. skip: report it and use the next video. strict: end the run."""
    max_bad: float = setting(0.1, least=0, most=1, role="machine", on_resume="free")
    """Maximum fraction of unreadable videos. The run ends if the fraction is larger."""
    timeout: float = setting(300.0, above=0, role="machine", on_resume="free")
    """Seconds to wait for a batch before the run ends. The value has no effect without workers."""
    boxes: str = setting("", role="place", on_resume="content")
    """File of boxes of regions, for networks with a graph of regions (--model.boxes given)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        flow = self.flow_size
        if len(flow) != 2 or (any(flow) and min(flow) < LEAST_FLOW_SIDE):
            raise UserError(
                f"data.flow_size must be a width and a height of at least {LEAST_FLOW_SIDE} pixels, or 0 0, "
                f"not {' '.join(map(str, flow))}"
            )
        sides = self.short_sides
        if sides and (len(sides) != 2 or sides[0] > sides[1]):
            shown = ", ".join(map(str, sides))
            raise UserError(f"data.short_sides must be two ascending numbers, not {shown}")
        if sides and sides[0] < self.size:
            raise UserError(f"data.short_sides must be at least data.size {self.size}, not {sides[0]}")


@dataclass(frozen=True)
class Eval(Section):
    """Which views of a video are tested, and how their scores are averaged."""

    section: ClassVar[str] = "eval"

    clips: int = setting(1, least=1)
    """Number of clips per video, spread evenly over it."""
    crops: Literal[1, 3, 6, 10] = 1
    """Crops per clip. 1: centre. 3: left, centre, right (portrait videos: top, centre, bottom). 6: evenly
    spaced along the longer side (CPNet). 10: corners and centre, each also mirrored, as in TSN."""
    resize: int = setting(256, least=1)
    """Short side of the frames before the crop, in pixels."""
    size: int = setting(224, least=1)
    """Side length of the crops, in pixels."""
    frames: int = setting(0, least=0)
    """Largest number of consecutive frames of a clip, for networks that take clips of any length (I3D
    with Inception). A shorter video is one whole clip. 0: clips as in training."""
    style: Literal["tanet", "published", "tsm", "mmaction2", "pyslowfast"] = "tanet"
    """Whose rules place clips and crops. tanet: centred crops. published: TANet's code. tsm: TSM's code,
    with its second clip. mmaction2, pyslowfast: their clips, crops and resizing."""
    average: Literal["logits", "softmax"] = "logits"
    """Values to average over the views. logits: as in the published code. softmax: as in mmaction2."""
    batch: int = setting(32, least=1, role="machine")
    """Number of views per forward pass; halved if a GPU runs out of memory."""
    every: int = setting(1, least=1, role="machine")
    """Epochs between validations during training. The last epoch is always validated."""
    resize_width: int = setting(0, least=0)
    """Width of the frames before the crop, in pixels; `resize` is then their height, whatever the shape of
    the video. 0: the width follows from the shape."""
    clip_frames: int = setting(0, least=0)
    """Frames per clip in `tanet test` and `predict`, for networks whose weights fit clips of any length. TSN
    is trained with 3 and tested with 25. 0: as in training."""


for _section in (Data, Network2D, Optim, Eval):
    accept_old_names(_section)

NETWORKS: dict[str, type[NetworkSettings]] = {
    kind.family: kind
    for kind in (
        *(Network2D, InceptionI3D, ResNet3D, SlowFast, X3D),
        *(S3D, VideoResNet, CSN, ARTNet),
        *(ECO, BLVNet, CPNet, RegionGraphNet),
    )
}
"""Network families: name in a recipe → class of the model section."""


@dataclass(frozen=True)
class Recipe:
    """One experiment: data, model, training and testing."""

    data: Data = field(default_factory=Data)
    model: NetworkSettings = field(default_factory=Network2D)
    optim: Optim = field(default_factory=Optim)
    eval: Eval = field(default_factory=Eval)
    seed: int = 0
    """Random seed for weights, video order, crops and dropout."""

    def __post_init__(self) -> None:
        data, model, optim, eval = self.data, self.model, self.optim, self.eval
        if list(optim.milestones) != sorted(optim.milestones):
            raise UserError(f"optim.milestones must ascend, not {', '.join(map(str, optim.milestones))}")
        if not optim.warmup < optim.epochs:
            raise UserError(
                f"optim.warmup {optim.warmup:g} must be below optim.epochs {optim.epochs}: "
                "lower --optim.warmup, or raise --optim.epochs"
            )
        if eval.size > eval.resize:
            raise UserError(f"eval.size {eval.size} must not exceed eval.resize {eval.resize}")
        for name, part in (("data", data), ("eval", eval)):
            width = part.resize_width
            if width and width < part.size:
                raise UserError(f"{name}.resize_width {width} must be at least {name}.size {part.size}")
            if width and not part.resize:
                raise UserError(f"{name}.resize_width {width} needs {name}.resize above 0")
        if data.sampling == "dense" and model.frames > data.window:
            raise UserError(f"model.frames {model.frames} must not exceed data.window {data.window}")
        if eval.frames and not model.any_frames:
            raise UserError(
                f"eval.frames {eval.frames}: this network takes only clips of {model.frames} frames: "
                "give --eval.frames 0"
            )
        _check_clips(data, model, eval)
        if model.weights and model.init and not isinstance(model, ECO):  # ECO: 2D layers, and 3D layers
            raise UserError("model.weights and model.init both set the weights to start from: give only one")


def _check_clips(data: Data, model: NetworkSettings, eval: Eval) -> None:
    """Raise UserError if a network does not take the clips or the regions of a recipe."""
    if data.boxes and getattr(model, "boxes", "") != "given":
        raise UserError(
            "data.boxes gives regions to a network with a graph of them: give --model.boxes given with "
            "nl-i3d-gcn, or leave out --data.boxes"
        )
    if eval.clip_frames and not model.any_clip_length:
        raise UserError(
            f"eval.clip_frames {eval.clip_frames}: the weights of this network fit only clips of "
            f"{model.frames} frames: give --eval.clip-frames 0"
        )
    if eval.clip_frames and eval.frames:
        raise UserError("eval.clip_frames and eval.frames both set the length of clips: give only one")


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """Convert a recipe to plain values for JSON. The value of `model.family` names the network family."""
    values = dataclasses.asdict(recipe)
    return {**values, "model": {"family": recipe.model.family, **values["model"]}}


def from_dict(values: dict[str, Any]) -> Recipe:
    """Rebuild a recipe from the output of `to_dict`.

    The output may be from an older version of tanet: missing fields get their defaults, and old field names
    are accepted. So older checkpoints can still be loaded.

    Raises:
        UserError: a field or network family is unknown, or a value is invalid.
    """
    sections = {"data": Data, "optim": Optim, "eval": Eval}
    _check_fields("recipe", values)
    reject_unknown_fields(Recipe, values, "recipe")
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
        raise UserError(f"{where}: must be a dictionary of fields, not {values!r:.80}")


def _network_from_dict(values: dict[str, Any]) -> NetworkSettings:
    settings = dict(values)
    family = settings.pop("family", "2d")  # tanet 0.1.0 wrote no family: all networks were 2D
    if family not in NETWORKS:
        raise UserError(f"recipe.model: unknown family '{family}': choose from {', '.join(NETWORKS)}")
    return section_from_dict(NETWORKS[family], settings, "recipe.model")


def __getattr__(name: str) -> Any:
    if name == "Model":
        warn_of_new_name("Model", "Network2D")
        return Network2D
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
