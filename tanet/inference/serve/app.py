"""The server's addresses.

    GET  /                         the page
    GET  /v1/models                names, classes, modules
    POST /v1/classify              video → [{"label", "score"}], the format of the Hugging Face Hub
    POST /v1/timeline              video → segments, and scores over time
    POST /v1/explain               video → picture of TAM's gates and kernels (PNG)
    GET  /v2/…  POST /v2/…/infer   the Open Inference Protocol (kserve.py)
    GET  /metrics                  numbers for Prometheus

Queries: model (a name; the first one by default), top_k (5), window and hop (as in `tanet timeline`).
"""

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.data.samples import Sample
from tanet.data.streams import stream_of
from tanet.data.views import read_views
from tanet.errors import UserError
from tanet.inference.features import NETWORK
from tanet.inference.serve import kserve
from tanet.inference.serve.batching import Batcher
from tanet.inference.serve.metrics import Metrics
from tanet.inference.serve.uploads import Limits, Uploads, open_upload
from tanet.inference.timeline import timeline
from tanet.inference.windows import Span
from tanet.recipes.networks_hybrid import RegionGraphNet
from tanet.video import DamagedVideo, Video, VideoError
from tanet.visualization import figures
from tanet.visualization.record import record_clip, require_adaptive

PAGE = Path(__file__).parent / "page"
FILES = {"/": "index.html", "/page.js": "page.js", "/page.css": "page.css"}
HEADERS = {
    # Nothing comes from elsewhere, and no other site may show the page inside its own.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src blob:; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
TURN = 4
"""Views of a timeline in one forward pass."""
MOST_CELLS = 2000
"""Largest number of moments for which /v1/timeline returns scores."""
T = TypeVar("T")


class Server:
    """What all requests share.

    Args:
        models: name → checkpoint with its network on the device to use.
        limits: what a request may cost.

    Raises:
        UserError: a network needs more than a video.
    """

    def __init__(self, models: dict[str, Checkpoint], limits: Limits) -> None:
        for name, model in models.items():
            if isinstance(model.recipe.model, RegionGraphNet) or model.network.takes_frames:
                raise UserError(
                    f"{name}: this network needs more than the frames of a video and cannot be served"
                )
        self.models, self.limits, self.metrics = models, limits, Metrics()
        self.uploads = Uploads(limits)
        self.batcher = Batcher(models, batch=limits.batch, metrics=self.metrics)
        self.decoders = ThreadPoolExecutor(limits.workers, "tanet-decode")
        self.waiting, self.draining = 0, False

    def close(self) -> None:
        """Finish what waits, and remove all uploads."""
        self.decoders.shutdown()
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


def make_app(
    models: dict[str, Checkpoint], limits: Limits | None = None, *, hosts: list[str] | None = None
) -> Starlette:
    """Make the application.

    Args:
        models: name → checkpoint with its network on the device to use.
        limits: what a request may cost.
        hosts: names under which the server may be called; None for any. A page of another site could
            otherwise call a local server by a name of its own.
    """
    server = Server(models, limits or Limits())

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        server.draining = True
        await asyncio.to_thread(server.close)

    def route(
        path: str, handler: Callable[[Server, Request], Awaitable[Response]], method: str = "GET"
    ) -> Route:
        async def endpoint(request: Request) -> Response:
            return await _answer(server, request, handler, path)

        return Route(path, endpoint, methods=[method])

    routes = [
        *(route(path, _page) for path in FILES),
        route("/v1/models", _models),
        route("/v1/classify", _classify, "POST"),
        route("/v1/timeline", _timeline, "POST"),
        route("/v1/explain", _explain, "POST"),
        route("/metrics", _metrics),
        route("/v2", _server),
        route("/v2/health/live", _live),
        route("/v2/health/ready", _ready),
        route("/v2/models/{model}", _describe),
        route("/v2/models/{model}/ready", _ready),
        route("/v2/models/{model}/infer", _infer, "POST"),
    ]
    guard = [Middleware(TrustedHostMiddleware, allowed_hosts=hosts)] if hosts else []
    app = Starlette(routes=routes, middleware=guard, lifespan=lifespan)
    app.state.server = server
    return app


async def _answer(
    server: Server, request: Request, handler: Callable[[Server, Request], Awaitable[Response]], path: str
) -> Response:
    """Run a handler; turn its errors into one line of JSON, and count the request."""
    try:
        response = await handler(server, request)
    except HTTPException as error:
        response = JSONResponse({"error": error.detail}, error.status_code, error.headers)
    except VideoError as error:
        response = JSONResponse({"error": f"the video cannot be used: {error.cause}"}, 422)
    except UserError as error:
        response = JSONResponse({"error": str(error)}, 422)
    except torch.OutOfMemoryError:
        response = JSONResponse({"error": "out of GPU memory; try again"}, 503, {"Retry-After": "5"})
    if response.status_code >= 400:
        server.metrics.add("tanet_errors_total", cause=response.status_code)
    server.metrics.add("tanet_requests_total", path=path, status=response.status_code)
    response.headers.update(HEADERS)
    return response


async def _page(_: Server, request: Request) -> Response:
    return FileResponse(PAGE / FILES[request.url.path])


async def _models(server: Server, _: Request) -> Response:
    return JSONResponse(
        [
            {
                "name": name,
                "title": model.recipe.model.title,
                "classes": len(model.classes),
                "explains": _explains(model),
                "command": str(model.info.get("path", name)),
            }
            for name, model in server.models.items()
        ]
    )


def _explains(model: Checkpoint) -> bool:
    try:
        require_adaptive(model)
    except UserError:
        return False
    return True


async def _classify(server: Server, request: Request) -> Response:
    name, model = server.model(request)
    top_k = _number(request, "top_k", 5, least=1)
    for fixed in ("num_frames", "frame_sampling_rate"):
        if fixed in request.query_params:
            raise HTTPException(422, f"{fixed} cannot be chosen: the network was trained with its own")
    recipe = model.recipe
    async with server.admitted(), server.uploads.receive(request) as path:

        def work() -> torch.Tensor:
            with open_upload(path, server.limits) as video:
                stream = stream_of(video, recipe.data, flows=recipe.model.flows_per_frame)
                try:
                    return _views(stream, model, stream.frames)
                except DamagedVideo as damage:
                    if not damage.frames:
                        raise
                    return _views(stream, model, damage.frames)

        views = await server.decode(work)
        scores = await asyncio.wrap_future(server.batcher.submit(name, views, eval=recipe.eval))
    best = scores.topk(min(top_k, len(scores)))
    found = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return JSONResponse([{"label": model.classes[number], "score": score} for number, score in found])


def _views(stream: Video, model: Checkpoint, count: int) -> torch.Tensor:
    recipe = model.recipe
    flows = recipe.model.flows_per_frame
    return read_views(
        stream, frames=recipe.model.frames, data=recipe.data, eval=recipe.eval, flows=flows, count=count
    )


async def _timeline(server: Server, request: Request) -> Response:
    _, model = server.model(request)
    lengths = {key: request.query_params.get(key) for key in ("window", "hop")}
    spans = {key: Span.parse(text) if text else None for key, text in lengths.items()}
    async with server.admitted(), server.uploads.receive(request) as path:

        def work() -> Any:
            with open_upload(path, server.limits) as video:
                # Few windows at once, so that other requests get their turn in between.
                eval = replace(model.recipe.eval, batch=min(model.recipe.eval.batch, TURN))
                return timeline(video, model, window=spans["window"], hop=spans["hop"], eval=eval)

        found = await server.decode(work)
    shown = found.scores.max(0).argsort()[::-1][:5]  # classes with the highest peaks
    few = len(found.scores) <= MOST_CELLS
    return JSONResponse(
        {
            "duration": found.duration,
            "fps": found.fps,
            "note": found.note,
            "segments": [
                {"start": s.start, "end": s.end, "label": s.label, "score": s.score} for s in found.segments
            ],
            "edges": found.edges.round(3).tolist() if few else [],
            "scores": {model.classes[k]: found.scores[:, k].round(4).tolist() for k in shown} if few else {},
        }
    )


async def _explain(server: Server, request: Request) -> Response:
    _, model = server.model(request)
    require_adaptive(model)
    figures.require_plots()
    async with server.admitted(), server.uploads.receive(request) as path:

        def work() -> bytes:
            open_upload(path, server.limits).close()
            with NETWORK:
                clip = replace(record_clip(model, Sample(str(path), 0)), video="the video")
                picture = io.BytesIO()
                figures.clip_figure(clip).savefig(picture, format="png")
            return picture.getvalue()

        return Response(await server.decode(work), media_type="image/png")


async def _metrics(server: Server, _: Request) -> Response:
    return PlainTextResponse(server.metrics.text(), media_type="text/plain; version=0.0.4")


async def _server(_: Server, __: Request) -> Response:
    return JSONResponse(kserve.server())


async def _live(_: Server, __: Request) -> Response:
    return JSONResponse({"live": True})


async def _ready(server: Server, request: Request) -> Response:
    if "model" in request.path_params:
        server.model(request)
    return JSONResponse({"ready": not server.draining}, 503 if server.draining else 200)


async def _describe(server: Server, request: Request) -> Response:
    return JSONResponse(kserve.describe(*server.model(request)))


async def _infer(server: Server, request: Request) -> Response:
    name, model = server.model(request)
    async with server.admitted(), server.uploads.receive(request) as path:
        try:
            body = json.loads(await asyncio.to_thread(path.read_bytes))
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, f"not JSON: {error}") from error
        if not isinstance(body, dict):
            raise HTTPException(400, "not an inference request")
        views = await server.decode(lambda: kserve.views_of(body, model, most=server.limits.batch))
        jobs = [server.batcher.submit(name, clip, eval=model.recipe.eval) for clip in views]
        scores = torch.stack([await asyncio.wrap_future(job) for job in jobs])
    return JSONResponse(kserve.answer(name, body.get("id"), scores))


def _number(request: Request, name: str, default: int, *, least: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdecimal() or int(text) < least:
        raise HTTPException(422, f"{name} must be a number of at least {least}, not {text[:20]}")
    return min(int(text), 10_000)
