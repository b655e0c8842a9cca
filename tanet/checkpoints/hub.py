"""Checkpoints on the Hugging Face Hub: `hf://user/name@revision` names one, with a branch, tag or commit.

    tanet.load("hf://user/name")

Only the file model.safetensors is requested. A request for a file that does not exist would move the record
of a branch in the client's cache, and the client would no longer find the older file without a connection.
For the same reason, a new file is complete before the record moves to its commit.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tanet.checkpoints.pretrained.open_url import offline_variable
from tanet.errors import UserError
from tanet.runtime.events import Note, OnEvent, ignore

WEIGHTS = "model.safetensors"
EXTRA = "pip install 'tanet[hub]'"
LOGIN = "log in with `hf auth login`, or set HF_TOKEN"

# A `Path` of hf://user/name has one slash less.
_SOURCE = re.compile(r"hf:/{1,2}(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^\s@]+))?/?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_CACHED = re.compile(rf"models--([\w.-]+?)--([\w.-]+)/snapshots/({_COMMIT.pattern})/{re.escape(WEIGHTS)}")


@dataclass(frozen=True)
class HubSource:
    """A checkpoint on the hub."""

    repo: str
    """Repository, as user/name."""
    revision: str = "main"
    """Branch, tag or commit."""

    def __str__(self) -> str:
        return f"hf://{self.repo}" + (f"@{self.revision}" if self.revision != "main" else "")


def is_hub(source: str | Path) -> bool:
    """Return whether a source names a checkpoint on the hub."""
    return Path(source).parts[:1] == ("hf:",)


def find_source(source: str | Path) -> HubSource:
    """Read the repository and the revision in a source such as hf://user/name@v1.

    Raises:
        UserError: the source has another form.
    """
    found = _SOURCE.fullmatch(str(source))
    if not found:
        raise UserError(f"{source}: give hf://user/name or hf://user/name@revision")
    return HubSource(found["repo"], found["revision"] or "main")


def hub_path(source: str | Path, *, on_event: OnEvent = ignore) -> Path:
    """Return the path of a hub checkpoint's file in the client's cache. Download the file if necessary.

    A file of a full commit number is taken from the cache without a request. For a branch or tag, the hub is
    asked for its commit; if the hub cannot be reached, the file that was loaded last is taken, with a note.

    Raises:
        UserError: the extra `hub` is missing, the hub cannot be reached, or it has no such repository,
            revision or file for this user.
    """
    wanted = find_source(source)
    hub = client(wanted)
    address = f"{hub.constants.ENDPOINT}/{wanted.repo}/resolve/{wanted.revision}/{WEIGHTS}"
    with client_errors(wanted, advice=f"; the file's address is {address}"):
        cached = _cached(hub, wanted)
        if cached and _COMMIT.fullmatch(wanted.revision):
            return cached
        if name := offline_variable():
            if cached is None:
                raise UserError(
                    f"{wanted}: not in the cache, and {name} forbids to ask the hub; unset it once"
                )
            return cached
        try:
            commit = _commit(hub, wanted)
        except _unreachable() as error:
            if cached is None or not _is_unreachable(error):
                raise
            if not hub.constants.HF_HUB_OFFLINE:
                on_event(Note(f"{wanted}: the hub cannot be reached; commit {cached.parent.name} is used"))
            return cached
        path = _download(hub, wanted.repo, commit)
        if wanted.revision != commit and _cached(hub, wanted) != path:
            _download(hub, wanted.repo, wanted.revision)  # moves the record of the branch to the commit
        return path


def hub_name(path: str | Path) -> str:
    """Return the repository and commit of a file in the client's cache, as user/name@commit; else ""."""
    found = _CACHED.fullmatch("/".join(Path(path).parts[-4:]))
    return f"{found[1]}/{found[2]}@{found[3]}" if found else ""


def client(what: object) -> Any:
    """Import the hub's client library.

    Raises:
        UserError: the library is not installed; the message begins with `what`.
    """
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ImportError as error:
        raise UserError(f"{what}: the hub's client is missing: {EXTRA}") from error
    return huggingface_hub


@contextmanager
def client_errors(what: HubSource, *, advice: str = "") -> Iterator[None]:
    """Turn errors of the client library within the block into UserErrors of one line.

    `advice` ends the message if the hub cannot be reached.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise _explained(what, error, advice) from error


def _explained(what: HubSource, error: BaseException, advice: str) -> BaseException:
    """Return a UserError for an error of the client library, or else the error itself."""
    from huggingface_hub import constants, errors

    network_error = errors.HfHubHTTPError.__bases__[0]  # of httpx or httpx2, as the client's version has it
    cause = _cause(error, (network_error, errors.OfflineModeIsEnabled, errors.HFValidationError))
    if cause is None:
        return error
    status = getattr(getattr(cause, "response", None), "status_code", 0)
    if isinstance(cause, errors.HFValidationError):
        text = f"not a name of a repository: {_one_line(cause)}"
    elif isinstance(cause, errors.GatedRepoError):
        text = f"ask for access at {constants.ENDPOINT}/{what.repo}, then {LOGIN}"
    elif isinstance(cause, errors.RepositoryNotFoundError):
        text = f"no such repository, or a private one that you may not read: {LOGIN}"
    elif isinstance(cause, errors.RevisionNotFoundError):
        text = f"the repository has no branch, tag or commit '{what.revision}'"
    elif isinstance(cause, errors.EntryNotFoundError):
        text = f"the repository has no {WEIGHTS}; it is not a checkpoint of tanet"
    elif status == 401:
        text = f"the hub does not know your token, or needs one: {LOGIN}"
    elif status == 403:
        text = "your token does not allow this; make one with write access to the repository and " + LOGIN
    elif isinstance(cause, errors.OfflineModeIsEnabled):
        text = "not in the cache, and HF_HUB_OFFLINE forbids to ask the hub; unset it once"
    elif isinstance(cause, errors.HfHubHTTPError) and status and not _is_unreachable(cause):
        text = f"the hub refused: {_one_line(cause)}"
    else:
        text = f"the hub cannot be reached ({_one_line(cause)}){advice}"
    return UserError(f"{what}: {text}")


def _cause(error: BaseException | None, kinds: tuple[type[BaseException], ...]) -> BaseException | None:
    """Return the first error of some kinds among an error and its causes; the client wraps some."""
    while error is not None and not isinstance(error, kinds):
        error = error.__cause__
    return error


def _one_line(error: BaseException) -> str:
    """Return the message of an error on one line, of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _unreachable() -> tuple[type[BaseException], ...]:
    """Return the types of errors that may mean that the hub cannot be reached."""
    from huggingface_hub import errors

    return errors.HfHubHTTPError.__bases__[0], errors.OfflineModeIsEnabled


def _is_unreachable(error: BaseException) -> bool:
    """Return whether the hub gave no answer, or was not able to answer now."""
    response = getattr(error, "response", None)
    return response is None or response.status_code == 429 or response.status_code >= 500


def _cached(hub: Any, wanted: HubSource) -> Path | None:
    """Return the path of a file in the client's cache; None if it is not there. Nothing is requested."""
    path = hub.try_to_load_from_cache(wanted.repo, WEIGHTS, revision=wanted.revision)
    return Path(path) if isinstance(path, str) else None


def _commit(hub: Any, wanted: HubSource) -> str:
    """Ask the hub for the commit of a revision. The client limits the time; it does not try again."""
    url = hub.hf_hub_url(wanted.repo, WEIGHTS, revision=wanted.revision)
    commit = hub.get_hf_file_metadata(url, library_name="tanet").commit_hash
    if commit is None:
        raise UserError(f"{wanted}: the answer does not come from a hub; check HF_ENDPOINT and the proxy")
    return commit


def _download(hub: Any, repo: str, revision: str) -> Path:
    return Path(hub.hf_hub_download(repo, WEIGHTS, revision=revision, library_name="tanet"))
