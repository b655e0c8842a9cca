"""The command `tanet data`, with the subcommands `index`, `check`, `pack` and `flow`."""

from tanet.cli import data_check, data_flow, data_index, data_pack
from tanet.cli.lines import say
from tanet.errors import UserError

USAGE = """usage: tanet data index DATASET ROOT   list the videos of a public data set
       tanet data check ROOT|LIST      decode every video and name the bad ones
       tanet data pack ROOT|LIST OUT   pack videos into shards, read faster
       tanet data flow ROOT|LIST OUT   compute optical flow

Run `tanet data COMMAND --help` for the flags of a command."""


def run(args: list[str]) -> int:
    """Run `tanet data …` and return its exit status, which is 1 if `check` has found bad videos."""
    commands = {
        "index": data_index.run,
        "check": data_check.run,
        "pack": data_pack.run,
        "flow": data_flow.run,
    }
    name, *rest = args or ["--help"]
    if name in ("-h", "--help"):
        say(USAGE)
        return 0
    if name not in commands:
        raise UserError(f"unknown command 'data {name}': choose from {', '.join(commands)}")
    return commands[name](rest)
