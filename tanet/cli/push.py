"""The command `tanet push CHECKPOINT USER/NAME`, which uploads a checkpoint to the Hugging Face Hub."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

from tanet.checkpoints.hub_push import push
from tanet.cli.common import CheckpointPath, parse
from tanet.cli.lines import say, warn
from tanet.runtime.events import Note

USAGE = "tanet push CHECKPOINT USER/NAME --licence LICENCE"


@dataclass(frozen=True)
class PushFlags:
    r"""Upload a checkpoint to the Hugging Face Hub, with a model card.

    Examples:

      tanet push runs/mine/best.safetensors me/my-actions --licence apache-2.0 \
          --dry-run look
      tanet push runs/mine/best.safetensors me/my-actions --licence apache-2.0

    A new repository is private. The copy that is uploaded has no paths of your files. Log in first:
    `hf auth login`, or set HF_TOKEN.
    """

    checkpoint: CheckpointPath
    """Checkpoint of tanet, or the folder of a training."""
    repo: Annotated[Positional[str], arg(metavar="USER/NAME")]
    """Repository on the hub. It is made if it does not exist."""
    licence: Annotated[
        str, arg(metavar="LICENCE", aliases=["--license"], help_behavior_hint="(required)")
    ] = ""
    """Licence of the weights: apache-2.0, mit, bsd-3-clause, cc-by-4.0, cc-by-nc-4.0, gpl-3.0 or another SPDX
    identifier."""
    public: bool = False
    """Let everyone see a new repository, and push to one that everyone sees."""
    dry_run: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")] = None
    """Write the files to this folder, and upload nothing."""
    dataset: Annotated[str, arg(metavar="NAME", help_behavior_hint="")] = ""
    """Data set that the network was trained on, for the model card: a name, or its id on the hub."""
    message: Annotated[str, arg(metavar="TEXT", help_behavior_hint="")] = ""
    """Message of the commit."""
    new_card: bool = False
    """Replace the model card (README.md) that the repository has."""


def run(args: list[str]) -> int:
    """Run `tanet push CHECKPOINT USER/NAME`."""
    flags = parse(PushFlags(tyro.MISSING, tyro.MISSING), args, prog="tanet push", usage=USAGE)
    name = push(
        flags.checkpoint,
        flags.repo,
        licence=flags.licence,
        private=not flags.public,
        dataset=flags.dataset,
        message=flags.message,
        new_card=flags.new_card,
        dry_run=flags.dry_run,
        on_event=_show,
    )
    if flags.dry_run is None:
        say(f"{name}: pushed")
    else:
        say(f"{flags.dry_run}: the files of {name}; nothing was uploaded")
    return 0


def _show(event: object) -> None:
    if isinstance(event, Note):
        warn(event.text)
