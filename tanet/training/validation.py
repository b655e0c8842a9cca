"""Validation during training: one view of each video, with the videos split over the ranks."""

import dataclasses

from tanet.data.loader import BadVideo
from tanet.data.samples import Split
from tanet.evaluation import evaluate
from tanet.evaluation.report import Report
from tanet.models.video_net import VideoNet
from tanet.recipes.recipe import Recipe
from tanet.runtime.distributed import ProcessGroup
from tanet.runtime.events import Note, OnEvent
from tanet.runtime.interrupt import Interrupted, StopRequest
from tanet.video import VideoError


class Validation:
    """Test of a network on the validation videos of a split.

    Args:
        recipe: the experiment. Its number of views is meant for `tanet test` and ignored here: one central
            view of each video is enough.
        split: the labelled videos.
        group: the ranks; each tests its share of the videos.
        on_event: receives each `BadVideo` once, and a `Note` when memory runs short.
        stop: a request to stop; a single process obeys it between two batches.
    """

    def __init__(
        self, recipe: Recipe, split: Split, *, group: ProcessGroup, on_event: OnEvent, stop: StopRequest
    ) -> None:
        one_view = dataclasses.replace(recipe.eval, clips=1, crops=1)
        self.recipe = dataclasses.replace(recipe, eval=one_view)
        self.split, self.group, self.on_event, self.stop = split, group, on_event, stop
        self.bad: dict[int, VideoError] = {}

    def is_due(self, epoch: int) -> bool:
        """Tell whether an epoch (counted from 1) ends with a validation. The last epoch always does."""
        last = epoch == self.recipe.optim.epochs
        return bool(self.split.val) and (last or epoch % self.recipe.eval.every == 0)

    def __call__(self, network: VideoNet) -> Report:
        """Validate the network on all ranks, with the running statistics of rank 0.

        Raises:
            UserError: too few videos can be read, a worker hangs or died, or another rank failed.
            Interrupted: a stop was requested.
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
        for number in sorted(bad.keys() - self.bad.keys()):  # every validation finds the same ones
            self.on_event(BadVideo(number, bad[number]))
        self.bad.update(bad)
        max_bad = self.recipe.data.max_bad
        return evaluate.merge_scores(shares, val, classes=self.split.classes, max_bad=max_bad)

    def _pass_on(self, event: object) -> None:
        if isinstance(event, Note):
            self.on_event(event)
        # With several ranks, some may already wait for the others, so all of them stop together later.
        if isinstance(event, evaluate.VideosDone) and self.stop.asked and self.group.world_size == 1:
            raise Interrupted("stopped during validation")
