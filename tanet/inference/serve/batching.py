"""One thread runs the networks. It takes the clips of all requests that wait, up to a batch.

Clips of different networks, or of different shapes, are in different forward passes.
"""

import queue
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Thread

import torch

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.evaluation.scorer import Scorer
from tanet.inference.features import NETWORK
from tanet.inference.serve.metrics import Metrics
from tanet.recipes.recipe import Eval

GATHER = 0.01  # seconds in which further requests may join a batch


@dataclass(eq=False)
class _Job:
    model: str
    eval: Eval
    views: torch.Tensor  # [V·crops, T, C, S, S]
    scores: "Future[torch.Tensor]" = field(default_factory=Future)

    def fits(self, other: "_Job") -> bool:
        return (self.model, self.eval, self.views.shape) == (other.model, other.eval, other.views.shape)


class Batcher:
    """The thread of the networks.

    Args:
        models: name → checkpoint with its network on the device to use.
        batch: most requests in one forward pass.
        metrics: receives sizes of batches and times.
    """

    def __init__(self, models: dict[str, Checkpoint], *, batch: int, metrics: Metrics) -> None:
        self.models, self.batch, self.metrics = models, batch, metrics
        self._queue: queue.Queue[_Job | None] = queue.Queue()
        self._thread = Thread(target=self._run, name="tanet-network", daemon=True)
        self._thread.start()

    def submit(self, model: str, views: torch.Tensor, *, eval: Eval) -> "Future[torch.Tensor]":
        """Score the views of a video, [V·crops, T, C, S, S]. The future has probabilities [classes]."""
        job = _Job(model, eval, views)
        self._queue.put(job)
        return job.scores

    def close(self) -> None:
        """Finish what waits, and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        left: list[_Job] = []
        open_ = True
        while open_ or left:
            if not left:
                first = self._queue.get()
                if first is None:
                    return
                left = [first]
            deadline = time.monotonic() + GATHER
            while open_ and len(left) < self.batch:
                try:
                    job = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
                except queue.Empty:
                    break
                open_ = job is not None
                left += [job] if job else []
            together = [job for job in left if job.fits(left[0])][: self.batch]
            left = [job for job in left if job not in together]
            self._score(together)

    def _score(self, jobs: list[_Job]) -> None:
        jobs = [job for job in jobs if job.scores.set_running_or_notify_cancel()]
        if not jobs:
            return
        model, start = self.models[jobs[0].model], time.perf_counter()
        try:
            with NETWORK:
                scorer = Scorer(
                    model.network.eval(), eval=jobs[0].eval, precision=model.recipe.optim.precision
                )
                scores = scorer(torch.stack([job.views for job in jobs]))
        except Exception as error:  # each request gets the error, and the thread goes on
            for job in jobs:
                job.scores.set_exception(error)
            return
        self.metrics.observe("tanet_batch_size", len(jobs))
        self.metrics.observe("tanet_network_seconds", time.perf_counter() - start)
        for job, row in zip(jobs, scores, strict=True):
            job.scores.set_result(row)
