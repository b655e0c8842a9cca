"""The command `tanet`. The only code that prints; one file a command.

tanet train RECIPE --data.root videos --out runs/mine
tanet test CHECKPOINT --data.root videos
tanet predict CHECKPOINT VIDEO …
tanet show CHECKPOINT VIDEO|DATA
tanet demo
"""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

import torch

from tanet.cli.common import fail, with_new_flags
from tanet.cli.console import say
from tanet.errors import UserError
from tanet.runtime.device import tune_cpu
from tanet.runtime.distributed import RankError, exit_unless_main

HELP = """Recognise actions in video with 2D networks that were given a sense of time.

  tanet train RECIPE …            train a network on your videos
  tanet test CHECKPOINT …         test one on labelled videos
  tanet predict CHECKPOINT …      label videos
  tanet show CHECKPOINT VIDEO     draw gates and kernels beside the frames; of many videos, distributions
  tanet cost RECIPE …             parameters, operations, time of a network
  tanet convert IN OUT            checkpoints of other projects, both ways
  tanet data index DATASET ROOT   a list of a public data set's videos
  tanet data check ROOT|LIST      every video decoded, bad ones named
  tanet data pack ROOT|LIST OUT   tar shards of them, which training reads faster
  tanet synthesize OUT            made-up videos that only the order of frames tells apart
  tanet demo                      make videos, train two networks on them, compare: in some minutes

`tanet COMMAND --help` tells more."""
COMMANDS = ("train", "test", "predict", "show", "cost", "convert", "data", "synthesize", "demo")


def main(args: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0, 2 for an error that the user can mend, 130 for Ctrl-C.

    An error of the user is one line on standard error; TANET_TRACEBACK=1 adds its traceback.
    Any other exception is a fault of tanet's, and keeps its traceback.
    """
    name, *rest = list(sys.argv[1:] if args is None else args) or ["--help"]
    if name in ("-h", "--help"):
        say(HELP)
        return 0
    if name not in COMMANDS:
        return fail(f"unknown command '{name}': known are {', '.join(COMMANDS)}")
    tune_cpu()
    try:
        return importlib.import_module(f"tanet.cli.{name}").run(with_new_flags(rest))
    except KeyboardInterrupt:
        return fail("stopped", status=130)
    except torch.OutOfMemoryError:
        return fail(_memory(name))
    except (OSError, UserError) as error:
        if isinstance(error, RankError):
            exit_unless_main()
        if os.environ.get("TANET_TRACEBACK"):
            traceback.print_exc()
        if isinstance(error, OSError) and error.filename:
            return fail(f"{error.filename}: {error.strerror}")
        return fail(str(error))


def _memory(command: str) -> str:
    """What helps where a GPU's memory does not suffice."""
    if command == "train":
        way = "--optim.accumulate 2, or more, takes less for the same batch, in a new run (another --out)"
    else:
        way = "is something else running on it? --device cpu does without"
    return f"the GPU has too little memory: {way}"
