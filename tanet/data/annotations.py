"""Find videos and their labels in class folders, lists or shards.

The supported inputs are:

    ROOT/train/CLASS/video, ROOT/val/CLASS/video   class folders for training and for validation
    ROOT/CLASS/video                     class folders; `val_fraction` of each class is used for validation
    text list                            lines `path label` or `path frames label`, the format of TSN and TSM
    CSV list                             columns path, label and, optionally, frames; others are ignored
    CSV list                             columns path, start, end, label: parts of videos
    JSON, CSV of AVA                     annotations in ActivityNet's or AVA's form (moment_lists.py)
    ROOT/{train,val,videos}.index.json   indexes of shards; each video keeps its path from before packing

`tanet data index` writes CSV lists, and `tanet data pack` writes shards. A video is a file, or a folder of
frame images. In a list, a label is a class name, or a number that counts from 0.
"""

import dataclasses
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tanet.data.class_folders import find_sets, split_off_validation, videos_by_class
from tanet.data.flow_location import find_flows
from tanet.data.list_files import read_class_names, read_lines, read_list
from tanet.data.listed_video import ListedVideo
from tanet.data.moment_lists import Role
from tanet.data.samples import Sample, Split
from tanet.data.shards.format import ShardEntry, shard_classes
from tanet.errors import UserError, abbreviate
from tanet.recipes.recipe import Data
from tanet.runtime.events import Note, OnEvent, ignore
from tanet.video.excerpt import split_part

LEAK_WARNING = (
    "{root} has no val/ folder: {part:.0%} of each class was set aside for validation. Videos cut from one "
    "recording can fall on both sides, and then the validation accuracy is too high."
)
NO_VAL_WARNING = "{root} has no val/ folder: all of its videos are tested, perhaps some used in training too."


def read_split(data: Data, *, classes: Sequence[str] | None = None, seed: int = 0) -> Split:
    """Find the training and validation videos that a recipe's data section describes.

    Args:
        data: the function uses `root`, `train`, `val`, `class_names`, `quarantine`, `flow` and
            `val_fraction`.
        classes: class names in the order of the labels, if they are already known, for example from a
            checkpoint. Each video must belong to one of these classes.
        seed: seed for the random choice of validation videos, if ROOT has no val/ folder.

    Raises:
        UserError: no videos are found, or a file or folder does not have the expected content. The message
            names the file or folder.
    """
    if classes is None and data.class_names:
        classes = read_class_names(Path(data.class_names))
    elif classes is None and not (data.train or data.val):
        classes = shard_classes(Path(data.root)) or None
    if data.train or data.val:
        train, notes = _existing_videos(Path(data.train), data.root, "train") if data.train else ([], [])
        val, more = _existing_videos(Path(data.val), data.root, "val") if data.val else ([], [])
        notes = [*notes, *more]
    else:
        train, val, notes = _folders(data, seed)
    notes += _doubts(train, val)
    classes = (
        _class_names([*train, *val], of_list=bool(data.train or data.val)) if classes is None else classes
    )
    # Fix the labels before removing videos, so that a class keeps its label even if it loses all its videos.
    train, val, left_out = _drop_quarantined(data, train, val)
    notes += [left_out] if left_out else []
    split = Split(_samples(train, classes, data), _samples(val, classes, data), tuple(classes), tuple(notes))
    untrained = {s.label for s in split.val} - {s.label for s in split.train}
    if untrained and split.train:
        names = ", ".join(split.classes[label] for label in sorted(untrained))
        split = dataclasses.replace(split, warnings=(*notes, f"no training video shows {names}"))
    return split


def read_test_samples(
    data: Data,
    *,
    classes: Sequence[str],
    seed: int | None = None,
    on_event: OnEvent = ignore,
) -> tuple[Sample, ...]:
    """Find the videos to test on.

    The function returns the videos of the list `data.val` if this list is set. Otherwise, it returns the
    videos in ROOT/val if this folder exists. Otherwise, it returns videos from ROOT's class folders.

    Args:
        data: the function uses `root`, `val`, `quarantine`, `flow` and `val_fraction`.
        classes: class names in the order of the labels. Each video must belong to one of these classes.
        seed: seed with which training chose validation videos from ROOT's class folders. The function then
            returns only these validation videos. If `seed` is None, it returns all videos of the folders.
        on_event: receives a `Note` with the number of videos that the quarantine list excludes. It also
            receives a `Note` if all videos are tested because `seed` is None and ROOT has no val/ folder.

    Raises:
        UserError: no videos are found, or a file or folder does not have the expected content.
    """
    if data.val:
        entries, notes = _existing_videos(Path(data.val), data.root, "val")
    elif seed is None:
        sets = find_sets(_root(data))
        entries, more = videos_by_class(sets.val or sets.train)
        notes = [*sets.notes, *more, *([] if sets.val else [NO_VAL_WARNING.format(root=data.root)])]
    else:
        _, entries, _ = _folders(data, seed)
        notes = []
    notes += _doubts([], entries)
    _, entries, left_out = _drop_quarantined(data, [], entries)
    for note in [*notes, *([left_out] if left_out else [])]:
        on_event(Note(note))
    return _samples(entries, classes, data)


def _folders(data: Data, seed: int) -> tuple[list[ListedVideo], list[ListedVideo], list[str]]:
    """Return training videos, validation videos and notes."""
    sets = find_sets(_root(data))
    if sets.val:
        train, notes = videos_by_class(sets.train) if sets.train.exists() else ([], [])
        val, more = videos_by_class(sets.val)
        return train, val, [*sets.notes, *notes, *more]
    found, notes = videos_by_class(sets.train)
    train, val = split_off_validation(found, data.val_fraction, seed)
    warning = LEAK_WARNING.format(root=data.root, part=data.val_fraction)
    return train, val, [*sets.notes, *notes, *([warning] if val else [])]


def _root(data: Data) -> Path:
    if not data.root:
        raise UserError("no videos given: set a folder (--data.root) or lists (--data.train, --data.val)")
    return Path(data.root)


def listed_videos(list_: Path, *, root: str = "") -> list[Path]:
    """Return the paths of the videos in a list. The videos need not exist.

    Args:
        list_: path of the list.
        root: folder that the paths in the list are relative to; "" means the folder that contains the list.

    Raises:
        UserError: the list cannot be read, or is empty.
    """
    return [entry.path for entry in _read_list(list_, root)[0]]


def _existing_videos(path: Path, root: str, role: Role) -> tuple[list[ListedVideo], list[str]]:
    entries, notes = _read_list(path, root, role)
    for number, entry in enumerate(entries, 1):
        if not split_part(entry.path)[0].exists():
            hint = "" if number > 1 else "; if the first line is a header, it must name path and label"
            raise UserError(f"{path}: entry {number}: no such video {entry.path}{hint}")
    return entries, notes


def _read_list(path: Path, root: str, role: Role = "train") -> tuple[list[ListedVideo], list[str]]:
    return read_list(path, base=Path(root) if root else path.parent, role=role)


def _doubts(train: list[ListedVideo], val: list[ListedVideo]) -> list[str]:
    """Return notes about videos that are in both the training and the validation set, or have two labels."""
    places = {part: _by_place(entries) for part, entries in (("train", train), ("val", val))}
    # Two parts of one video show the same place and people.
    files = [{str(split_part(place)[0]) for place in places[part]} for part in ("train", "val")]
    both = sorted(files[0] & files[1])
    notes = []
    if both:
        notes.append(
            f"{len(both)} videos are in the training set and in the validation set, so the validation "
            f"accuracy is too high: {abbreviate(both, 3)}"
        )
    labels: dict[str, set[str]] = defaultdict(set)
    for found in places.values():
        for place, own in found.items():
            labels[place] |= own
    if several := sorted(place for place, own in labels.items() if len(own) > 1):
        notes.append(f"{len(several)} videos have two labels: {abbreviate(several, 3)}")
    return notes


def _by_place(entries: list[ListedVideo]) -> dict[str, set[str]]:
    """Return path → labels for each video. In the path, symbolic links to folders are resolved."""
    found: dict[str, set[str]] = defaultdict(set)
    folders: dict[Path, Path] = {}
    for entry in entries:
        path = Path(os.path.abspath(entry.path))  # noqa: PTH100 (`resolve` would look up every file)
        if path.parent not in folders:
            folders[path.parent] = path.parent.resolve()
        found[str(folders[path.parent] / path.name)].add(entry.label)
    return found


def _drop_quarantined(
    data: Data, train: list[ListedVideo], val: list[ListedVideo]
) -> tuple[list[ListedVideo], list[ListedVideo], str]:
    """Remove the videos that the quarantine list names. Also return a message with the number of removals."""
    if not data.quarantine:
        return train, val, ""
    path = Path(data.quarantine)
    base = Path(data.root) if data.root else path.parent
    # Parts are compared by their values: 1.0 is 1.
    named = {split_part((base / line).absolute()) for line in read_lines(path)}
    kept_train, kept_val = (
        [e for e in entries if not {place := split_part(e.path.absolute()), (place[0], None)} & named]
        for entries in (train, val)
    )
    if len(kept_train) < bool(train) or len(kept_val) < bool(val):
        raise UserError(f"{path}: the quarantine list excludes all training videos or all test videos")
    gone = len(train) - len(kept_train), len(val) - len(kept_val)
    counts = f"{gone[0]} training and {gone[1]} validation videos" if train else f"{gone[1]} videos"
    return kept_train, kept_val, f"{path}: {counts} left out, of {len(named)} that it names"


def _class_names(entries: list[ListedVideo], *, of_list: bool) -> tuple[str, ...]:
    labels = {entry.label for entry in entries}
    if not of_list or not all(label.isdigit() for label in labels):
        return tuple(sorted(labels))
    numbers = {int(label) for label in labels}
    absent = next(number for number in range(len(numbers) + 1) if number not in numbers)
    if absent < max(numbers):
        raise UserError(
            f"no video in the lists has label {absent}, but one has label {max(numbers)}: number "
            "the classes from 0 without gaps, or give a file of class names (--data.class-names)"
        )
    return tuple(str(number) for number in sorted(numbers))


def _samples(entries: list[ListedVideo], classes: Sequence[str], data: Data) -> tuple[Sample, ...]:
    labels = {name: label for label, name in enumerate(classes)}
    # A list may contain labels (numbers that count from 0) instead of class names: accept both.
    # If some class names are numbers themselves, every number in a list is a class name, not a label.
    if not any(name.isdigit() for name in classes):
        labels |= {str(label): label for label in range(len(classes))}
    flows = [""] * len(entries) if not data.flow else _flows(entries, data)
    return tuple(
        Sample(str(e.path), _label(e, labels, classes), e.frames, e.shard_entry, flow)
        for e, flow in zip(entries, flows, strict=True)
    )


def _flows(entries: list[ListedVideo], data: Data) -> Sequence[str | ShardEntry]:
    lists = Path(data.train or data.val).parent  # paths in a list are relative to its folder
    return find_flows(entries, root=Path(data.root) if data.root else lists, flow=Path(data.flow))


def _label(entry: ListedVideo, labels: dict[str, int], classes: Sequence[str]) -> int:
    if entry.label in labels:
        return labels[entry.label]
    if entry.label.isdecimal() and (number := str(int(entry.label))) in labels:  # 01 means 1
        return labels[number]
    known = f"the {len(classes)} known classes: {abbreviate(list(classes), 10)}"
    raise UserError(f"{entry.path}: class '{entry.label}' is not one of {known}")
