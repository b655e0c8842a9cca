"""Functions that all commands share.

They parse flags into dataclasses, replace old flag names, print errors on one line and write output files.
"""

import inspect
import io
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from textwrap import fill
from typing import Annotated, TypeVar, get_args

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    UnsupportedTypeAnnotationError,
)

from tanet.checkpoints import checkpoint as checkpoints
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.checkpoints.sources import file_of
from tanet.cli.console import DownloadScreen
from tanet.cli.lines import say, warn
from tanet.data.annotations import listed_videos
from tanet.data.find_videos import VIDEO_SUFFIXES, find_videos
from tanet.errors import UserError
from tanet.recipes.renamed import RENAMED, new_field_name
from tanet.runtime.device import pick_device
from tanet.runtime.distributed import is_main_process
from tanet.runtime.files import text_bytes, write_atomically
from tanet.video.excerpt import split_part

F = TypeVar("F")
Device = Annotated[str, tyro.conf.arg(metavar="{auto,cpu,cuda,cuda:1,…}")]
ListRoot = Annotated[
    Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="(default: the list's folder)")
]
"""Flag --root of commands that take a list of videos."""
OptionalFile = Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")]
Videos = Annotated[
    tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="VIDEO …", help_behavior_hint="")
]
# A checkpoint is a path, a name of published weights, or hf://user/name, which `Path` would change.
CheckpointPath = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHECKPOINT")]
OptionalCheckpoint = Annotated[str | None, tyro.conf.arg(metavar="FILE|NAME", help_behavior_hint="")]
WIDTH = 80  # columns of the help
FLAG_TYPES = ConstructorRegistry()


@FLAG_TYPES.primitive_rule
def _tuple_flag(
    info: PrimitiveTypeInfo,
) -> PrimitiveConstructorSpec | UnsupportedTypeAnnotationError | None:
    """Parse a flag with several values like tyro does, but show an empty default as "none"."""
    kinds = get_args(info.type)
    if info.type_origin is not tuple or kinds[1:] != (...,):
        return None
    spec = ConstructorRegistry.get_primitive_spec(replace(info, type=list[kinds[0]], type_origin=list))
    if not isinstance(spec, PrimitiveConstructorSpec):
        return spec
    return replace(
        spec,
        instance_from_str=lambda words: tuple(spec.instance_from_str(words)),
        is_instance=lambda value: isinstance(value, tuple) and spec.is_instance(list(value)),
        str_from_instance=lambda value: spec.str_from_instance(list(value)) or ["none"],
    )


@FLAG_TYPES.primitive_rule
def _text_flag(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Parse a flag with text like tyro does, but show an empty default as "none"."""
    if info.type is not str:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="STR",
        instance_from_str=lambda words: words[0],
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda value: [value or "none"],
    )


def parse(default: F, args: list[str], *, prog: str, usage: str = "") -> F:
    """Parse command-line flags into a dataclass. The docstring of the dataclass is shown in the help.

    Args:
        default: instance of the dataclass with the default values. A field that is itself a dataclass is a
            section, and the flags of a section start with its name, for example --optim.lr.
        args: command-line arguments.
        prog: name of the command in the help text.
        usage: command with its positional arguments, shown to the user if a positional argument is missing.

    Raises:
        UserError: a positional argument is missing, or a section rejects a value.
        SystemExit: tyro has printed the help (--help), or an error message about a wrong flag.
    """
    try:
        return _silent_cli(default, args)
    except SystemExit as stop:
        if error := _user_error(stop):
            raise error from None
        if usage and stop.code and _lacks_positionals(default, args):
            raise UserError(f"usage: {usage} (see `{prog} --help`)") from None
    # The silent parse has failed. Parse once more, and let tyro print the help or the error message.
    kind = type(default)
    if {"-h", "--help"} & set(args):
        # Print the docstring here, because tyro would not wrap its lines.
        say(_wrapped(inspect.getdoc(kind) or "") + "\n")
    return tyro.cli(kind, default=default, args=args, prog=prog, description="", registry=FLAG_TYPES)


def _wrapped(text: str) -> str:
    """Wrap the paragraphs of a docstring to WIDTH columns. Keep indented paragraphs unchanged."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(part if part.startswith(" ") else fill(part, WIDTH) for part in paragraphs)


def _silent_cli(default: F, args: list[str]) -> F:
    """Parse flags, and discard everything that tyro prints."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return tyro.cli(type(default), default=default, args=args, registry=FLAG_TYPES)


def parse_known(default: F, args: list[str]) -> F | None:
    """Parse the flags of a dataclass among other flags. Return None if one of its flags is wrong."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        try:
            return tyro.cli(type(default), default=default, args=args, return_unknown_args=True)[0]
        except SystemExit:
            return None


def unknown_words(default: object, args: list[str]) -> list[str]:
    """Return the arguments that no flag accepts. Return none if the flags cannot be parsed."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        try:
            return tyro.cli(
                type(default), default=default, args=args, return_unknown_args=True, registry=FLAG_TYPES
            )[1]
        except SystemExit:
            return []


def _user_error(stop: BaseException) -> UserError | None:
    """Return the UserError that made tyro stop, or None if there was another cause.

    The caller prints this error on one line. tyro would print the error in a box of several lines.
    """
    error = stop.__context__
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__ or error.__context__
    return error


def _lacks_positionals(default: object, args: list[str], most: int = 2) -> bool:
    """Return whether the flags can be parsed after 1 to `most` positional arguments have been added."""
    for missing in range(1, most + 1):
        try:
            _silent_cli(default, [*args, *["x"] * missing])
        except SystemExit:
            continue
        return True
    return False


def with_new_flags(args: Sequence[str]) -> list[str]:
    """Replace old flag names by new ones, and print a note for each replaced name."""
    new = []
    for arg in args:
        flag, equals, value = arg.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        if flag.startswith("--") and name in RENAMED:
            flag = f"--{new_field_name(name)}".replace("_", "-")
            warn(f"{arg.partition('=')[0]} is now called {flag}")
        new.append(f"{flag}{equals}{value}")
    return new


def load_checkpoint(source: str | Path, device: str) -> Checkpoint:
    """Load a checkpoint onto the device that the flag --device selects. A download shows its progress."""
    return checkpoints.load(find_checkpoint(source), device=pick_device(device))


def find_checkpoint(source: str | Path) -> Path:
    """Return the path of the checkpoint that a user names. A download shows its progress on rank 0.

    Args:
        source: a path, a name of published weights, or an address of the hub (checkpoints/sources.py).

    Raises:
        UserError: there is no such checkpoint, or it cannot be downloaded.
    """
    if not is_main_process():
        return file_of(source)
    with DownloadScreen() as screen:
        return file_of(source, on_event=screen.show_event)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, so that an interruption leaves no partial file."""
    write_atomically(path, text_bytes(text))


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write a text file atomically, one item per line."""
    write_text(path, "".join(f"{line}\n" for line in lines))


def videos_at(path: Path, root: Path | None) -> list[Path]:
    """Return the videos of a folder or of a list, or the one video that the path is.

    Args:
        path: what the user named.
        root: with a list, the folder that its paths are relative to; None for the list's folder.

    Raises:
        UserError: there are no videos, or `root` is given without a list.
    """
    if not split_part(path)[0].exists():
        raise UserError(f"{path}: no such file or folder")
    if split_part(path)[1]:
        return [path]
    if path.is_file() and path.suffix.lower() not in VIDEO_SUFFIXES:
        return list(dict.fromkeys(listed_videos(path, root=str(root or ""))))
    if root:
        raise UserError(
            "--root applies to a list of videos, but no list is given: remove --root, or name a list"
        )
    videos = [path] if path.is_file() else find_videos(path)
    if not videos:
        raise UserError(f"{path}: no videos in this folder")
    return videos
