"""The command `tanet serve CHECKPOINT …`, which serves a page and an API on this machine."""

import ipaddress
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.cli.common import Device, load_checkpoint, parse
from tanet.cli.lines import say, warn
from tanet.errors import UserError
from tanet.inference.serve.limits import Limits

USAGE = "tanet serve CHECKPOINT …"
LOCAL = ["localhost", "127.0.0.1", "[::1]", "::1"]


@dataclass(frozen=True)
class ServeFlags:
    """Serve networks on this machine: a page to drop videos on, and an API.

    Examples:

      tanet serve best.safetensors
      tanet serve best.safetensors i3d-k400          # side by side
      curl --data-binary @jump.mp4 http://127.0.0.1:8000/v1/classify

    Needs pip install 'tanet[serve]'. The server has no passwords: on another address than 127.0.0.1, everyone
    who reaches it can use it. Stop with Ctrl-C; requests that run are finished.
    """

    checkpoints: Annotated[
        Positional[tuple[str, ...]], arg(metavar="CHECKPOINT …", help_behavior_hint="")
    ] = ()
    """Checkpoints, names of published weights, or hf://user/name."""
    host: str = "127.0.0.1"
    """Address to listen on. 0.0.0.0: all of this machine's."""
    port: int = 8000
    """Port to listen on."""
    limits: Annotated[Limits, arg(name="")] = field(default_factory=Limits)
    device: Device = "auto"
    """Device to run on; auto uses a GPU if there is one."""


def run(args: list[str]) -> int:
    """Run `tanet serve CHECKPOINT …` until the user or the system stops it."""
    flags = parse(ServeFlags(), args, prog="tanet serve", usage=USAGE)
    if not flags.checkpoints:
        raise UserError(f"usage: {USAGE} (see `tanet serve --help`)")
    try:
        import uvicorn

        from tanet.inference.serve.app import make_app
    except ImportError as error:
        raise UserError(
            f"tanet serve needs starlette and uvicorn ({error}): pip install 'tanet[serve]'"
        ) from error
    for name, value in asdict(flags.limits).items():
        if not value > 0:
            raise UserError(f"--{name.replace('_', '-')} must be positive, not {value:g}")
    if not 0 < flags.port < 65536:
        raise UserError(f"--port must be between 1 and 65535, not {flags.port}")
    app = make_app(_models(flags), flags.limits, hosts=LOCAL if _is_local(flags.host) else None)
    if not _is_local(flags.host):
        warn(f"everyone who reaches {flags.host} can use this server: it has no passwords")
    server = uvicorn.Server(
        uvicorn.Config(
            app, host=flags.host, port=flags.port, log_level="warning", timeout_graceful_shutdown=30
        )
    )
    shown = f"[{flags.host}]" if ":" in flags.host else flags.host
    try:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(_tell, server, f"http://{shown}:{flags.port}")
            try:
                server.run()
            finally:
                server.should_exit = True
    except SystemExit:  # uvicorn has told why, for example that the port is taken
        app.state.server.close()
        where = f"{flags.host}, port {flags.port}"
        raise UserError(f"cannot listen on {where}: choose another --port or --host") from None
    return 0


def _tell(server: Any, address: str) -> None:
    """Print the address once the server listens on it."""
    while not server.started and not server.should_exit:
        time.sleep(0.05)
    if server.started:
        say(address)


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _models(flags: ServeFlags) -> dict[str, Checkpoint]:
    """Load the checkpoints. Each gets a short name: its file's, or its folder's."""
    models: dict[str, Checkpoint] = {}
    for source in flags.checkpoints:
        model = load_checkpoint(source, flags.device)
        path = Path(source)
        name = source.rpartition("/")[2]
        if path.exists():
            name = path.stem if path.is_file() else path.resolve().name
        if name in models and path.exists():
            name = "-".join(path.resolve().with_suffix("").parts[-2:])
        if name in models:
            name = f"{name}-{len(models) + 1}"
        model.info["path"] = source
        models[name] = model
    return models
