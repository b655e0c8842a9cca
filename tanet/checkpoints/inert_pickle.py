"""Reading of PyTorch files without executing anything in them.

A pickle file names classes and functions, which Python normally imports and calls while it reads the file.
Here, only the functions that rebuild tensors, and a few classes that hold plain values, are called. Each
other name is replaced by a subclass of `Inert`, whose objects accept all arguments, attributes and items in
the file, but run no code. So weights can be read even if the same file holds an optimizer, a logger or
command-line arguments, or if the file holds a whole pickled network. A file that names functions such as
os.system was made to run code, so it is refused.
"""

import pickle
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
import torch
from torch import _utils as tensor_utils
from torch import nn


def _rebuild_subclass(rebuild: Any, _kind: object, args: tuple[Any, ...], _state: object) -> Any:
    """Rebuild an object of a subclass of torch.Tensor as a plain tensor."""
    return rebuild(*args) if rebuild in REBUILT else Inert()


def _new_object(kind: Any, _base: object, _state: object) -> Any:
    """Create an object of a class. Replaces `copyreg._reconstructor` of pickle protocols 0 and 1."""
    return kind()


REBUILD = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_parameter_with_state")
REBUILT = tuple(getattr(tensor_utils, name) for name in REBUILD)
HARMLESS: dict[tuple[str, str], Any] = {
    **{("torch._utils", name): getattr(tensor_utils, name) for name in REBUILD},
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_subclass,
    ("copyreg", "_reconstructor"): _new_object,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    ("torch", "dtype"): torch.dtype,
    ("torch", "Tensor"): torch.Tensor,
    ("torch.nn.parameter", "Parameter"): nn.Parameter,
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "Counter"): Counter,
    ("collections", "defaultdict"): defaultdict,
    ("collections", "deque"): deque,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "list"): list,
    ("builtins", "dict"): dict,
    ("builtins", "int"): int,
    ("builtins", "float"): float,
    ("builtins", "complex"): complex,
    ("builtins", "bytearray"): bytearray,
    ("_codecs", "encode"): lambda text, _: text.encode("latin1"),  # how Python 2 and protocol 2 store bytes
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
}
HARMFUL_MODULES = (
    *("os", "posix", "nt", "subprocess", "sys", "importlib", "runpy", "shutil", "socket", "ctypes", "pty"),
    *("webbrowser", "code", "marshal", "types", "commands", "multiprocessing", "asyncio", "pip"),
    *("timeit", "pdb"),
)
HARMFUL_FUNCTIONS = ("eval", "exec", "execfile", "compile", "__import__", "open", "input", "breakpoint")
NUMPY = ("scalar", "_reconstruct", "_frombuffer")  # in numpy.core.multiarray and numpy._core.multiarray


class HarmfulFile(Exception):
    """The file names a function that can run commands."""


class Inert(dict[Any, Any]):
    """Object of a class that is not loaded. It keeps the attributes and items that the file stores for it."""

    origin: ClassVar[str] = ""
    """Name of the class or function in the file."""

    def __new__(cls, *_args: object, **_named: object) -> "Inert":
        """Accept any arguments."""
        return super().__new__(cls)

    def __init__(self, *_args: object, **_named: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        """Keep the attributes that the file gives to the object."""
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.__dict__.update({str(name): value for name, value in part.items()})

    def __call__(self, *_args: object, **_named: object) -> "Inert":
        """Ignore a call."""
        return self

    def append(self, _: object) -> None:
        """Ignore an element."""

    def extend(self, _: object) -> None:
        """Ignore elements."""

    add = append


def load_inert(path: Path) -> tuple[Any, tuple[str, ...]]:
    """Read a PyTorch file; also return the names of all classes and functions that were not loaded.

    Raises:
        HarmfulFile: the file names a function that can run commands.
        Exception: the file is damaged or not a PyTorch file. The exception can have almost any type.
    """
    skipped: dict[str, None] = {}

    class Unpickler(pickle.Unpickler):
        """Unpickler that loads only harmless classes and functions."""

        def find_class(self, module: str, name: str) -> Any:
            """Return the class or function of this name if it is harmless, else a subclass of `Inert`."""
            if found := _harmless(module, name):
                return found
            origin = f"{module}.{name}"
            if module.split(".")[0] in HARMFUL_MODULES or (
                module in ("builtins", "__builtin__", "io", "_io") and name in HARMFUL_FUNCTIONS
            ):
                raise HarmfulFile(origin)
            skipped[origin] = None
            return type(name.rpartition(".")[2] or "Inert", (Inert,), {"origin": origin})

    class Pickle:
        """The attributes of the module `pickle` that torch.load uses."""

        __name__ = "pickle"

        @staticmethod
        def load(file: IO[bytes], **named: Any) -> Any:
            """Read one object."""
            return Unpickler(file, **named).load()

    Pickle.Unpickler = Unpickler  # type: ignore[attr-defined]
    # Pass an open file. If given a path, torch.load would also look at the suffix.
    with path.open("rb") as file:
        try:
            content = torch.load(file, map_location="cpu", pickle_module=Pickle, weights_only=False)
        except RuntimeError as error:
            if "magic number" not in str(error):
                raise
            file.seek(0)  # a pickle that torch.save did not write, such as Caffe2's, which Python 2 wrote
            content = Unpickler(file, encoding="latin1").load()
    return content, tuple(skipped)


def _harmless(module: str, name: str) -> Any:
    """Return the class or function of this name if it is harmless, else None."""
    module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)  # the names in Python 2
    if (module, name) in HARMLESS:
        return HARMLESS[module, name]
    if module in ("torch", "torch.cuda") and name.endswith("Storage"):
        return getattr(torch, name, None)
    if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name in NUMPY:
        return getattr(np._core.multiarray, name, None)  # type: ignore[attr-defined]
    if module == "torch" and isinstance(kind := getattr(torch, name, None), torch.dtype):
        return kind
    if module == "numpy.dtypes":
        return getattr(np.dtypes, name, None)
    return None


def is_torchscript(path: Path) -> bool:
    """Return whether a file is a TorchScript archive, which holds code instead of a state dict."""
    import zipfile

    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        return any(name.endswith("/constants.pkl") for name in file.namelist())


def weights_of_module(module: Inert) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the names and values of the weights of a pickled network."""
    for kind in ("_parameters", "_buffers"):
        for name, value in (module.__dict__.get(kind) or {}).items():
            if isinstance(value, torch.Tensor):
                yield name, value
    for name, child in (module.__dict__.get("_modules") or {}).items():
        if isinstance(child, Inert):
            for below, value in weights_of_module(child):
                yield f"{name}.{below}", value


def is_module(value: object) -> bool:
    """Return whether a value is a pickled network."""
    return isinstance(value, Inert) and {"_parameters", "_modules"} <= value.__dict__.keys()
