"""Reading of state dicts from PyTorch and safetensors files, and comparison of two state dicts."""

import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from tanet.checkpoints.exported.formats import format_of
from tanet.checkpoints.file_kinds import kind_of_file
from tanet.checkpoints.inert_pickle import (
    HarmfulFile,
    is_module,
    is_torchscript,
    load_inert,
    weights_of_module,
)
from tanet.errors import UserError, abbreviate

# Keys under which people store a state dict, the likeliest first.
STATE_KEYS = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params"),
    *("blobs", "module", "state", "ema_state_dict", "state_dict_ema", "model_ema", "ema", "ema_model"),
)
# Prefixes that wrappers add to every name: data parallelism, torch.compile, trainers, averaged copies.
PREFIXES = (
    *("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "encoder."),
    *("ema_model.", "ema.", "student."),
)
# Parts that wrappers insert anywhere in a name.
INSERTED = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
# Tensors that are not weights of the network: mean and std of the input, number of averaged models, counts of
# operations and parameters, and tensors of the loss.
NO_WEIGHTS = re.compile(r"data_preprocessor\..*|n_averaged|(.*\.)?total_(ops|params)|(loss|criterion)\..*")


@dataclass(frozen=True)
class WeightsFile:
    """The content of a file of weights."""

    state: dict[str, torch.Tensor]
    """Weights by name, without prefixes of wrappers."""
    beside: dict[str, Any]
    """Other values in the file, for example the epoch. A checkpoint of tanet has the key `tanet`."""
    notes: tuple[str, ...] = ()
    """Notes for the user on parts of the file that were not loaded, one line per reason."""


def plain_file(path: str | Path) -> Path:
    """Return the path of a file, or of the best checkpoint in a training's folder.

    Raises:
        UserError: there is no such file, the file is empty, or the folder has no best checkpoint.
    """
    path = Path(path)
    if path.is_dir():
        best = path / "best.safetensors"
        if not best.is_file():
            raise UserError(f"{path}: a folder; name a file in it (a training's folder has best.safetensors)")
        return best
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if not path.stat().st_size:
        raise UserError(f"{path}: the file is empty; download or copy it again")
    return path


def read_weights(path: str | Path) -> WeightsFile:
    """Read the weights in a file of PyTorch, safetensors, Caffe2 (.pkl) or numpy (.npz).

    Nothing in the file is executed.
    The state dict may be stored under a usual key, or as a whole pickled network. Prefixes that wrappers
    added to the names are removed.

    Raises:
        UserError: the file does not exist, is damaged, holds no weights, or asks to run commands.
    """
    path = plain_file(path)
    if format_of(path):
        raise UserError(f"{path}: an exported network; name the checkpoint it was made from")
    skipped: tuple[str, ...] = ()
    try:
        if is_safetensors(path):
            with safetensors.safe_open(path, framework="pt") as file:
                content, beside = safetensors.torch.load_file(path), dict(file.metadata() or {})
            return _normalised(path, content, beside, [])
        if _is_npz(path):
            with np.load(path, allow_pickle=False) as arrays:
                content = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
            return _normalised(path, content, {}, [])
        if is_torchscript(path):
            cause = "a TorchScript archive, which holds a program; save the network's state_dict() instead"
            raise UserError(f"{path}: {cause}")
        content, skipped = load_inert(path)
    except UserError:
        raise
    except HarmfulFile as error:
        raise UserError(
            f"{path}: the file asks to call {error}, which can run commands; tanet runs nothing in a file "
            "and does not use this one"
        ) from error
    except Exception as error:  # a damaged file can make torch.load raise almost any exception
        raise UserError(f"{path}: cannot be read as weights ({_describe_failure(path, error)})") from error
    key, state = _find_state(content)
    if state is None:
        keys = ", ".join(map(str, list(content)[:8])) if isinstance(content, dict) else type(content).__name__
        cause = _bad_array(content) or f"the file holds no state dict, only {keys or 'nothing'}"
        raise UserError(f"{path}: {cause}")
    beside = {k: v for k, v in content.items() if k != key and not is_module(v)} if key else {}
    notes = (
        [f"not loaded, because tanet runs no code from a file: {abbreviate(list(skipped), 4)}"]
        if skipped
        else []
    )
    others = [name for name in STATE_KEYS if name != key and isinstance(beside.get(name), dict)]
    if key and (others := [name for name in others if _as_state(beside[name])]):
        notes.append(f"the weights are those under {key}; left out: {', '.join(others)}")
    return _normalised(path, state, beside, notes)


def _find_state(content: Any) -> tuple[str, dict[str, torch.Tensor] | None]:
    """Return the state dict in the content of a file, and its key; the key is "" for the content itself."""
    if state := _as_state(content) or _flax_state(content):
        return "", state
    if not isinstance(content, dict):
        return "", None
    for key in (*STATE_KEYS, *content):
        if key in content and (state := _as_state(content[key])):
            return key, state
    for key in STATE_KEYS:  # one level further down, for example in {"model": {"state_dict": …}}
        if isinstance(inner := content.get(key), dict) and (state := _find_state(inner)[1]):
            return key, state
    return "", None


def _as_state(value: Any) -> dict[str, torch.Tensor] | None:
    """Return the state dict if a value is a state dict or a pickled network, else None."""
    if is_module(value):
        return dict(weights_of_module(value))
    if not isinstance(value, dict) or not value:
        return None
    tensors = {
        name: torch.from_numpy(np.ascontiguousarray(tensor)) if _is_array(tensor) else tensor
        for name, tensor in value.items()
        if isinstance(tensor, torch.Tensor) or _is_array(tensor)
    }
    others = [name for name in value if name not in tensors]
    named = all(isinstance(name, str) for name in tensors)
    return tensors if named and len(tensors) > len(others) else None


def _bad_array(content: Any) -> str:
    """Return which value in a Caffe2 file is no array of numbers, or "" if there is none."""
    blobs = content.get("blobs") if isinstance(content, dict) else None
    bad = [name for name, value in blobs.items() if not _is_array(value)] if isinstance(blobs, dict) else []
    return f"not an array of numbers, under blobs: {abbreviate(list(map(str, bad)), 4)}" if bad else ""


def _flax_state(value: Any) -> dict[str, torch.Tensor] | None:
    """Return the arrays of a flax network, named params/Dense_0/kernel and so on; None for other values."""
    if not isinstance(value, dict) or value.keys() != {"params", "batch_stats"}:
        return None

    def leaves(tree: dict[Any, Any], above: str) -> Iterator[tuple[str, Any]]:
        for name, child in tree.items():
            path = f"{above}/{name}" if above else str(name)
            yield from leaves(child, path) if isinstance(child, dict) else [(path, child)]

    return _as_state(dict(leaves(value, "")))


def _is_array(value: object) -> bool:
    """Return whether a value is an array of numbers, which Caffe2's files hold instead of tensors."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiu"


def _normalised(
    path: Path, state: dict[str, torch.Tensor], beside: dict[str, Any], notes: list[str]
) -> WeightsFile:
    """Remove the parts that wrappers add to names of weights, and the tensors that are not weights."""
    left_out = [name for name in state if NO_WEIGHTS.fullmatch(name.removeprefix("module."))]
    state = {name: tensor.detach() for name, tensor in state.items() if name not in left_out}
    if not state:
        raise UserError(f"{path}: the file holds no weights of a network")
    for part in INSERTED:
        state = {name.replace(part, ""): tensor for name, tensor in state.items()}
    while prefix := _common_prefix(state):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    if left_out:
        notes = [*notes, f"left out, because they are not weights: {abbreviate(left_out, 4)}"]
    return WeightsFile(state, beside, tuple(notes))


def _common_prefix(state: Mapping[str, torch.Tensor]) -> str:
    """Return the prefix of a wrapper that all names have, else ""."""
    # mmaction2's names keep `backbone.`
    kept = {"backbone."} if any(".conv.weight" in name for name in state) else set()
    found = (p for p in PREFIXES if p not in kept and all(name.startswith(p) for name in state))
    return next(found, "")


def is_tanets(beside: Mapping[str, Any]) -> bool:
    """Return whether tanet wrote a file, given the values that the file stores beside the state dict."""
    return "tanet" in beside


def state_dict_diff(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> str:
    """Describe how names and shapes of weights differ from the expected ones, or return "" if they agree."""
    # BatchNorm's batch counters may be missing: many published files are older than these counters.
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


def check_values(path: str | Path, state: Mapping[str, torch.Tensor]) -> None:
    """Raise UserError if weights are not finite, or not floating-point numbers, except batch counters."""
    weights = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    if others := [
        f"{name} ({tensor.dtype})" for name, tensor in weights.items() if not tensor.is_floating_point()
    ]:
        raise UserError(
            f"{path}: the weights are not floating-point numbers, so they are perhaps quantised: "
            f"{abbreviate(others, 4)}; use a file that is not quantised"
        )
    if bad := [name for name, tensor in weights.items() if not tensor.isfinite().all()]:
        raise UserError(
            f"{path}: the weights are not finite (NaN or infinity): {abbreviate(bad, 4)}; "
            "use another checkpoint"
        )


def is_safetensors(path: Path) -> bool:
    """Return whether a file starts like a safetensors file: eight bytes that hold a length, then JSON."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _is_npz(path: Path) -> bool:
    """Return whether a file is an archive of numpy arrays."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        names = file.namelist()
        return bool(names) and all(name.endswith(".npy") for name in names)


def _describe_failure(path: Path, error: Exception) -> str:
    if kind := kind_of_file(path):
        return kind
    with path.open("rb") as file:
        if file.read(4) == b"PK\3\4":  # how the archives of PyTorch and numpy begin
            return "the file is damaged or cut off; download or copy it again"
    if isinstance(error, pickle.UnpicklingError):
        return "damaged, or not a PyTorch file"
    return str(error).split(". ")[0].splitlines()[0] if str(error) else type(error).__name__
