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
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import torch
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.errors import UserError
from tanet.inference.serve import kserve
from tanet.inference.serve.limits import Limits
from tanet.inference.serve.server import Server
from tanet.inference.serve.video_requests import classify, explain, infer, label_over_time
from tanet.video import VideoError
from tanet.visualization.record import require_adaptive

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
    server = Server(models, limits or Limits(), local=hosts is not None)

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
        route("/v1/classify", classify, "POST"),
        route("/v1/timeline", label_over_time, "POST"),
        route("/v1/explain", explain, "POST"),
        route("/metrics", _metrics),
        route("/v2", _server),
        route("/v2/health/live", _live),
        route("/v2/health/ready", _ready),
        route("/v2/models/{model}", _describe),
        route("/v2/models/{model}/ready", _ready),
        route("/v2/models/{model}/infer", infer, "POST"),
    ]
    guard = [Middleware(TrustedHostMiddleware, allowed_hosts=hosts)] if hosts else []

    async def refuse(_: Request, error: Exception) -> Response:
        """Answer for addresses and methods that do not exist, and for errors of ours."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        detail = error.detail if isinstance(error, HTTPException) else "an error of the server; see its log"
        server.metrics.add("tanet_errors_total", cause=status)
        server.metrics.add("tanet_requests_total", path="other", status=status)
        return JSONResponse({"error": detail}, status, HEADERS)

    handlers = {HTTPException: refuse, Exception: refuse}
    app = Starlette(routes=routes, middleware=guard, lifespan=lifespan, exception_handlers=handlers)
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
                # A path is told only to this machine.
                "command": str(model.info.get("path", name)) if server.local else name,
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
