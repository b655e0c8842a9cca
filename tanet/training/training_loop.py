"""The training loop: a plain loop over batches of clips, the same on a CPU, on one GPU and on several GPUs.

    for each epoch
        for each batch            the ranks agree on what to do next (rank_sync.py)
            train_step(batch)     forward and backward pass, optimizer (step.py)
            update the meter, check for non-finite steps
        save the state, validate, write the checkpoints (run_folder.py)

A run may be stopped at any moment. A resumed run continues as if it had never stopped (training_state.py).
events.py lists the events that a run emits.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, replace

import torch

from tanet.data.loader import BadVideo, Batch
from tanet.data.prefetch import prefetch_to_device
from tanet.data.samples import Split
from tanet.errors import UserError
from tanet.recipes.fields import section_from_dict
from tanet.recipes.input_spec import InputSpec
from tanet.recipes.recipe import Recipe
from tanet.runtime.events import Note
from tanet.runtime.interrupt import Interrupted
from tanet.training import training_state as states
from tanet.training.events import PROGRESS_INTERVAL, Progress, epoch_result
from tanet.training.meter import Meter
from tanet.training.rank_sync import RankSync, StepDecision
from tanet.training.run_folder import RunFolder
from tanet.training.schedule import lr_at, set_lr, steps_per_epoch
from tanet.training.setup import TrainingContext, prepare
from tanet.training.step import TrainStep
from tanet.training.training_state import Position, RankState, TrainingState, restore_rng, rng_state


class TrainingLoop:
    """A training run and its current position."""

    def __init__(
        self,
        recipe: Recipe,
        split: Split,
        folder: RunFolder,
        state: TrainingState | None,
        context: TrainingContext,
    ) -> None:
        self.recipe, self.split, self.folder, self.context = recipe, split, folder, context
        self.group, self.device, self.on_event = context.group, context.device, context.on_event
        self.parts = prepare(recipe, split, context, state=state)
        self.network, self.loader = self.parts.network, self.parts.loader
        self.steps = steps_per_epoch(recipe.optim, videos=len(split.train))
        self.position = Position()
        # The meter's sums over the steps of this epoch that were made before the run was stopped.
        self.sums: torch.Tensor | None = None
        self.best_top1, self.seconds = -1.0, 0.0
        if state is not None:
            self._restore(state)
        self.rank_sync = RankSync(
            group=context.group,
            stop=context.stop,
            save_after=context.save_after,
            report_after=PROGRESS_INTERVAL,
        )
        self.started = time.monotonic()

    def run(self) -> None:
        """Synchronise the networks of the ranks and train to the end. All ranks must call this together."""
        optim, bad_train, bad_val = self.recipe.optim, self.loader.bad, self.parts.validation.bad
        train_step = TrainStep(
            self.network,
            optimizer=self.parts.optimizer,
            optim=optim,
            group=self.group,
            compile=self.context.compile,
        )
        while self.position.epoch < optim.epochs:
            trained = self._train_epoch(train_step)
            self._finish_epoch(trained)
        if bad_train or bad_val:
            train, val = len(self.split.train), len(self.split.val)
            text = f"{len(bad_train)} of {train} training and {len(bad_val)} of {val} validation videos"
            self.on_event(Note(f"{text} could not be read and were left out"))
        if self.group.is_main:
            self.folder.finish()

    def _train_epoch(self, train_step: TrainStep) -> Progress:
        """Make the remaining steps of the current epoch."""
        order = self.parts.order
        order.epoch, order.start = self.position.epoch, self.position.used
        meter = Meter(
            self.position.epoch + 1,
            done=self.position.step,
            steps=self.steps,
            sums=self.sums,
            group=self.group,
            device=self.device,
        )
        self.network.train()
        batches = prefetch_to_device(meter.timed(self.loader), self.device, self.network.input_spec)
        with self.loader:
            while True:
                batch, failed = self._next(batches)
                decision = self.rank_sync(over=batch is None, failed=failed, news=meter.clips > 0)
                self._obey(decision, meter)
                if batch is None or decision.over:
                    break
                self._make_step(train_step, batch, meter)
        if not self.position.step:
            raise UserError(
                "too few readable training videos for one batch: check them with `tanet data check`"
            )
        # Set the step explicitly, because unreadable videos make the epoch shorter than `self.steps`.
        self.position = replace(self.position, step=self.steps)
        self._share_bad()
        self._save(meter)
        trained = meter.read()
        self.on_event(trained)
        return trained

    def _next(self, batches: Iterator[Batch]) -> tuple[Batch | None, UserError | None]:
        """Return (batch, None), (None, error) if reading failed, or (None, None) at the end of the epoch."""
        try:
            with self.loader:
                return next(batches, None) if self.position.step < self.steps else None, None
        except UserError as error:
            return None, error

    def _obey(self, decision: StepDecision, meter: Meter) -> None:
        """Save the state, stop training or report progress, as the ranks have decided."""
        if decision.save:
            self._save(meter)
        if decision.stop:
            raise Interrupted(
                f"stopped in epoch {self.position.epoch + 1}, after step {self.position.step} of {self.steps}"
            )
        if decision.report:
            self.parts.nonfinite.check()
            self.on_event(meter.read())

    def _make_step(self, train_step: TrainStep, batch: Batch, meter: Meter) -> None:
        """Make one step on a batch."""
        epoch, step = self.position.epoch, self.position.step
        lr = lr_at(epoch + step / self.steps, self.recipe.optim)
        set_lr(self.parts.optimizer, lr)
        assert isinstance(batch.views, torch.Tensor)
        result = train_step(batch.views, batch.labels, boxes=batch.boxes)
        self.position = Position(epoch, step + 1, batch.used)
        samples = self.split.train
        videos = tuple(samples[key % len(samples)].path for key in batch.keys)
        self.parts.nonfinite.add(epoch + 1, step + 1, videos, result)
        meter.add(result, batch.labels, lr=lr)

    def _finish_epoch(self, trained: Progress) -> None:
        """Compute BatchNorm statistics if the training is short, validate, and write the checkpoints.

        If the run is stopped during this method, the resumed run validates again.
        """
        epoch, validation = self.position.epoch, self.parts.validation
        with self.group.errors_on_all_ranks():
            self.parts.norm_statistics(self.network)
        val = validation(self.network) if validation.is_due(trained.epoch) else None
        lr = lr_at(epoch + 0.5, self.recipe.optim)
        result = epoch_result(trained, val, lr=lr, seconds=self._seconds())
        best = not self.split.val or (result.val_top1 is not None and result.val_top1 > self.best_top1)
        self.best_top1 = (result.val_top1 or 0.0) if best else self.best_top1
        with self.group.errors_on_all_ranks():
            if self.group.is_main:
                self.folder.save(self.network, result, best=best)
        self.on_event(result)
        self.position, self.sums = Position(epoch + 1), None

    def _save(self, meter: Meter) -> None:
        """Save the training state. All ranks must call this together."""
        self.parts.nonfinite.check()
        sums, position = meter.total(), self.position
        ranks = self.group.all_gather_objects(RankState(position.used, *rng_state(self.device)))
        state = TrainingState(
            identity=self.folder.identity(self.group.world_size),
            epoch=position.epoch,
            step=position.step,
            seconds=self._seconds(),
            best_top1=self.best_top1,
            network=self.network.state_dict(),
            optimizer=self.parts.optimizer.state_dict(),
            sums=sums,
            ranks=tuple(ranks),
            bad=self.loader.bad,
            bad_val=self.parts.validation.bad,
            input_spec=asdict(self.network.input_spec),
            temporal_trained=self.network.temporal_trained,
        )
        with self.group.errors_on_all_ranks():
            if self.group.is_main:
                states.save(self.folder.folder, state, total=position.epoch * self.steps + position.step)
        self.rank_sync.saved = time.monotonic()

    def _seconds(self) -> float:
        return self.seconds + time.monotonic() - self.started

    def _restore(self, state: TrainingState) -> None:
        own = state.ranks[self.group.rank]
        self.network.load_state_dict(state.network)
        if state.input_spec is not None:
            self.network.input_spec = section_from_dict(InputSpec, state.input_spec, "input")
        self.parts.optimizer.load_state_dict(state.optimizer)
        self.position = Position(state.epoch, state.step, own.used)
        self.sums, self.best_top1, self.seconds = state.sums, state.best_top1, state.seconds
        self.loader.bad.update(state.bad)
        self.parts.validation.bad.update(state.bad_val)
        restore_rng(own, self.device)

    def _share_bad(self) -> None:
        """Make all ranks leave out each video that any rank could not read."""
        found = self.group.all_gather_objects(self.loader.bad)
        with self.group.errors_on_all_ranks():
            for number, error in sorted({n: e for bad in found for n, e in bad.items()}.items()):
                self.loader.record_bad(BadVideo(number, error))
