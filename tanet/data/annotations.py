"""Videos and their labels, from class folders, lists or shards.

    ROOT/train/CLASS/video  ROOT/val/CLASS/video     the split is given
    ROOT/CLASS/video                                 `val_fraction` of each class is for validation
    a list: lines `path label` or `path frames label` (TSN's and TSM's format), or CSV with a header:
    path,label and optionally frames, as `tanet data index` writes it; other columns are ignored
    ROOT/{train,val,videos}.index.json               shards of any of these; the videos keep their names

A video is a file, or a folder of frame pictures. A label is a number that counts from 0, or a class name.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tanet.data.find_videos import find_videos, visible_entries
from tanet.data.list_files import read_class_names, read_lines, read_list
from tanet.data.samples import Sample, Split
from tanet.data.shards.format import ShardEntry, index_path, read_index, shard_classes
from tanet.errors import UserError, abbreviate
from tanet.recipes.recipe import Data
from tanet.runtime.events import Note, OnEvent, ignore

LEAK_WARNING = (
    "{root} has no val/ folder: {part:.0%} of each class was set aside for validation. Videos cut from one "
    "recording can fall on both sides, and then the validation accuracy is too high."
)
NO_VAL_WARNING = "{root} has no val/ folder: all of its videos are tested, perhaps some used in training too."


@dataclass(frozen=True)
class _ListedVideo:
    path: Path
    label: str
    frames: int | None = None
    shard_entry: ShardEntry | None = None


def read_split(data: Data, *, classes: Sequence[str] | None = None, seed: int = 0) -> Split:
    """Find the videos that a recipe's data section describes.

    Args:
        data: the function uses `root`, `train`, `val`, `class_names`, `quarantine` and `val_fraction`.
        classes: class names in the order of the labels, if they are known already (from a checkpoint, for
            example); videos are matched to them by name.
        seed: seed that chooses the validation videos, if ROOT has no val/ folder.

    Raises:
        UserError: no videos are found, or a file or folder is not as expected; the message names it.
    """
    if classes is None and data.class_names:
        classes = read_class_names(Path(data.class_names))
    elif classes is None and not (data.train or data.val):
        classes = shard_classes(Path(data.root)) or None
    warnings: tuple[str, ...] = ()
    if data.train or data.val:
        train, val = (
            _existing_videos(Path(name), data.root) if name else [] for name in (data.train, data.val)
        )
    else:
        train, val, warnings = _folders(data, seed)
    classes = (
        _class_names([*train, *val], of_list=bool(data.train or data.val)) if classes is None else classes
    )
    # Drop videos only after the labels are fixed: a class keeps its label even if none of its videos is left.
    train, val, left_out = _drop_quarantined(data, train, val)
    warnings += (left_out,) if left_out else ()
    split = Split(_samples(train, classes), _samples(val, classes), tuple(classes), warnings)
    untrained = {s.label for s in split.val} - {s.label for s in split.train}
    if untrained and split.train:
        names = ", ".join(split.classes[label] for label in sorted(untrained))
        split = dataclasses.replace(split, warnings=(*warnings, f"no training video shows {names}"))
    return split


def read_test_samples(
    data: Data,
    *,
    classes: Sequence[str],
    seed: int | None = None,
    on_event: OnEvent = ignore,
) -> tuple[Sample, ...]:
    """Find the videos to test on: those of the list `val`, of ROOT/val, or of ROOT's class folders.

    Args:
        data: the function uses `root`, `val`, `quarantine` and `val_fraction`.
        classes: class names in the order of the labels; videos are matched to them by name.
        seed: the seed of training, if training set aside a part of ROOT's class folders: only that part is
            tested. None tests all videos.
        on_event: receives a `Note` with the number of videos that the quarantine list leaves out, and a
            `Note` if `seed` is None and ROOT has no val/ folder, so that all videos are tested.

    Raises:
        UserError: see `read_split`.
    """
    if data.val:
        entries = _existing_videos(Path(data.val), data.root)
    elif seed is None:
        train, val = _train_and_val_folders(data)
        entries = _videos_by_class(val or train)
        if not val:
            on_event(Note(NO_VAL_WARNING.format(root=data.root)))
    else:
        _, entries, _ = _folders(data, seed)
    _, entries, left_out = _drop_quarantined(data, [], entries)
    if left_out:
        on_event(Note(left_out))
    return _samples(entries, classes)


def _folders(data: Data, seed: int) -> tuple[list[_ListedVideo], list[_ListedVideo], tuple[str, ...]]:
    train_folder, val_folder = _train_and_val_folders(data)
    if val_folder:
        train = _videos_by_class(train_folder) if train_folder.exists() else []
        return train, _videos_by_class(val_folder), ()
    train, val = _split_off_validation(_videos_by_class(train_folder), data.val_fraction, seed)
    return train, val, (LEAK_WARNING.format(root=data.root, part=data.val_fraction),) if val else ()


def _train_and_val_folders(data: Data) -> tuple[Path, Path | None]:
    """Return the class folders or shard indexes for training and validation.

    The second is None if there is none: then validation videos can come only from the first.
    """
    if not data.root:
        raise UserError("no videos given: name a folder (--data.root) or lists (--data.train, --data.val)")
    root = Path(data.root)
    train, val, whole = (index_path(root, part) for part in ("train", "val", "videos"))
    if whole.exists() or train.exists() or val.exists():
        return (whole, None) if whole.exists() else (train, val if val.exists() else None)
    train, val = root / "train", root / "val"
    if val.is_dir():
        return train, val
    return (train if train.is_dir() else root), None


def _videos_by_class(folder: Path) -> list[_ListedVideo]:
    if folder.suffix == ".json" and folder.is_file():
        rows, names = read_index(folder)
        return [
            _ListedVideo(folder.parent / row.video, names[row.label], row.frames, row.shard_entry)
            for row in rows
        ]
    entries = []
    for class_folder in filter(Path.is_dir, visible_entries(folder)):
        videos = find_videos(class_folder)
        if not videos:
            raise UserError(f"{class_folder}: this class folder holds no videos")
        entries += [_ListedVideo(path, class_folder.name) for path in videos]
    if not entries:
        raise UserError(f"{folder}: no class folders with videos in it")
    return entries


def _split_off_validation(
    entries: list[_ListedVideo], fraction: float, seed: int
) -> tuple[list[_ListedVideo], list[_ListedVideo]]:
    if not 0 <= fraction < 1:
        raise UserError(f"val_fraction must be in [0, 1), not {fraction}")
    train, val = [], []
    for name in sorted({entry.label for entry in entries}):
        of_class = [entry for entry in entries if entry.label == name]
        count = min(len(of_class) - 1, max(1, round(fraction * len(of_class)))) if fraction else 0
        # Sort by a hash of each name, so that a video added later does not move others to the other part.
        chosen = set(sorted(of_class, key=lambda entry: _hash(entry, seed))[:count])
        val += [entry for entry in of_class if entry in chosen]
        train += [entry for entry in of_class if entry not in chosen]
    return train, val


def _hash(entry: _ListedVideo, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{entry.label}/{entry.path.name}".encode()).digest()


def listed_videos(list_: Path, *, root: str = "") -> list[Path]:
    """Return the paths that a list names, whether or not the videos exist.

    Args:
        list_: the list file.
        root: folder that the paths are relative to; "" for the folder of the list.

    Raises:
        UserError: the list cannot be read, or is empty.
    """
    return [entry.path for entry in _read_list(list_, root)]


def _existing_videos(path: Path, root: str) -> list[_ListedVideo]:
    entries = _read_list(path, root)
    for number, entry in enumerate(entries, 1):
        if not entry.path.exists():
            raise UserError(f"{path}: entry {number}: no such video {entry.path}")
    return entries


def _read_list(path: Path, root: str) -> list[_ListedVideo]:
    base = Path(root) if root else path.parent
    entries = []
    for number, (name, label, frames) in enumerate(read_list(path), 1):
        if not name or not label:
            raise UserError(f"{path}: entry {number} lacks its path or its label")
        if frames is not None and not (frames.isdigit() and int(frames)):
            raise UserError(f"{path}: entry {number} has '{frames}' where the number of frames should be")
        entries.append(_ListedVideo(base / name, label, int(frames) if frames else None))
    if not entries:
        raise UserError(f"{path}: the list is empty")
    return entries


def _drop_quarantined(
    data: Data, train: list[_ListedVideo], val: list[_ListedVideo]
) -> tuple[list[_ListedVideo], list[_ListedVideo], str]:
    """Drop the videos that the quarantine list names, and return a line that states their number."""
    if not data.quarantine:
        return train, val, ""
    path = Path(data.quarantine)
    base = Path(data.root) if data.root else path.parent
    named = {(base / line).absolute() for line in read_lines(path)}
    kept_train, kept_val = ([e for e in part if e.path.absolute() not in named] for part in (train, val))
    if len(kept_train) < bool(train) or len(kept_val) < bool(val):
        raise UserError(f"{path}: leaves no video to train on, or none to test on")
    gone = len(train) - len(kept_train), len(val) - len(kept_val)
    counts = f"{gone[0]} training and {gone[1]} validation videos" if train else f"{gone[1]} videos"
    return kept_train, kept_val, f"{path}: {counts} left out, of {len(named)} that it names"


def _class_names(entries: list[_ListedVideo], *, of_list: bool) -> tuple[str, ...]:
    labels = {entry.label for entry in entries}
    if not of_list or not all(label.isdigit() for label in labels):
        return tuple(sorted(labels))
    numbers = {int(label) for label in labels}
    absent = sorted(set(range(max(numbers) + 1)) - numbers)
    if absent:
        raise UserError(
            f"the lists have no video with label {absent[0]}, but one with {max(numbers)}: "
            "labels count from 0; or name the classes in a file (--data.class-names)"
        )
    return tuple(str(number) for number in sorted(numbers))


def _samples(entries: list[_ListedVideo], classes: Sequence[str]) -> tuple[Sample, ...]:
    labels = {name: label for label, name in enumerate(classes)}
    # A list may give numbers instead of names. But if the classes themselves are named 1, 2, 3, these numbers
    # are names, not the labels 0, 1, 2.
    if not any(name.isdigit() for name in classes):
        labels |= {str(label): label for label in range(len(classes))}
    return tuple(Sample(str(e.path), _label(e, labels, classes), e.frames, e.shard_entry) for e in entries)


def _label(entry: _ListedVideo, labels: dict[str, int], classes: Sequence[str]) -> int:
    if entry.label in labels:
        return labels[entry.label]
    if entry.label.isdecimal() and (number := str(int(entry.label))) in labels:  # 01 means 1
        return labels[number]
    known = f"{len(classes)} known ones: {abbreviate(list(classes), 10)}"
    raise UserError(f"{entry.path}: class '{entry.label}' is not one of {known}")
