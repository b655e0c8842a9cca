"""What all requests of the server share: networks, uploads, threads, and the number of requests at work."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.errors import UserError
from tanet.inference.serve.batching import Batcher
from tanet.inference.serve.limits import Limits
from tanet.inference.serve.metrics import Metrics
from tanet.inference.serve.uploads import Uploads
from tanet.recipes.networks_hybrid import RegionGraphNet

T = TypeVar("T")


class Server:
    """What all requests share.

    Args:
        models: name → checkpoint with its network on the device to use.
        limits: what a request may cost.
        local: whether only this machine can reach the server.

    Raises:
        UserError: a network needs more than a video.
    """

    def __init__(self, models: dict[str, Checkpoint], limits: Limits, *, local: bool = True) -> None:
        for name, model in models.items():
            if isinstance(model.recipe.model, RegionGraphNet) or model.network.takes_frames:
                raise UserError(
                    f"{name}: this network needs more than the frames of a video and cannot be served"
                )
        self.models, self.limits, self.local, self.metrics = models, limits, local, Metrics()
        self.uploads = Uploads(limits)
        self.batcher = Batcher(models, batch=limits.batch, metrics=self.metrics)
        self.decoders = ThreadPoolExecutor(limits.workers, "tanet-decode")
        self.waiting, self.draining = 0, False
        self.stopping = threading.Event()

    def close(self) -> None:
        """Finish what runs, stop timelines, and remove all uploads."""
        self.stopping.set()
        self.decoders.shutdown(cancel_futures=True)
        self.batcher.close()
        self.uploads.close()

    def model(self, request: Request) -> tuple[str, Checkpoint]:
        """Return the model that a request names, or the first one."""
        name = (
            request.path_params.get("model") or request.query_params.get("model") or next(iter(self.models))
        )
        if name not in self.models:
            raise HTTPException(404, f"no model {name}; there are {', '.join(self.models)}")
        return name, self.models[name]

    async def decode(self, work: Callable[[], T]) -> T:
        """Run a function in a thread that decodes."""
        start = time.perf_counter()
        try:
            return await asyncio.get_running_loop().run_in_executor(self.decoders, work)
        finally:
            self.metrics.observe("tanet_decode_seconds", time.perf_counter() - start)

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Count a request among those that wait; refuse it with 503 if there are too many."""
        if self.waiting >= self.limits.waiting or self.draining:
            raise HTTPException(503, "busy; try again", {"Retry-After": "1"})
        self.waiting += 1
        self.metrics.add("tanet_waiting", 1)
        try:
            yield
        finally:
            self.waiting -= 1
            self.metrics.add("tanet_waiting", -1)
