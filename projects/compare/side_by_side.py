"""Train several networks at once on the same batches, such as all cases of a comparison with one seed.

The training of one small network leaves a GPU almost idle: it waits for clips and for kernel launches. But
cases with the same seed see the same clips. So each batch is read once, and every network makes its step on
it. On a GPU, the whole step of each network is a CUDA graph on a stream of its own, and the kernels of
different networks run at the same time. The results are those of separate trainings: on a CPU to the last
digit, on a GPU up to rounding. If networks have dropout, their random numbers differ, and depend on timing.
"""

import copy
import gc
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional as F

from bench.common import capture
from tanet.data.loader import Batch
from tanet.data.normalisation import normalise
from tanet.data.prefetch import prefetch_to_device
from tanet.data.samples import Split
from tanet.errors import UserError
from tanet.evaluation.evaluate import merge_scores, score_networks
from tanet.evaluation.report import Report
from tanet.models.network import Network
from tanet.recipes.recipe import Optim, Recipe
from tanet.runtime.device import autocast
from tanet.runtime.distributed import join_process_group
from tanet.runtime.events import ignore
from tanet.runtime.interrupt import Interrupted, StopRequest
from tanet.training.schedule import lr_at, set_lr, shorten_schedule, steps_per_epoch
from tanet.training.setup import TrainingContext, TrainingParts, prepare

T = TypeVar("T")
MOST = 8
"""Networks that train at once: CUDA has eight queues, and graphs in the same queue take turns."""


@dataclass(frozen=True)
class Trained:
    """A trained network."""

    network: Network
    epochs: int
    top1: float
    """Share of right answers in the steps of the last epoch. With targets, the class with the highest target
    is the right one."""
    loss: float
    """Mean loss of the steps of the last epoch."""


def batches_of(recipe: Recipe) -> tuple[object, ...]:
    """Return what determines the batches of a training. Recipes with equal values can train side by side."""
    model = recipe.model
    sections = recipe.data, recipe.optim, recipe.eval, recipe.seed
    return (*sections, model.frames, model.flows_per_frame)


def in_teams(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Split items into teams of at most `MOST`."""
    return (items[start : start + MOST] for start in range(0, len(items), MOST))


def can_capture(recipe: Recipe) -> bool:
    """Return whether the steps of a network can be CUDA graphs: TRN draws random relations in each step."""
    return not getattr(recipe.model, "consensus", "").startswith("trn")


def train_side_by_side(
    recipes: Sequence[Recipe], split: Split, *, targets: torch.Tensor | None = None, graph: bool = True
) -> list[Trained]:
    """Train the networks of recipes that differ only in the network.

    Args:
        recipes: the recipes; see `batches_of`.
        split: the training videos.
        targets: target probabilities, [videos, classes]; row i belongs to `split.train[i]`. None: train on
            the labels.
        graph: whether to use CUDA graphs, if there is a GPU.

    Raises:
        UserError: the recipes need different batches or accumulate gradients, there are more than `MOST`, or
            a loss became infinite or NaN.
        SystemExit: a step cannot be captured as a CUDA graph. After that, CUDA cannot be used reliably.
        Interrupted: SIGINT or SIGTERM was received.
    """
    recipes = [shorten_schedule(recipe, videos=len(split.train)) for recipe in recipes]
    first = recipes[0]
    if any(batches_of(recipe) != batches_of(first) for recipe in recipes):
        raise UserError("only recipes that differ in the network alone can train side by side")
    if first.optim.accumulate != 1 or len(recipes) > MOST:
        raise UserError(f"trainings side by side: at most {MOST}, and optim.accumulate must be 1")
    assert targets is None or len(targets) == len(split.train)
    steps = steps_per_epoch(first.optim, videos=len(split.train))
    with join_process_group(None, timeout=first.data.timeout) as (group, device), StopRequest() as stop:
        context = TrainingContext(group, device, ignore, stop, compile=False, save_after=math.inf)
        parts = [prepare(recipe, split, context, state=None) for recipe in recipes]
        loader, order, model = parts[0].loader, parts[0].order, first.model
        shape = (loader.batch, model.frames, model.channels, first.data.size, first.data.size)
        targets = None if targets is None else targets.to(device)
        # Before the loader starts: its thread for page-locked memory would disturb the capture of a graph.
        students = [
            _Student(own, first.optim, shape, targets, stream, graph=graph and can_capture(recipe))
            for own, recipe, stream in zip(parts, recipes, _streams(device), strict=False)
        ]
        results: list[tuple[float, float]] = []
        for epoch in range(first.optim.epochs):
            order.epoch = epoch
            with loader:
                read: Iterable[Batch] = loader
                if targets is not None:
                    read = (_with_indices(batch, videos=len(split.train)) for batch in loader)
                batches = prefetch_to_device(read, device, spec=None)  # each student normalises
                _make_steps(students, batches, first.optim, epoch=epoch, steps=steps, stop=stop)
            results = [student.end_epoch(steps=steps) for student in students]
        for own in parts:
            own.norm_statistics(own.network)
            own.optimizer.zero_grad()  # gradients are in the graphs' memory
        if stop.asked:
            raise Interrupted("stopped after the last step")
        del students
        gc.collect()  # graphs and their networks refer to each other
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return [
        Trained(own.network, first.optim.epochs, *found) for own, found in zip(parts, results, strict=True)
    ]


def _with_indices(batch: Batch, *, videos: int) -> Batch:
    """Replace the labels of a batch by the indices of its videos in `split.train`."""
    return replace(batch, labels=torch.tensor([key % videos for key in batch.keys]))


def _make_steps(
    students: Sequence["_Student"],
    batches: Iterable[Batch],
    optim: Optim,
    *,
    epoch: int,
    steps: int,
    stop: StopRequest,
) -> None:
    """Make the steps of an epoch."""
    for step, batch in enumerate(batches):
        assert isinstance(batch.views, torch.Tensor)
        lr = lr_at(epoch + step / steps, optim)
        for student in students:
            student.start_step(batch.views, batch.labels, lr=lr)
        for student in students:
            student.join()
        if stop.asked:
            raise Interrupted(f"stopped in epoch {epoch + 1}, after step {step + 1} of {steps}")


def evaluate_side_by_side(networks: Sequence[Network], split: Split, recipe: Recipe) -> list[Report]:
    """Test networks on the same views of the test videos, and return a report for each."""
    shares = score_networks(networks, split.val, recipe=recipe)
    return [merge_scores([share], split.val, classes=split.classes) for share in shares]


class _Student:
    """A network, its optimizer, and its step, which can be a CUDA graph."""

    def __init__(
        self,
        parts: TrainingParts,
        optim: Optim,
        shape: Sequence[int],
        targets: torch.Tensor | None,
        stream: torch.cuda.Stream | None,
        *,
        graph: bool,
    ) -> None:
        device = next(parts.network.parameters()).device
        self.network, self.optimizer, self.optim = parts.network.train(), parts.optimizer, optim
        self.params = [param for param in self.network.parameters() if param.requires_grad]
        self.right = torch.zeros((), dtype=torch.int64, device=device)
        self.loss = torch.zeros((), device=device)  # sum over the steps of the epoch
        self.views = torch.zeros(*shape, device=device)
        self.labels = torch.zeros(shape[0], dtype=torch.int64, device=device)
        self.targets = targets
        self.stream = stream
        self.step = self._capture() if graph and uses_graphs(device) else self._step

    def start_step(self, views: torch.Tensor, labels: torch.Tensor, *, lr: float) -> None:
        """Queue one step on this student's stream. Call `join` when all students have started."""
        with self._own_stream():
            self.views.copy_(normalise(views, self.network.input_spec))
            self.labels.copy_(labels)
            set_lr(self.optimizer, lr)
            self.step()

    def join(self) -> None:
        """Let the later work of the current stream wait for this student's work."""
        if self.stream is not None:
            torch.cuda.current_stream(self.stream.device).wait_stream(self.stream)

    def end_epoch(self, *, steps: int) -> tuple[float, float]:
        """Return the share of right answers in the epoch's steps, and the mean loss.

        Afterwards, the next epoch can start.

        Raises:
            UserError: a loss was infinite or NaN.
        """
        if not self.loss.isfinite():
            raise UserError("the loss became infinite or NaN: train this network alone, to see where")
        top1, loss = self.right.item() / (steps * len(self.labels)), self.loss.item() / steps
        self.right.zero_()
        self.loss.zero_()
        self.network.train()
        return top1, loss

    def _step(self) -> None:
        # Classes, or probabilities.
        wanted = self.labels if self.targets is None else self.targets[self.labels]
        with autocast(self.views.device, self.optim.precision):
            logits = self.network(self.views)
            loss = F.cross_entropy(logits, wanted, label_smoothing=self.optim.smoothing)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.params, self.optim.clip_norm or math.inf)
        self.optimizer.step()
        self.loss += loss.detach()
        right = wanted if self.targets is None else wanted.argmax(1)
        self.right += (logits.detach().argmax(1) == right).sum()

    def _capture(self) -> Callable[[], object]:
        """Capture the step. The steps of the warm-up are undone."""
        state = copy.deepcopy(self.network.state_dict())
        for group in self.optimizer.param_groups:
            group["capturable"], group["lr"] = True, torch.zeros((), device=self.views.device)
        with self._own_stream():
            try:
                graph = capture(self._step, stream=self.stream)
            except RuntimeError as error:
                text = "the step of a network cannot be captured as a CUDA graph; run it with --no-graph"
                raise SystemExit(f"{text}: {error}") from error
            self.network.load_state_dict(state)
            for values in self.optimizer.state.values():
                for value in values.values():
                    value.zero_()
            self.right.zero_()
            self.loss.zero_()
        self.join()
        return graph

    @contextmanager
    def _own_stream(self) -> Iterator[None]:
        """Queue work on this student's stream, after the current stream's work."""
        if self.stream is None:
            yield
            return
        self.stream.wait_stream(torch.cuda.current_stream(self.stream.device))
        with torch.cuda.stream(self.stream):
            yield


@cache
def _streams(device: torch.device) -> Sequence[torch.cuda.Stream | None]:
    """Return the students' streams; None on a CPU. PyTorch has only 32 streams, so later calls reuse them."""
    return [torch.cuda.Stream(device) if device.type == "cuda" else None for _ in range(MOST)]


def uses_graphs(device: torch.device) -> bool:
    """Return whether the device has CUDA graphs."""
    return device.type == "cuda"
