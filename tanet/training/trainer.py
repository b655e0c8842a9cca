"""Training: a plain loop over clips, the same on a CPU, on a GPU, and on many (distributed.py).

What a run leaves in its folder stands in run.py, what it is told by in watch.py. It may be stopped at any
moment and goes on as if it had not been (state.py).
"""

import time
from collections.abc import Iterator
from pathlib import Path

import torch

from tanet.data.dataset import EpochOrder, TrainClips
from tanet.data.loader import BadVideo, Feed
from tanet.data.prefetch import Waited, on_device
from tanet.data.samples import Split
from tanet.recipes.recipe import Recipe
from tanet.runtime.distributed import Peers, is_first, joined
from tanet.runtime.interrupt import Stopped, StopRequest
from tanet.training import training_state as states
from tanet.training.events import EVERY, BadStep, EpochResult, Event, Note, Progress, Tell, epoch_result
from tanet.training.meter import Meter
from tanet.training.nonfinite import NonFinite
from tanet.training.optimizer import make_optimizer
from tanet.training.plan import plan
from tanet.training.rank_sync import Agreed, Agreement
from tanet.training.run_folder import RunFolder
from tanet.training.schedule import fit, lr_at, set_lr
from tanet.training.setup import starting_network, training_split
from tanet.training.step import Stepper
from tanet.training.training_state import RankState, TrainingState, generators, restore_generators
from tanet.training.validation import Validation

__all__ = ["BadStep", "EpochResult", "Event", "Note", "Progress", "Stopped", "train"]
Batch = tuple[torch.Tensor, torch.Tensor]  # normalised views and labels
GRACE = 300.0  # seconds for which a process waits for the others, beyond those in which data must come


def _ignore(_: Event) -> None:
    """What nobody watches."""


def train(
    recipe: Recipe,
    *,
    out: str | Path,
    device: str | torch.device | None = None,
    report: Tell = _ignore,
    resume: bool = False,
    save_minutes: float = 10.0,
    compile: bool = False,
    reference: Recipe | None = None,
) -> Path:
    """Train what the recipe describes.

    Started by torchrun, it trains with the other processes of it: each step's batch is split over them, and
    the first of them writes and reports.

    Args:
        recipe: the experiment.
        out: folder for checkpoints and metrics; it must not hold another run.
        device: None takes a GPU if there is one.
        report: is told what was found (`Split`), what will be done (`Plan`), how it goes (`Progress`), each
            epoch's end (`EpochResult`), once each video that can not be read (`BadVideo`), steps that were
            skipped (`BadStep`), and what else there is to know (`Note`).
        resume: go on with the run in `out` from its last complete state; where it has none yet, start.
        save_minutes: between two states, beside those at each epoch's end.
        compile: the network by torch.compile: faster on a GPU, after minutes of compiling.
        reference: the recipe before fields of it were changed, for the plan to compare with.

    Returns:
        The path of the best checkpoint.

    Raises:
        ValueError: the recipe can not be carried out, or is not that of the run to resume; more videos than
            data.max_bad can not be read, or any where data.bad_files is "strict"; a worker hangs or died; a
            step was not finite, and optim.nonfinite is "stop"; another process failed.
        OSError: the folder can not be written.
        Stopped: SIGINT or SIGTERM came; the step was finished and the state saved.
    """
    tell = report if is_first() else _ignore
    with joined(device, timeout=recipe.data.timeout + GRACE) as (peers, target), StopRequest() as stop:
        with peers.together():
            split = training_split(recipe, world=peers.world)
            recipe = fit(recipe, videos=len(split.train))
            planned = plan(recipe, split, reference=reference, world=peers.world, device=target)
        tell(split)
        tell(planned)
        folder, finished, state = RunFolder(Path(out), recipe, split), False, None
        with peers.together():
            if peers.first:
                finished = resume and folder.finished()
            if peers.first and not finished:
                state = folder.open(resume=resume, world=peers.world, note=lambda line: tell(Note(line)))
        finished, state = peers.from_first((finished, state))
        if finished:
            tell(Note(f"{out}: this training is finished"))
            return folder.best
        with peers.together():
            training = _Training(
                recipe,
                split,
                folder,
                state,
                peers=peers,
                device=target,
                compile=compile,
                save_after=60 * save_minutes,
                tell=tell,
                stop=stop,
            )
        training.run()
        return folder.best


class _Training:
    """A training and where it stands."""

    def __init__(
        self,
        recipe: Recipe,
        split: Split,
        folder: RunFolder,
        state: TrainingState | None,
        *,
        peers: Peers,
        device: torch.device,
        compile: bool,
        save_after: float,
        tell: Tell,
        stop: StopRequest,
    ) -> None:
        self.recipe, self.split, self.folder, self.tell = recipe, split, folder, tell
        self.peers, self.device, self.compile = peers, device, compile
        optim = recipe.optim
        self.network = starting_network(
            recipe,
            split.classes,
            device=device,
            peers=peers,
            resumed=state is not None,
            fused=compile and device.type == "cuda",
            note=lambda line: tell(Note(line)),
        )
        self.optimizer = make_optimizer(self.network, optim, trained=bool(recipe.model.init))
        clips = TrainClips(
            split.train, recipe.data, frames=recipe.model.frames, classes=split.classes, seed=recipe.seed
        )
        self.order = EpochOrder(len(clips), seed=recipe.seed, rank=peers.rank, world=peers.world)
        batch = optim.batch // peers.world
        self.feed = Feed(clips, batch=batch, data=recipe.data, order=self.order, device=device, report=tell)
        self.steps = max(1, len(clips) // optim.batch)
        self.nonfinite = NonFinite(optim.nonfinite, peers=peers, report=tell)
        self.validation = Validation(recipe, split, peers=peers, tell=tell, stop=stop)
        self.epoch, self.step, self.used = 0, 0, 0  # complete epochs; of the next one steps, and keys used up
        self.sums: torch.Tensor | None = None
        self.best_top1, self.seconds = -1.0, 0.0
        if state is not None:
            self._restore(state)
        self.agree = Agreement(peers=peers, stop=stop, save_after=save_after, tell_after=EVERY)
        self.started = time.monotonic()

    def run(self) -> None:
        """Train to the end; all processes come here with their networks built, which the stepper joins."""
        optim, peers, compile = self.recipe.optim, self.peers, self.compile
        self.stepper = Stepper(
            self.network, optimizer=self.optimizer, optim=optim, peers=peers, compile=compile
        )
        while self.epoch < optim.epochs:
            trained = self._train_epoch()
            self._finish_epoch(trained)
        if self.feed.bad or self.validation.bad:
            train, val = len(self.split.train), len(self.split.val)
            text = f"{len(self.feed.bad)} of {train} training and {len(self.validation.bad)} of {val}"
            self.tell(Note(f"{text} validation videos could not be read, and were left out"))
        if self.peers.first:
            self.folder.finish()

    def _train_epoch(self) -> Progress:
        """All steps of an epoch that are not made yet."""
        self.order.epoch, self.order.start = self.epoch, self.used
        keys = self.order.keys()
        self.meter = Meter(
            self.epoch + 1,
            done=self.step,
            steps=self.steps,
            sums=self.sums,
            peers=self.peers,
            device=self.device,
        )
        self.network.train()
        waited = Waited(self.feed)
        batches = iter(on_device(waited, self.device))
        with self.feed:
            while True:
                batch, failed = self._next(batches)
                self.meter.waited = waited.seconds
                agreed = self.agree(over=batch is None, failed=failed, news=self.meter.clips > 0)
                self._obey(agreed)
                if batch is None or agreed.over:
                    break
                self._make_step(*batch, keys)
        if not self.step:
            raise ValueError("not one batch of training videos could be filled: are too many bad?")
        self.step = self.steps  # fewer were made if videos are bad
        self._share_bad()
        self._save()
        trained = self.meter.read()
        self.tell(trained)
        return trained

    def _next(self, batches: Iterator[Batch]) -> tuple[Batch | None, ValueError | None]:
        """The batch of the next step, if the epoch has one; and what went wrong."""
        try:
            with self.feed:
                return next(batches, None) if self.step < self.steps else None, None
        except ValueError as error:
            return None, error

    def _obey(self, agreed: Agreed) -> None:
        """What is done between two steps."""
        if agreed.save:
            self._save()
        if agreed.stop:
            raise Stopped(f"stopped in epoch {self.epoch + 1}, after step {self.step} of {self.steps}")
        if agreed.tell:
            self.nonfinite.check()
            self.tell(self.meter.read())

    def _make_step(self, views: torch.Tensor, labels: torch.Tensor, keys: list[int]) -> None:
        """One step on a batch; `keys` are the epoch's."""
        lr = lr_at(self.epoch + self.step / self.steps, self.recipe.optim)
        set_lr(self.optimizer, lr)
        made = self.stepper(views, labels)
        self.step += 1
        used = self.feed.used.popleft()
        self.nonfinite.add(self.epoch + 1, self.step, self._paths(keys[self.used : used]), made)
        self.meter.add(made, labels, lr=lr)
        self.used = used

    def _finish_epoch(self, trained: Progress) -> None:
        """Validate, and write what came of it; after a stop in here it is done again."""
        val = self.validation(self.network) if self.validation.due(trained.epoch) else None
        lr = lr_at(self.epoch + 0.5, self.recipe.optim)
        result = epoch_result(trained, val, lr=lr, seconds=self._seconds())
        best = not self.split.val or (result.val_top1 is not None and result.val_top1 > self.best_top1)
        self.best_top1 = (result.val_top1 or 0.0) if best else self.best_top1
        with self.peers.together():
            if self.peers.first:
                self.folder.save(self.network, result, best=best)
        self.tell(result)
        self.epoch, self.step, self.used, self.sums = self.epoch + 1, 0, 0, None

    def _save(self) -> None:
        """Write the state; all processes come here."""
        self.nonfinite.check()
        sums = self.meter.total()
        ranks = self.peers.gather(RankState(self.used, *generators(self.device)))
        state = TrainingState(
            identity=self.folder.identity(self.peers.world),
            epoch=self.epoch,
            step=self.step,
            seconds=self._seconds(),
            best_top1=self.best_top1,
            network=self.network.state_dict(),
            optimizer=self.optimizer.state_dict(),
            sums=sums,
            ranks=tuple(ranks),
            bad=self.feed.bad,
            bad_val=self.validation.bad,
        )
        with self.peers.together():
            if self.peers.first:
                states.save(self.folder.folder, state, total=self.epoch * self.steps + self.step)
        self.agree.saved = time.monotonic()

    def _seconds(self) -> float:
        return self.seconds + time.monotonic() - self.started

    def _restore(self, state: TrainingState) -> None:
        self.network.load_state_dict(state.network)
        self.optimizer.load_state_dict(state.optimizer)
        self.epoch, self.step, self.used = state.epoch, state.step, state.ranks[self.peers.rank].used
        self.sums, self.best_top1, self.seconds = state.sums, state.best_top1, state.seconds
        self.feed.bad, self.validation.bad = dict(state.bad), dict(state.bad_val)
        restore_generators(state.ranks[self.peers.rank], self.device)

    def _share_bad(self) -> None:
        """What one process could not read, all leave out."""
        told = self.peers.gather(self.feed.bad)
        with self.peers.together():
            for number, error in sorted({n: e for bad in told for n, e in bad.items()}.items()):
                self.feed.note(BadVideo(number, error))

    def _paths(self, keys: list[int]) -> tuple[str, ...]:
        """The good videos of these keys."""
        samples = self.split.train
        numbers = (key % len(samples) for key in keys)
        return tuple(samples[number].path for number in numbers if number not in self.feed.bad)
