"""Validation during training. It uses one view of each video, and each rank tests a share of the videos."""

import dataclasses

from tanet.data.loader import BadVideo
from tanet.data.samples import Split
from tanet.evaluation import evaluate
from tanet.evaluation.report import Report
from tanet.models.network import Network
from tanet.recipes.recipe import Recipe
from tanet.runtime.distributed import ProcessGroup
from tanet.runtime.events import Note, OnEvent
from tanet.runtime.interrupt import Interrupted, StopRequest
from tanet.video import VideoError


class Validation:
    """Function that tests a network on the validation videos of a split.

    Args:
        recipe: the experiment. Validation uses one central view of each video. The numbers of views,
            `eval.clips` and `eval.crops`, are only for `tanet test`.
        split: the labelled videos.
        group: the ranks. Each rank tests a share of the videos.
        on_event: receives each `BadVideo` once, a `VideosDone` after each batch, and a `Note` when memory
            runs short.
        stop: the request to stop. A single process stops between two batches. Several ranks stop only after
            the validation.
    """

    def __init__(
        self, recipe: Recipe, split: Split, *, group: ProcessGroup, on_event: OnEvent, stop: StopRequest
    ) -> None:
        one_view = dataclasses.replace(recipe.eval, clips=1, crops=1, clip_frames=0)
        self.recipe = dataclasses.replace(recipe, eval=one_view)
        self.split, self.group, self.on_event, self.stop = split, group, on_event, stop
        self.bad: dict[int, VideoError] = {}

    def is_due(self, epoch: int) -> bool:
        """Tell whether to validate after this epoch, counted from 1. The last epoch is always validated."""
        last = epoch == self.recipe.optim.epochs
        return bool(self.split.val) and (last or epoch % self.recipe.eval.every == 0)

    def __call__(self, network: Network) -> Report:
        """Validate the network on all ranks, with the BatchNorm statistics of rank 0.

        Raises:
            UserError: too many videos cannot be read, a worker hangs or died, or another rank failed.
            Interrupted: a stop was requested, and there is only one process.
        """
        group, val = self.group, self.split.val
        group.broadcast_tensors_([buffer for buffer in network.buffers() if buffer.is_floating_point()])
        with group.errors_on_all_ranks():
            share = evaluate.score_samples(
                network,
                val,
                recipe=self.recipe,
                numbers=range(group.rank, len(val), group.world_size),
                on_event=self._pass_on,
            )
        shares = group.all_gather_objects(share)
        bad = {number: error for share in shares for number, error in share.bad.items()}
        # Report only new unreadable videos, because every validation finds the earlier ones again.
        for number in sorted(bad.keys() - self.bad.keys()):
            self.on_event(BadVideo(number, bad[number]))
        self.bad.update(bad)
        max_bad = self.recipe.data.max_bad
        return evaluate.merge_scores(shares, val, classes=self.split.classes, max_bad=max_bad)

    def _pass_on(self, event: object) -> None:
        if isinstance(event, Note | evaluate.VideosDone):
            self.on_event(event)
        # Stop here only in a single process. With several ranks, other ranks may already wait for this rank.
        if isinstance(event, evaluate.VideosDone) and self.stop.asked and self.group.world_size == 1:
            raise Interrupted("stopped during validation")
