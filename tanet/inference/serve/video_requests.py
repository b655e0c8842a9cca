"""Requests with a video or with clips in their body: labels, timelines, pictures, inference."""

import asyncio
import io
import json
import threading
from dataclasses import replace
from typing import Any

import torch
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tanet.data.samples import Sample
from tanet.errors import UserError
from tanet.inference.features import NETWORK
from tanet.inference.models import make_member
from tanet.inference.predict import read_member_views
from tanet.inference.serve import kserve
from tanet.inference.serve.server import Server
from tanet.inference.serve.uploads import open_upload
from tanet.inference.timeline import timeline
from tanet.inference.windows import Span
from tanet.visualization import figures
from tanet.visualization.record import record_clip, require_adaptive

TURN = 4
"""Views of a timeline in one forward pass."""
MOST_WINDOWS = 20_000
"""Largest number of windows of a timeline."""
MOST_CELLS = 2000
"""Largest number of moments for which /v1/timeline returns scores."""


async def classify(server: Server, request: Request) -> Response:
    """Answer with the labels of a video."""
    name, model = server.model(request)
    top_k = _number(request, "top_k", 5, least=1)
    for fixed in ("num_frames", "frame_sampling_rate"):
        if fixed in request.query_params:
            raise HTTPException(422, f"{fixed} cannot be chosen: the network was trained with its own")
    recipe = model.recipe
    async with server.admitted(), server.uploads.receive(request) as path:

        def work() -> torch.Tensor:
            with open_upload(path, server.limits) as video:
                ((views, _),) = read_member_views(
                    video, [make_member(name, model, eval=None, weight=1.0)]
                ).views
                return views

        views = await server.decode(work)
        scores = await asyncio.wrap_future(server.batcher.submit(name, views, eval=recipe.eval))
    best = scores.topk(min(top_k, len(scores)))
    found = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return JSONResponse([{"label": model.classes[number], "score": score} for number, score in found])


async def label_over_time(server: Server, request: Request) -> Response:
    """Answer with the segments of a video, and with scores over time."""
    _, model = server.model(request)
    lengths = {key: request.query_params.get(key) for key in ("window", "hop")}
    spans = {key: Span.parse(text) if text else None for key, text in lengths.items()}
    async with server.admitted(), server.uploads.receive(request) as path:

        def work() -> Any:
            with open_upload(path, server.limits) as video:
                # Few windows at once, so that other requests get their turn in between.
                eval = replace(model.recipe.eval, batch=min(model.recipe.eval.batch, TURN))
                return timeline(
                    video, model, window=spans["window"], hop=spans["hop"], eval=eval, on_windows=check
                )

        gone = threading.Event()

        def check(windows: int) -> None:
            if windows > MOST_WINDOWS:
                raise UserError(f"{windows} windows are too many: choose a longer hop")
            if gone.is_set() or server.stopping.is_set():
                raise HTTPException(503, "stopped", {"Retry-After": "1"})

        watcher = asyncio.create_task(_set_when_gone(request, gone))
        try:
            found = await server.decode(work)
        finally:
            gone.set()
            watcher.cancel()
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


async def _set_when_gone(request: Request, gone: threading.Event) -> None:
    """Set an event when the client has closed its connection."""
    while not await request.is_disconnected():
        await asyncio.sleep(0.5)
    gone.set()


async def explain(server: Server, request: Request) -> Response:
    """Answer with a picture of TAM's gates and kernels for a video."""
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


async def infer(server: Server, request: Request) -> Response:
    """Answer to a request of the Open Inference Protocol."""
    name, model = server.model(request)
    async with server.admitted(), server.uploads.receive(request) as path:
        try:
            body = json.loads(await asyncio.to_thread(path.read_bytes))
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, f"not JSON: {error}") from error
        if not isinstance(body, dict):
            raise HTTPException(400, "not an inference request")
        views = await server.decode(lambda: kserve.views_of(body, model, server.limits))
        jobs = [server.batcher.submit(name, clip, eval=model.recipe.eval) for clip in views]
        scores = torch.stack([await asyncio.wrap_future(job) for job in jobs])
    return JSONResponse(kserve.answer(name, body.get("id"), scores))


def _number(request: Request, name: str, default: int, *, least: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdecimal() or len(text) > 9 or int(text) < least:
        raise HTTPException(422, f"{name} must be a number of at least {least}, not {text[:20]}")
    return min(int(text), 10_000)
