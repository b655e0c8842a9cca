"""Reading of state dicts from PyTorch and safetensors files, and comparison of two state dicts."""

import json
import pickle
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from tanet.errors import UserError, abbreviate


def read_weights(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read the state dict in a PyTorch or safetensors file, and the other values stored beside it (epoch, …).

    Raises:
        UserError: the file cannot be read, holds no state dict, or needs code to be executed.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        if _is_safetensors(path):
            with safetensors.safe_open(path, framework="pt") as file:
                return safetensors.torch.load_file(path), dict(file.metadata() or {})
        with path.open("rb") as file:  # given a path, torch.load would look at its suffix
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can make torch.load raise almost any exception
        raise UserError(f"{path}: cannot be read as weights ({_describe_failure(path, error)})") from error
    beside = content if isinstance(content, dict) else {}
    state = beside.get("state_dict", content)
    if not (isinstance(state, dict) and state) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    ):
        raise UserError(f"{path}: holds no state dict")
    return state, {} if state is content else {k: v for k, v in beside.items() if k != "state_dict"}


def is_tanets(beside: Mapping[str, Any]) -> bool:
    """Return whether tanet wrote a file, given the values stored beside its state dict."""
    return "tanet" in beside


def state_dict_diff(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> str:
    """Describe how weights differ from the expected ones in names and shapes; "" if they do not."""
    # Many published files are older than PyTorch's batch counters.
    missing = sorted(k for k in expected.keys() - state.keys() if not k.endswith("num_batches_tracked"))
    left_over = sorted(state.keys() - expected.keys())
    shapes = {k: (list(state[k].shape), list(expected[k].shape)) for k in state.keys() & expected.keys()}
    other = sorted(
        f"{k} {found} instead of {wanted}" for k, (found, wanted) in shapes.items() if found != wanted
    )
    if not missing and not left_over and not other:
        return ""
    return (
        f"missing: {abbreviate(missing)}; unexpected: {abbreviate(left_over)}; "
        f"of another shape: {abbreviate(other)}"
    )


def _is_safetensors(path: Path) -> bool:
    """Return whether a file starts like safetensors: eight bytes of length, then JSON. Ignores its suffix."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _describe_failure(path: Path, error: Exception) -> str:
    asked = re.search(r"GLOBAL (\S+)", str(error))
    if asked:
        code = (
            f'import torch; x = torch.load({json.dumps(str(path))}, map_location="cpu", weights_only=False); '
            'torch.save(x["state_dict"], "weights.pth")'
        )
        return (
            f"it holds an object of {asked[1]}, and tanet executes nothing in a file; "
            f"if you trust it, extract its weights: python -c {shlex.quote(code)}"
        )
    if isinstance(error, pickle.UnpicklingError):
        return "damaged, or not a PyTorch file"
    return str(error).split(". ")[0].splitlines()[0] if str(error) else type(error).__name__
