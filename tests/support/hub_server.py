"""A local server that speaks as much of the Hugging Face Hub's API as pushing and loading a checkpoint needs.

The client library talks to it if HF_ENDPOINT is its address. It answers as the hub does: errors by the header
X-Error-Code, 401 for repositories that the user may not see, large files by LFS and a redirect.
"""

import base64
import hashlib
import json
import re
import shutil
import socket
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

TOKENS = {"hf_writer": "user", "hf_reader": "other"}


@dataclass
class Repo:
    private: bool
    commits: dict = field(default_factory=dict)  # commit → {path: content}
    refs: dict = field(default_factory=dict)  # branch or tag → commit
    messages: list = field(default_factory=list)

    def commit(self, files, message=""):
        """Add files to the branch main, and return the commit."""
        self.messages.append(message)
        name = hashlib.sha1(f"{len(self.commits)} {sorted(files)}".encode()).hexdigest()
        self.commits[name] = {**self.commits.get(self.refs.get("main"), {}), **files}
        self.refs["main"] = name
        return name


class Hub(ThreadingHTTPServer):
    """The server, and what it holds."""

    daemon_threads = True

    def __init__(self, home):
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.home = home  # folder of the client's cache
        self.clear()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def add(self, name, content, *, private=False):
        """Put model.safetensors into a repository, and return the commit."""
        repo = self.repos.setdefault(name, Repo(private))
        return repo.commit({"model.safetensors": content})

    def files(self, name):
        """Return the files of the branch main of a repository."""
        repo = self.repos[name]
        return repo.commits[repo.refs["main"]]

    def asked_for(self):
        """Return the names of files that were requested from repositories."""
        found = (re.search(r"/(?:resolve|raw)/[^/]+/(.*)", line) for line in self.requests)
        return {match[1] for match in found if match}

    def clear(self):
        """Empty the hub and the client's cache."""
        shutil.rmtree(self.home)
        self.home.mkdir()
        self.repos, self.blobs, self.requests = {}, {}, []
        self.status = 0  # status that answers all requests, if not 0
        self.storage_status = 0  # status that answers requests for the content of large files, if not 0
        self.settings_changed = False

    def change_settings(self, monkeypatch, **environment):
        """Have the client library imported anew, with other variables."""
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        forget_client()
        self.settings_changed = True

    def leave(self, monkeypatch):
        """Give the client an address at which nobody answers."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.change_settings(monkeypatch, HF_ENDPOINT=f"http://127.0.0.1:{port}")


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self):
        self._answer()

    def do_HEAD(self):
        self._answer()

    def do_POST(self):
        self._answer()

    def do_PUT(self):
        self._answer()

    def log_message(self, *_):
        pass

    def _answer(self):
        path = self.path.partition("?")[0]
        self.server.requests.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.user = TOKENS.get((self.headers.get("Authorization") or "").removeprefix("Bearer "))
        if self.server.status:
            return self._send(self.server.status, b"")
        for pattern, method in ROUTES.items():
            if match := re.fullmatch(pattern, f"{self.command} {path}"):
                return method(self, body, *match.groups())
        return self._send(404, b"unknown")

    def _send(self, status, content, **headers):
        if not isinstance(content, bytes):
            content, headers = json.dumps(content).encode(), {"Content-Type": "application/json", **headers}
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _repo(self, name, *, write=False):
        """Return a repository that the user may see; otherwise, answer and return None."""
        repo = self.server.repos.get(name)
        if repo is None or (repo.private and self.user != name.split("/")[0]):
            self._send(404 if self.user else 401, {"error": "not found"}, X_Error_Code="RepoNotFound")
        elif write and self.user != name.split("/")[0]:
            self._send(403 if self.user else 401, {"error": "no"}, X_Error_Message="you have no write access")
        else:
            return repo
        return None

    def create(self, body):
        wish = json.loads(body)
        name = f"{wish.get('organization') or self.user}/{wish['name']}"
        if not self.user:
            return self._send(401, {"error": "Invalid username or password."})
        if wish.get("organization") not in (None, self.user):
            return self._send(403, {"error": "no"}, X_Error_Message="no rights to create a model there")
        if name in self.server.repos:
            return self._send(409, {"error": "You already created this model repo"})
        # Client libraries before 2.0 send `private`.
        private = wish.get("private", False) or wish.get("visibility") == "private"
        self.server.repos[name] = Repo(private)
        self.server.repos[name].commit({".gitattributes": b""})
        return self._send(200, {"url": f"{self.server.address}/{name}"})

    def info(self, _, name):
        if not (repo := self._repo(name)):
            return
        siblings = [{"rfilename": path} for path in self.server.files(name)]
        answer = {"id": name, "sha": repo.refs["main"], "private": repo.private, "siblings": siblings}
        self._send(200, {**answer, "tags": [], "downloads": 0, "likes": 0})

    def validate(self, body):
        import yaml  # comes with the client library

        found = yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
        licence = found.get("license", "")
        good = licence and licence == licence.lower() and (licence != "other" or "license_name" in found)
        errors = [] if good else [{"message": '"license" must be one of the known names'}]
        self._send(400 if errors else 200, {"errors": errors, "warnings": []})

    def preupload(self, body, name, _):
        if self._repo(name, write=True):
            files = [one["path"] for one in json.loads(body)["files"]]
            modes = {path: "lfs" if path.endswith(".safetensors") else "regular" for path in files}
            known = [
                {"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()
            ]
            self._send(200, {"files": known})

    def lfs(self, body, name):
        if self._repo(name, write=True):
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.server.address}/upload/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            self._send(200, {"transfer": "basic", "objects": objects})

    def upload(self, body, oid):
        assert hashlib.sha256(body).hexdigest() == oid
        self.server.blobs[oid] = body
        self._send(200, b"")

    def commit(self, body, name, _):
        if not (repo := self._repo(name, write=True)):
            return
        files, message = {}, ""
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.blobs[value["oid"]]
        oid = repo.commit(files, message)
        url = f"{self.server.address}/{name}/commit/{oid}"
        self._send(200, {"success": True, "commitOid": oid, "commitUrl": url})

    def resolve(self, _, name, revision, path):
        if not (repo := self._repo(name)):
            return None
        commit = repo.refs.get(revision, revision)
        if commit not in repo.commits:
            return self._send(404, {"error": "no revision"}, X_Error_Code="RevisionNotFound")
        content = repo.commits[commit].get(path)
        if content is None:
            return self._send(404, {"error": "no"}, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        oid = hashlib.sha256(content).hexdigest()
        self.server.blobs[oid] = content
        linked = {"X_Linked_Etag": f'"{oid}"', "X_Linked_Size": str(len(content))}
        # "localhost" is another host than the hub's address, as the hub's storage is.
        place = f"http://localhost:{self.server.server_port}/storage/{oid}"
        return self._send(302, b"", Location=place, X_Repo_Commit=commit, **linked)

    def storage(self, _, oid):
        assert "Authorization" not in self.headers, "the token has left the hub"
        content = self.server.blobs[oid]
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        if self.server.storage_status:
            return self._send(self.server.storage_status, b"")
        return self._send(206 if start else 200, content[start:])


NAME = r"([\w.-]+/[\w.-]+)"
ROUTES = {
    r"POST /api/repos/create": Handler.create,
    r"POST /api/validate-yaml": Handler.validate,
    rf"GET /api/models/{NAME}": Handler.info,
    rf"POST /api/models/{NAME}/preupload/(\w+)": Handler.preupload,
    rf"POST /{NAME}\.git/info/lfs/objects/batch": Handler.lfs,
    r"PUT /upload/(\w+)": Handler.upload,
    rf"POST /api/models/{NAME}/commit/(\w+)": Handler.commit,
    rf"(?:GET|HEAD) /{NAME}/resolve/([^/]+)/(.+)": Handler.resolve,
    r"GET /storage/(\w+)": Handler.storage,
}


def forget_client():
    """Remove the client library from the imported modules. It reads its settings when it is imported."""
    for name in [name for name in sys.modules if name.split(".")[0] == "huggingface_hub"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def hub_server(tmp_path_factory):
    """Server of a test module, with a client that talks to it."""
    server = Hub(tmp_path_factory.mktemp("hub"))
    settings = {
        "HF_ENDPOINT": server.address,
        "HF_HOME": str(server.home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "*",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "TRANSFORMERS_OFFLINE"):
            patch.delenv(name, raising=False)
        for name, value in settings.items():
            patch.setenv(name, value)
        forget_client()
        yield server
    server.shutdown()
    server.server_close()
    forget_client()


@pytest.fixture
def hub(hub_server, monkeypatch):
    """An empty hub, a client with an empty cache, and the token of `user`."""
    hub_server.clear()
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    yield hub_server
    if hub_server.settings_changed:
        forget_client()
