"""Attack `tanet serve`: many requests at once, uploads of all kinds, a stop in mid-request.

    pip install 'tanet[serve]' && make demo && python -m bench serve

Each case starts a server of its own. `statuses` counts the answers by status, and `batch` is the mean number
of requests in a forward pass. `memory_mb` is the growth of the server's memory, and `left` the number of
uploads that it has not removed. `held` says whether the server did what the case asks for.
"""

import argparse
import asyncio
import io
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx

from bench.common import ROOT
from bench.timeline import write_video

PACKAGES = ("torch", "starlette", "uvicorn")
KEY = ("case",)
PORT = 8791
SECRET = "the secret of this machine"


class Server:
    """A server in a process of its own."""

    def __init__(self, model: Path, folder: Path, *words: str) -> None:
        (folder / "tmp").mkdir(exist_ok=True)
        self.folder, self.address = folder, f"http://127.0.0.1:{PORT}"
        command = [
            sys.executable,
            "-m",
            "tanet",
            "serve",
            str(model),
            "--port",
            str(PORT),
            "--device",
            "cpu",
            *words,
        ]
        self.process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "TMPDIR": str(folder / "tmp")})
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", PORT)) == 0:
                    break
            time.sleep(0.1)
        self.before = self.memory()

    def memory(self) -> float:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1]) / 1e3

    def left(self) -> int:
        return sum(1 for path in (self.folder / "tmp").rglob("*") if path.is_file())

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, default=ROOT / "demo" / "tam" / "best.safetensors")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    for case in flags.cases:
        work, words = CASES[case]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            video = write_video(folder / "short.mp4", 50)
            server = Server(flags.model, folder, *words)
            try:
                statuses, held = asyncio.run(work(server, video))
                memory, left = (
                    server.memory() - server.before if server.process.poll() is None else 0.0,
                    server.left(),
                )
                batch = batch_size(server) if server.process.poll() is None else ""
            finally:
                if server.process.poll() is None:
                    server.stop()
            yield {
                "case": case,
                "statuses": " ".join(f"{status}:{count}" for status, count in sorted(statuses.items())),
                "batch": batch,
                "memory_mb": round(memory),
                "left": left,
                "held": held and left == 0,
            }


def batch_size(server: Server) -> float | str:
    text = httpx.get(f"{server.address}/metrics").text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    count = float(values["tanet_batch_size_count"])
    return round(float(values["tanet_batch_size_sum"]) / count, 2) if count else ""


Result = tuple[Counter[int], bool]


async def post(client: httpx.AsyncClient, server: Server, **content: Any) -> httpx.Response:
    return await client.post(f"{server.address}/v1/classify", timeout=120, **content)


async def many(server: Server, video: Path) -> Result:
    """200 requests at once: each is answered or told to try again, and batches have several."""
    data = video.read_bytes()
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(limits=limits) as client:
        found = await asyncio.gather(*(post(client, server, content=data) for _ in range(200)))
    statuses = Counter(response.status_code for response in found)
    again = all("retry-after" in response.headers for response in found if response.status_code == 503)
    return statuses, statuses.keys() <= {200, 503} and statuses[200] > 0 and again


async def large(server: Server, video: Path) -> Result:
    """An upload of 4 GB, stated and then streamed."""
    del video
    async with httpx.AsyncClient() as client:
        stated = await raw(
            f"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: {4 * 10**9}\r\n\r\n"
        )
        found = await refused(client, server, zeros(4 * 10**9))
    statuses = Counter([stated, found])
    return statuses, statuses == {413: 2} and server.memory() - server.before < 100


async def chunked(server: Server, video: Path) -> Result:
    """A body without a length: a video is answered, an endless one refused."""
    data = video.read_bytes()
    async with httpx.AsyncClient() as client:
        good = (await post(client, server, content=pieces(data))).status_code
        endless = await refused(client, server, zeros(10**10))
    return Counter([good, endless]), (good, endless) == (200, 413)


async def refused(client: httpx.AsyncClient, server: Server, body: AsyncIterator[bytes]) -> int:
    """Send a body that is refused before its end. The connection may break before the answer is read."""
    try:
        return (await post(client, server, content=body)).status_code
    except (httpx.WriteError, httpx.RemoteProtocolError, httpx.ReadError):
        metrics = (await client.get(f"{server.address}/metrics")).text
        return 413 if 'cause="413"' in metrics else 0


async def names(server: Server, video: Path) -> Result:
    """File names and addresses that point outside."""
    data, statuses = video.read_bytes(), Counter()
    outside = server.folder / "outside.mp4"
    async with httpx.AsyncClient() as client:
        for name in (
            "../../outside.mp4",
            str(outside),
            "..\\outside.mp4",
            "a\0b.mp4",
            "/etc/passwd",
            "x" * 5000,
        ):
            statuses[(await post(client, server, files={"file": (name, data)})).status_code] += 1
        paths = ("/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/page.js/../../app.py", "//etc/passwd")
        for path in paths:
            found = await raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            statuses[found] += 1
        evil = await raw("GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        statuses[evil] += 1
    return statuses, not outside.exists() and statuses[404] == len(paths) and evil == 400


async def kinds(server: Server, video: Path) -> Result:
    """Files that are no videos, among them playlists that name a secret file and an address."""
    secret = server.folder / "secret.txt"
    secret.write_text(SECRET)
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("../../a.mp4", video.read_bytes())
    bodies = [
        b"",
        b"<html><body>404</body></html>",
        zipped.getvalue(),
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{video}\n#EXT-X-ENDLIST\n".encode(),
        f"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:{PORT}/metrics\n".encode(),
        f"ffconcat version 1.0\nfile '{video}'\n".encode(),
        f"ffconcat version 1.0\nfile '{secret}'\n".encode(),
        b"v=0\r\nm=video 5004 RTP/AVP 96\r\n",
        video.read_bytes()[:2000],
        os.urandom(100_000),
        b"\0" * 100_000,
    ]
    texts, statuses = [], Counter()
    async with httpx.AsyncClient() as client:
        for body in bodies:
            found = await post(client, server, content=body)
            statuses[found.status_code] += 1
            texts.append(found.text)
        alive = (await post(client, server, content=video.read_bytes())).status_code
    quiet = not any(SECRET in text or str(server.folder) in text for text in texts)
    return statuses, statuses.keys() <= {400, 422} and alive == 200 and quiet


async def slow(server: Server, video: Path) -> Result:
    """A client that stops to send, and one that goes away, beside one that is served."""
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    writer.write(b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx")
    _, gone = await asyncio.open_connection("127.0.0.1", PORT)
    gone.write(b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx")
    await gone.drain()
    await asyncio.sleep(0.5)
    gone.close()
    async with httpx.AsyncClient() as client:
        served = (await post(client, server, content=video.read_bytes())).status_code
    line = (await asyncio.wait_for(reader.readline(), 60)).decode()
    writer.close()
    return Counter([served, int(line.split()[1])]), served == 200 and " 408 " in line


async def kill(server: Server, video: Path) -> Result:
    """SIGTERM in mid-request: requests that run are answered, and nothing is left."""
    data = video.read_bytes()
    async with httpx.AsyncClient() as client:
        running = [asyncio.create_task(post(client, server, content=data)) for _ in range(8)]
        await asyncio.sleep(0.15)
        server.process.send_signal(signal.SIGTERM)
        found = await asyncio.gather(*running, return_exceptions=True)
    statuses = Counter(one.status_code if isinstance(one, httpx.Response) else 0 for one in found)
    status = await asyncio.to_thread(server.process.wait, 60)
    return statuses, statuses.keys() <= {200, 503} and statuses[200] > 0 and status in (0, -signal.SIGTERM)


async def raw(text: str) -> int:
    """Send a request as it is, and return the status of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    writer.write(text.encode())
    line = (await asyncio.wait_for(reader.readline(), 30)).decode()
    writer.close()
    return int(line.split()[1])


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 5000):
        yield data[start : start + 5000]


async def zeros(count: int) -> AsyncIterator[bytes]:
    for _ in range(count // 10**6):
        yield bytes(10**6)


CASES: dict[str, tuple[Callable[[Server, Path], Coroutine[Any, Any, Result]], tuple[str, ...]]] = {
    "200 at once": (many, ()),
    "4 GB": (large, ("--megabytes", "200")),
    "chunked": (chunked, ("--megabytes", "200")),
    "names": (names, ()),
    "kinds": (kinds, ()),
    "slow client": (slow, ()),
    "SIGTERM": (kill, ()),
}
