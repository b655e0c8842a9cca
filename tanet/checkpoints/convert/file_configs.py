"""Configs in checkpoints of PySlowFast and mmaction2: the clip, the sizes and the pathways' frames.

PySlowFast stores its config as YAML under `cfg`, mmaction2 stores its own as Python under `meta`. Both are
read as text: the lines that are needed are looked for, and nothing is executed.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tanet.recipes.input_spec import HALF, IMAGENET, VIDEO, InputSpec


@dataclass(frozen=True)
class ClipConfig:
    """What a config says about the input of a network; 0 or None for what it does not say."""

    source: str = ""
    """Codebase of the config; "" if the file has none."""
    frames: int = 0
    frame_step: int = 0
    train_size: int = 0
    """Side of the training crop, in pixels."""
    test_size: int = 0
    """Side of the test crop, in pixels."""
    speed_ratio: int = 0
    attention: Literal["softmax", "dot"] | None = None
    head_window: int | None = None
    normalisation: InputSpec | None = None

    def settings(self) -> dict[str, Any]:
        """Return the settings of a network that the config gives."""
        values = {
            "frames": self.frames or None,
            "speed_ratio": self.speed_ratio or None,
            "attention": self.attention,
            "head_window": self.head_window,
        }
        return {name: value for name, value in values.items() if value is not None}


def read_config(beside: Mapping[str, Any]) -> ClipConfig:
    """Read the config of a checkpoint, from what the file holds beside the weights."""
    text = beside.get("cfg")
    if isinstance(text, str) and "NUM_FRAMES" in text:
        return _pyslowfast(text)
    meta = beside.get("meta")
    texts = [value for value in meta.values() if isinstance(value, str)] if isinstance(meta, dict) else []
    config = "\n".join(value for value in texts if "clip_len" in value)
    return _mmaction2(config) if config else ClipConfig()


def shift_div_in_config(beside: Mapping[str, Any]) -> int | None:
    """Return the `shift_div` in mmaction2's config, which its files hold as text; None if it is not there."""
    meta = beside.get("meta")
    texts = [value for value in meta.values() if isinstance(value, str)] if isinstance(meta, dict) else []
    found = {int(number) for text in texts for number in re.findall(r"\bshift_div\s*=\s*(\d+)", text)}
    return found.pop() if len(found) == 1 else None


def _pyslowfast(text: str) -> ClipConfig:
    size = _number(text, r"\bTRAIN_CROP_SIZE:\s*(\d+)")
    attention = re.search(r"\bINSTANTIATION:\s*(\w+)", text)
    kinds: dict[str, Literal["softmax", "dot"]] = {"softmax": "softmax", "dot_product": "dot"}
    return ClipConfig(
        "PySlowFast",
        frames=_number(text, r"\bNUM_FRAMES:\s*(\d+)"),
        frame_step=_number(text, r"\bSAMPLING_RATE:\s*(\d+)"),
        train_size=size,
        test_size=_number(text, r"\bTEST_CROP_SIZE:\s*(\d+)"),
        speed_ratio=_number(text, r"\bALPHA:\s*(\d+)"),
        attention=kinds.get(attention[1]) if attention else None,
        head_window=math.ceil(size / 32) if size else None,
    )


def _mmaction2(text: str) -> ClipConfig:
    mode = re.search(r"mode\s*=\s*'(embedded_gaussian|dot_product)'", text)
    return ClipConfig(
        "mmaction2",
        frames=_number(text, r"\bclip_len\s*=\s*(\d+)"),
        frame_step=_number(text, r"\bframe_interval\s*=\s*(\d+)"),
        test_size=_number(text, r"type='ThreeCrop',\s*crop_size\s*=\s*(\d+)"),
        speed_ratio=_number(text, r"\bspeed_ratio\s*=\s*(\d+)"),
        attention=("dot" if mode[1] == "dot_product" else "softmax") if mode else None,
        normalisation=_normalisation(text),
    )


def _normalisation(text: str) -> InputSpec | None:
    """Return the mean and the standard deviation that a config of mmaction2 states, for pixels from 0 to 255.

    A normalisation in common use is returned as its own InputSpec.
    """
    found = []
    for name in ("mean", "std"):
        texts = set(re.findall(rf"\b{name}\s*=\s*\[([\d., ]+)\]", text))
        if len(texts) != 1:
            return None
        values = tuple(float(value) for value in texts.pop().split(",") if value.strip())
        if len(values) != 3:
            return None
        found.append(values)
    mean, std = found
    for known in (IMAGENET, VIDEO, HALF):
        pairs = zip((*known.mean, *known.std), (*mean, *std), strict=True)
        if all(math.isclose(255 * ours, theirs, rel_tol=1e-3) for ours, theirs in pairs):
            return known
    return InputSpec(mean=mean, std=std, range=(0.0, 255.0))


def _number(text: str, pattern: str) -> int:
    """Return the number that a pattern finds, or 0 if it finds none or different ones."""
    found = {int(number) for number in re.findall(pattern, text)}
    return found.pop() if len(found) == 1 else 0
