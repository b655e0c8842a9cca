"""`tanet data index DATASET ROOT`, `tanet data check ROOT|LIST`, `tanet data pack ROOT|LIST OUT`."""

from tanet.cli import data_check, data_index, data_pack
from tanet.cli.console import say
from tanet.errors import UserError

USAGE = """usage: tanet data index DATASET ROOT   a list of a public data set's videos, for training to read
       tanet data check ROOT|LIST      every video decoded, bad ones named
       tanet data pack ROOT|LIST OUT   tar shards, which training reads faster

`tanet data COMMAND --help` tells more."""


def run(args: list[str]) -> int:
    """`tanet data …`: exit status 1 if the check found bad videos."""
    commands = {"index": data_index.run, "check": data_check.run, "pack": data_pack.run}
    name, *rest = args or ["--help"]
    if name in ("-h", "--help"):
        say(USAGE)
        return 0
    if name not in commands:
        raise UserError(f"unknown command 'data {name}': known are {', '.join(commands)}")
    return commands[name](rest)
