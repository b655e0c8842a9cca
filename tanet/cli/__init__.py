"""The command line of tanet. Each subcommand, for example `tanet train`, has its own file in this package.

Only this package prints to the terminal. The most important subcommands are:

tanet train RECIPE --data.root videos --out runs/mine
tanet test CHECKPOINT --data.root videos
tanet predict VIDEO …
tanet show CHECKPOINT VIDEO|DATA
tanet demo
"""

import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from itertools import pairwise

from tanet.cli.lines import fail, say
from tanet.errors import UserError, one_line
from tanet.runtime.files import versions
from tanet.runtime.interrupt import reader_left

HELP = """Recognise actions in video with 2D networks and temporal modules.

  tanet train RECIPE …            train a network on your videos
  tanet test CHECKPOINT …         measure accuracy on labelled videos
  tanet predict VIDEO …           label videos
  tanet timeline CHECKPOINT VIDEO …   find what happens when in long videos
  tanet features CHECKPOINT VIDEO …   write features for detectors of actions
  tanet watch CHECKPOINT SOURCE   label a camera or a network stream
  tanet serve CHECKPOINT …        a page to drop videos on, and an API
  tanet show CHECKPOINT VIDEO     draw TAM's gates and kernels
  tanet cost RECIPE …             count and time a network
  tanet models [WORD …]           list published weights and architectures
  tanet convert IN OUT            convert checkpoints of other projects
  tanet export CHECKPOINT         export to ONNX and other formats
  tanet push CHECKPOINT NAME      upload a checkpoint to the hub
  tanet data index DATASET ROOT   list the videos of a public data set
  tanet data check ROOT|LIST      decode every video and name the bad ones
  tanet data pack ROOT|LIST OUT   pack videos into shards, read faster
  tanet synthesize OUT            make videos that only frame order tells apart
  tanet demo                      try it all on synthetic videos, in minutes

Run `tanet COMMAND --help` for the flags of a command."""
COMMANDS = (
    "train",
    "test",
    "predict",
    "timeline",
    "features",
    "watch",
    "serve",
    "show",
    "cost",
    "models",
    "convert",
    "export",
    "push",
    "data",
    "synthesize",
    "demo",
)


def main(args: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    The status is 0 after success, 2 after an error that the user can fix, 130 after Ctrl-C, and 141 if the
    program that reads the output has left. `tanet data check` returns 1 if it finds bad videos.

    An error that the user can fix is printed as one line on standard error. The environment variable
    TANET_TRACEBACK=1 adds the traceback. Any other exception is a bug in tanet and is not caught.
    """
    _escape_unprintable()
    try:
        return _main(list(sys.argv[1:] if args is None else args) or ["--help"])
    except BrokenPipeError as error:
        if reader_left():
            return 141  # the status that a shell reports for a process killed by SIGPIPE
        return fail(one_line(error))


def _main(args: Sequence[str]) -> int:
    try:
        return _run(*args)
    except KeyboardInterrupt:
        return fail("stopped", status=130)
    except BrokenPipeError:
        raise
    except (OSError, UserError) as error:
        distributed = sys.modules.get("tanet.runtime.distributed")  # absent if PyTorch could not be imported
        if distributed and isinstance(error, distributed.RankError):
            distributed.exit_unless_main()
        if os.environ.get("TANET_TRACEBACK"):
            traceback.print_exc()
        return fail(one_line(error))


def _run(name: str, *args: str) -> int:
    """Run a command, or print the help or version without importing PyTorch, which takes seconds."""
    if name in ("-h", "--help"):
        say(HELP)
        return 0
    if name == "--version":
        say(f"tanet {versions()['tanet']}")
        return 0
    if name not in COMMANDS:
        return fail(f"unknown command '{name}': choose from {', '.join(COMMANDS)}")
    for before, word in pairwise((name, *args)):
        # As a path, "" would be the current folder. A field of a recipe can be empty.
        if not word and not (before.startswith("--") and ("." in before or before == "--init")):
            return fail(f"the word after '{before}' is empty; perhaps a shell variable is not set")
    import torch

    from tanet.cli.common import with_new_flags
    from tanet.runtime.device import tune_cpu

    tune_cpu()
    try:
        return importlib.import_module(f"tanet.cli.{name}").run(with_new_flags(args))
    except torch.OutOfMemoryError:
        return fail(_memory(name))


def _escape_unprintable() -> None:
    """Make standard output and error show characters that the terminal lacks as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _memory(command: str) -> str:
    """Return the error message for a GPU without enough memory. The message says what to do."""
    if command == "train":
        way = "start a new run (another --out) with --optim.accumulate 2 or more: same batch, less memory"
    else:
        way = "stop other programs that use it, or add --device cpu"
    return f"the GPU has too little memory: {way}"
