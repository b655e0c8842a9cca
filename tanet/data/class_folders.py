"""Find videos in class folders: ROOT/train/CLASS/video and ROOT/val/CLASS/video, or ROOT/CLASS/video.

The folders train/ and val/ may have other usual names (`SET_NAMES`), in upper or lower case. If there is a
training set but no validation set, the test set is used for validation. If ROOT contains indexes of shards,
ROOT/{train,val,videos}.index.json, the folders are ignored.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tanet.data.find_videos import FoundVideos, search_videos, visible_entries
from tanet.data.listed_video import ListedVideo
from tanet.data.shards.format import index_path, read_index
from tanet.errors import UserError, abbreviate
from tanet.runtime.files import text_bytes
from tanet.runtime.folder_lock import NAME

SET_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True)
class Sets:
    """Paths of the training set and the validation set. Each path is a folder or an index of shards."""

    train: Path
    val: Path | None
    """None if there is no validation set. Validation videos can then come only from the training set."""
    notes: tuple[str, ...] = ()
    """Notes for the user about folders that are ignored, or used for validation in place of val/."""


def find_sets(root: Path) -> Sets:
    """Find the training set and the validation set in the folder `root`.

    Raises:
        UserError: `root` is not a folder, or two folders could both be the same set.
    """
    train, val, whole = (index_path(root, part) for part in ("train", "val", "videos"))
    if whole.exists() or train.exists() or val.exists():
        return Sets(whole, None) if whole.exists() else Sets(train, val if val.exists() else None)
    folders = [entry for entry in visible_entries(root) if entry.is_dir()]
    sets: dict[str, Path] = {}
    for kind, names in SET_NAMES.items():
        found = [folder for folder in folders if folder.name.lower() in names]
        if len(found) > 1:
            both = " and ".join(f"{folder.name}/" for folder in found[:2])
            raise UserError(f"{root}: {both} could both be the {kind} set; rename one of them")
        if found:
            sets[kind] = found[0]
    if "train" not in sets and "val" not in sets:
        return Sets(root, None)  # here, a folder with the name test may be a class
    notes, val_folder = [], sets.get("val")
    if val_folder is None and "test" in sets:
        val_folder = sets["test"]
        notes.append(f"{root}: there is no val/ folder, so {val_folder.name}/ is used for validation")
    left_out = [folder.name for folder in folders if folder not in (sets.get("train"), val_folder)]
    if left_out:
        used = " and ".join(f"{folder.name}/" for folder in (sets.get("train"), val_folder) if folder)
        notes.append(f"{root}: {abbreviate([f'{name}/' for name in left_out])} left out: the sets are {used}")
    return Sets(sets.get("train", root / "train"), val_folder, tuple(notes))


def videos_by_class(folder: Path) -> tuple[list[ListedVideo], list[str]]:
    """Return the videos of a set, labelled with the names of their classes. Also return notes for the user.

    The notes tell which files and links were ignored. `folder` is a folder or an index of shards.

    Raises:
        UserError: the class folders contain no videos, or one of them contains no videos.
    """
    if folder.suffix == ".json" and folder.is_file():
        rows, names = read_index(folder)
        videos = [
            ListedVideo(folder.parent / row.video, names[row.label], row.frames, row.shard_entry)
            for row in rows
        ]
        return videos, []
    videos: list[ListedVideo] = []
    total = FoundVideos()
    notes: list[str] = []
    class_folders = [entry for entry in visible_entries(folder) if entry.is_dir()]
    for class_folder in class_folders:
        found = search_videos(class_folder, above=folder)
        if not found.videos and _holds_runs(class_folder):
            notes.append(f"{class_folder}: left out, because it holds trainings and no videos")
            continue
        if not found.videos:
            left_out = f" ({'; '.join(found.notes(class_folder))})" if found.left_out else ""
            raise UserError(
                f"{class_folder}: this class folder holds no videos; add some or remove it{left_out}"
            )
        videos += [ListedVideo(path, class_folder.name) for path in found.videos]
        total.left_out += found.left_out
        total.loops += found.loops
    if not videos:
        raise UserError(_no_classes(folder))
    return videos, notes + total.notes(folder)


def _holds_runs(folder: Path) -> bool:
    """Return whether a folder contains the folder of a training, for example runs/ of `tanet train`."""
    return any(next(folder.rglob(name), None) for name in ("recipe.json", NAME))


def _no_classes(folder: Path) -> str:
    """Return an error message for a folder in which no class folders with videos were found."""
    if found := search_videos(folder).videos:
        own = folder.resolve()
        return (
            f"{folder}: no class folders, only {len(found)} videos; expected FOLDER/CLASS/video: "
            f"set --data.root {own.parent} if {own.name} is a class"
        )
    return f"{folder}: no class folders with videos in it; expected FOLDER/CLASS/video"


def one_class(root: Path, name: str) -> str:
    """Return an error message for a data set with only one class. Suggest a better value of --data.root."""
    inside = root / name
    folders = [entry.name for entry in visible_entries(inside) if entry.is_dir()] if inside.is_dir() else []
    if len(folders) > 1:
        return (
            f"only one class found ({name}), which contains {abbreviate(folders, 3)}: "
            f"set --data.root {inside} if those are the classes"
        )
    return f"only one class found ({name}): training needs at least two class folders in {root}"


def split_off_validation(
    videos: list[ListedVideo], fraction: float, seed: int
) -> tuple[list[ListedVideo], list[ListedVideo]]:
    """Split videos into training and validation videos. Of each class, `fraction` is for validation."""
    if not 0 <= fraction < 1:
        raise UserError(f"val_fraction must be in [0, 1), not {fraction}")
    train, val = [], []
    for name in sorted({video.label for video in videos}):
        of_class = [video for video in videos if video.label == name]
        count = min(len(of_class) - 1, max(1, round(fraction * len(of_class)))) if fraction else 0
        # Choose by a hash of the names. Then adding a video moves at most one other into or out of `val`.
        chosen = set(sorted(of_class, key=lambda video: _hash(video, seed))[:count])
        val += [video for video in of_class if video in chosen]
        train += [video for video in of_class if video not in chosen]
    return train, val


def _hash(video: ListedVideo, seed: int) -> bytes:
    return hashlib.sha256(text_bytes(f"{seed}/{video.label}/{video.path.name}")).digest()
