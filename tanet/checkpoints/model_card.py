"""What people and the hub read beside a pushed checkpoint: the model card (README.md) and config.json.

Both are made from the header of the checkpoint. The card begins with metadata in YAML, which is written as
JSON values: JSON is a part of YAML.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from tanet.checkpoints.checkpoint_file import Checkpoint
from tanet.checkpoints.pretrained.entries import read_index
from tanet.errors import UserError
from tanet.recipes import recipe as recipes
from tanet.recipes.network2d import Network2D

COMMON_LICENCES = ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-nc-4.0", "gpl-3.0")
HUB_LICENCES = (
    *COMMON_LICENCES,
    *("afl-3.0", "agpl-3.0", "artistic-2.0", "bsd", "bsd-2-clause", "bsd-3-clause-clear", "bsl-1.0"),
    *("cc", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0"),
    *("cc-by-nc-3.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0"),
    *("cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0"),
    *("creativeml-openrail-m", "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "eupl-1.2"),
    *("gfdl", "gpl", "gpl-2.0", "isc", "lgpl", "lgpl-2.1", "lgpl-3.0", "lppl-1.3c", "mpl-2.0", "ms-pl"),
    *("ncsa", "odbl", "ofl-1.1", "openrail", "osl-3.0", "pddl", "postgresql", "unlicense", "wtfpl", "zlib"),
    *("other", "unknown"),
)
"""Names of licences that the hub knows. Other SPDX identifiers are given as `license_name`."""

CLASSES_IN_CARD = 50


@dataclass(frozen=True)
class About:
    """What the card says and the checkpoint does not know."""

    repo: str
    """Repository on the hub, as user/name."""
    licence: str
    """Licence of the weights: a name of the hub or an SPDX identifier."""
    dataset: str = ""
    """Data set that the network was trained on."""
    initial: str = ""
    """Weights that these weights were made from, in words."""


def check_licence(licence: str) -> str:
    """Return the hub's or SPDX's identifier of a licence.

    Raises:
        UserError: no licence was chosen, or the text cannot be an identifier.
    """
    common = f"{', '.join(COMMON_LICENCES)} or another SPDX identifier"
    if not licence:
        raise UserError(f"choose the licence of the weights: --licence {common}")
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", licence):
        raise UserError(f"'{licence}' is no identifier of a licence: choose {common}")
    return licence.lower() if licence.lower() in HUB_LICENCES else licence


def config(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the values of config.json. tanet reads none of them: the checkpoint holds all that it needs."""
    recipe = checkpoint.recipe
    return {
        "library": "tanet",
        "architecture": recipe.model.title,
        "parameters": sum(weight.numel() for weight in checkpoint.network.parameters()),
        "frames": recipe.model.frames,
        "classes": list(checkpoint.classes),
        "input": asdict(checkpoint.network.input_spec),
        "recipe": recipes.to_dict(recipe),
        "info": checkpoint.info,
    }


@dataclass(frozen=True)
class Accuracy:
    """An accuracy that a checkpoint holds, from 0 to 1, and how it was measured."""

    measure: str
    value: float
    protocol: str


def accuracies(checkpoint: Checkpoint) -> list[Accuracy]:
    """Return the accuracies in a checkpoint's information."""
    info, size = checkpoint.info, checkpoint.recipe.eval.size
    own = f"validation during training, epoch {info.get('epoch')}; one view of {size}² pixels of each video"
    names = {
        "val_top1": ("top-1", 1, own),
        "val_top5": ("top-5", 1, own),
        "val_mean_class": ("mean class", 1, own),
        "best_prec1": ("top-1", 100, "on record in the file that was converted"),
    }
    found = [
        Accuracy(measure, info[key] / whole, protocol)
        for key, (measure, whole, protocol) in names.items()
        if isinstance(info.get(key), (int, float)) and 0 < info[key] <= whole
    ]
    if entry := read_index().get(str(info.get("pretrained"))):
        protocol = f"published by {entry.source}; {entry.protocol}"
        published = {"top-1": entry.top1, "top-5": entry.top5}
        found += [Accuracy(name, value / 100, protocol) for name, value in published.items() if value]
    return found


def model_card(checkpoint: Checkpoint, about: About) -> str:
    """Return the model card, as Markdown."""
    name, model = about.repo.split("/")[1], checkpoint.recipe.model
    weights = sum(weight.numel() for weight in checkpoint.network.parameters())
    what = (
        f"Recognises {len(checkpoint.classes)} actions in video: {model.title}, {model.frames} frames per "
        f"clip, {weights / 1e6:.1f} million parameters. The file `model.safetensors` is a checkpoint of the "
        "library tanet, with the weights, the recipe, the class names and the input specification."
    )
    parts = [
        _metadata(checkpoint, about),
        f"# {name}",
        what,
        f"## Use\n\n{_use(about.repo)}",
        f"## Accuracy\n\n{_accuracy(accuracies(checkpoint))}",
        f"## Classes\n\n{_classes(checkpoint.classes)}",
        f"## Training\n\n{_training(checkpoint, about)}",
        f"## Licence\n\n{_licence(about)}",
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(checkpoint: Checkpoint, about: About) -> str:
    """Return the YAML at the top of the card."""
    model = checkpoint.recipe.model
    tags = ["tanet", "video", "action-recognition", "pytorch", model.family]
    if isinstance(model, Network2D):
        tags[-1:] = [model.backbone, model.temporal]
    values: dict[str, Any] = {
        "library_name": "tanet",
        "pipeline_tag": "video-classification",
        **_licence_metadata(about.licence),
        "tags": tags,
    }
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", about.dataset):
        values["datasets"] = [about.dataset]
    if found := accuracies(checkpoint):
        values["model-index"] = [{"name": about.repo.split("/")[1], "results": [_result(found, about)]}]
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    return "\n".join(("---", *lines, "---"))


def _licence_metadata(licence: str) -> dict[str, str]:
    if licence in HUB_LICENCES:
        return {"license": licence}
    values = {"license": "other", "license_name": licence}
    if not licence.startswith("LicenseRef-"):
        values["license_link"] = f"https://spdx.org/licenses/{licence}.html"
    return values


def _result(found: Iterable[Accuracy], about: About) -> dict[str, Any]:
    """Return the accuracies as an entry of the hub's model index."""
    data = about.dataset or "own videos"
    return {
        "task": {"type": "video-classification", "name": "Video classification"},
        "dataset": {"type": re.sub(r"[^\w/.-]+", "-", data).lower(), "name": data},
        "metrics": [
            {"type": "accuracy", "name": f"{one.measure} ({one.protocol})", "value": round(one.value, 5)}
            for one in found
        ],
    }


def _use(repo: str) -> str:
    return f"""```
pip install 'tanet[hub]'
tanet predict hf://{repo} video.mp4
```

```python
import tanet

print(tanet.predict("video.mp4", tanet.load("hf://{repo}")).label)
```"""


def _accuracy(found: list[Accuracy]) -> str:
    if not found:
        return "The checkpoint holds no accuracy. `tanet test` measures it on labelled videos."
    rows = [f"| {one.measure} | {one.value:.1%} | {one.protocol} |" for one in found]
    return "\n".join(("| measure | value | protocol |", "|---|---|---|", *rows))


def _classes(names: tuple[str, ...]) -> str:
    shown = [f"`{' '.join(name.replace('`', chr(39)).split())}`" for name in names[:CLASSES_IN_CARD]]
    more = f" and {len(names) - len(shown)} more, which are in `config.json`" if names[len(shown) :] else ""
    return ", ".join(shown) + more


def _training(checkpoint: Checkpoint, about: About) -> str:
    """Return the data, the initial weights and the versions of the training."""
    info = checkpoint.info
    lines = [f"- Data: {about.dataset or 'not stated'}"]
    if origin := info.get("converted_from"):
        lines.append(f"- Converted from: {origin}")
    if about.initial:
        lines.append(f"- Initial weights: {about.initial}")
    if isinstance(found := info.get("versions"), dict):
        lines.append(f"- Versions: {', '.join(f'{name} {version}' for name, version in found.items())}")
    return "\n".join((*lines, "- Recipe: in `config.json`"))


def _licence(about: About) -> str:
    text = f"These weights: {about.licence}."
    return f"{text} They were made from {about.initial}." if about.initial else text
