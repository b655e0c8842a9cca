"""Validation while a network trains: one view of each video, the videos split over the processes."""

import dataclasses

from tanet.data.loader import BadVideo
from tanet.data.samples import Split
from tanet.evaluation import evaluate
from tanet.evaluation.report import Report
from tanet.models.video_net import VideoNet
from tanet.recipes.recipe import Recipe
from tanet.runtime.distributed import Peers
from tanet.runtime.interrupt import Stopped, StopRequest
from tanet.training.events import Note, Tell
from tanet.video import VideoError


class Validation:
    """Tests a network on the validation videos of a split.

    Args:
        recipe: its views are for `tanet test`; here the middle of each video is enough.
        split: what there is.
        peers: each takes a share of the videos, none twice.
        tell: is told, once, of each video that can not be read, and where memory is too little.
        stop: is obeyed between two batches, by a process that is alone.
    """

    def __init__(self, recipe: Recipe, split: Split, *, peers: Peers, tell: Tell, stop: StopRequest) -> None:
        one_view = dataclasses.replace(recipe.eval, clips=1, crops=1)
        self.recipe = dataclasses.replace(recipe, eval=one_view)
        self.split, self.peers, self.tell, self.stop = split, peers, tell, stop
        self.bad: dict[int, VideoError] = {}

    def due(self, epoch: int) -> bool:
        """Whether an epoch, from 1, ends with it: the last always, if there are videos."""
        last = epoch == self.recipe.optim.epochs
        return bool(self.split.val) and (last or epoch % self.recipe.eval.every == 0)

    def __call__(self, network: VideoNet) -> Report:
        """Test the network of the first process in all.

        Raises:
            ValueError: too few videos can be read, a worker hangs or died; or it failed in another process.
            Stopped: that was asked for.
        """
        peers, val = self.peers, self.split.val
        peers.spread([buffer for buffer in network.buffers() if buffer.is_floating_point()])
        with peers.together():
            share = evaluate.score(
                network,
                val,
                recipe=self.recipe,
                numbers=range(peers.rank, len(val), peers.world),
                report=self._obey,
                note=lambda line: self.tell(Note(line)),
            )
        shares = peers.gather(share)
        bad = {number: error for share in shares for number, error in share.bad.items()}
        for number in sorted(bad.keys() - self.bad.keys()):  # every validation meets them anew
            self.tell(BadVideo(number, bad[number]))
        self.bad |= bad
        max_bad = self.recipe.data.max_bad
        return evaluate.merge(shares, val, classes=self.split.classes, max_bad=max_bad)

    def _obey(self, *_: int) -> None:
        # Of several processes one may have ended its share and wait for the rest: they stop later, together.
        if self.stop.asked and self.peers.world == 1:
            raise Stopped("stopped while it was validating")
