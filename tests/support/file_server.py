"""HTTP server for tests of downloads: files in memory, cut connections, errors, with or without ranges."""

import http.server
import threading
from contextlib import contextmanager, suppress


class FileServer:
    """Files by path, how the server behaves, and the requests that it received."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.kinds: dict[str, str] = {}
        self.etag = '"one"'
        self.ranges = True
        self.cuts: list[int] = []  # one for each answer: the connection ends after so many bytes
        self.errors: list[int] = []  # one for each request: its status; 0 is none
        self.redirects: dict[str, str] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.on_chunk = lambda: None
        self.url = ""

    def asked(self, header):
        return [headers.get(header) for _, headers in self.requests]


@contextmanager
def serve():
    """Run a `FileServer` on a random port of this machine."""
    state = FileServer()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            state.requests.append((self.path, dict(self.headers)))
            error = state.errors.pop(0) if state.errors else 0
            if error or (self.path not in state.files and self.path not in state.redirects):
                self.send_error(error or 404)
                return
            if self.path in state.redirects:
                self.send_response(302)
                self.send_header("Location", state.redirects[self.path])
                self.end_headers()
                return
            self.send_file(state.files[self.path])

        def send_file(self, content):
            first, wanted = 0, self.headers.get("Range")
            same = self.headers.get("If-Range") in (None, state.etag)
            if wanted and state.ranges and same:
                first = int(wanted.removeprefix("bytes=").rstrip("-"))
            if first and first >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if first else 200)
            if first:
                self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
            if state.etag:
                self.send_header("ETag", state.etag)
            self.send_header("Content-Type", state.kinds.get(self.path, "application/octet-stream"))
            self.send_header("Content-Length", str(len(content) - first))
            self.end_headers()
            body = content[first:][: state.cuts.pop(0) if state.cuts else None]
            with suppress(ConnectionError):  # the client may have been interrupted
                for start in range(0, len(body), 2**16):
                    self.wfile.write(body[start : start + 2**16])
                    self.wfile.flush()
                    state.on_chunk()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
