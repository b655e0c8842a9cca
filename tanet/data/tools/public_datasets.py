"""Read the annotation files of public data sets. The files and the videos have these names and formats:

    data set          list of a split                              classes                  a video
    kinetics400, …    train.csv: label,youtube_id,time_start,…     from the list, sorted    ID_000010_000020
    something-v1      something-something-v1-train.csv: id;label   …-labels.csv             folder of frames
    something-v2      something-something-v2-train.json: template  …-labels.json            ID.webm
    jester            jester-v1-train.csv: id;label                …-labels.csv             folder of frames
    ucf101            trainlist01.txt: CLASS/name.avi              classInd.txt             name.avi
    hmdb51            CLASS_test_split1.txt: name.avi 0|1|2        from the lists' names    name.avi

In a list of hmdb51, 1 marks a training video and 2 marks a test video. Videos are found by name alone, so the
user may arrange and name the folders in any way.
"""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from tanet.data.annotations import read_lines
from tanet.errors import UserError

# Annotation files are searched for in these folders, below the folder of the videos and below its parent.
FOLDERS = (".", "annotations", "labels", "ucfTrainTestlist", "testTrainMulti_7030_splits")
Lists = Mapping[str, Sequence[str]]
"""File name of a list → lines of the list."""


@dataclass(frozen=True)
class DatasetVideo:
    """One labelled video."""

    name: str
    """Name of the video file without the suffix, or name of the folder of frame images."""
    label: str


@dataclass(frozen=True)
class DatasetListing:
    """The videos of a split according to the annotation files. The videos need not exist."""

    entries: tuple[DatasetVideo, ...]
    classes: tuple[str, ...]
    """Class names in the published order."""
    notes: tuple[str, ...] = ()
    """Notes for the user about the annotation files."""


@dataclass(frozen=True)
class Dataset:
    """Names and formats of the annotation files of a data set."""

    size: int
    """Number of classes."""
    lists: Mapping[str, tuple[str, ...]]
    """Possible file names of each split's list; the first match is used. {fold} is the fold number."""
    names: tuple[str, ...]
    """Possible file names of the class names; the first match is used. () if the lists define the classes."""
    read: Callable[[Lists, str, Sequence[str]], DatasetListing]
    """Function that parses the files: (lists, split, lines of the class file) → listing."""

    @property
    def folds(self) -> bool:
        """Whether the data set has several official splits (folds)."""
        return any("{fold}" in name for names in self.lists.values() for name in names)


def read_listing(
    dataset: str, *, split: str, root: Path, annotations: Path | None = None, fold: int = 1
) -> DatasetListing:
    """Read the official annotation files of a data set.

    Args:
        dataset: name of the data set, one of DATASETS.
        split: name of a split of the data set, for example train or val.
        root: folder of the videos.
        annotations: folder of the annotation files, or the file with the list. None searches the FOLDERS
            below `root` and below the parent of `root`.
        fold: number of the official split, for data sets with three official splits (UCF-101, HMDB-51).

    Raises:
        UserError: the data set or split is unknown, or an annotation file is missing or malformed.
    """
    if dataset not in DATASETS:
        raise UserError(f"unknown data set '{dataset}': choose from {', '.join(DATASETS)}")
    known = DATASETS[dataset]
    if split not in known.lists:
        raise UserError(f"{dataset} has no labelled split '{split}': it has {', '.join(known.lists)}")
    if fold != 1 and not known.folds:
        raise UserError(f"{dataset} has only one official split: there is no fold {fold}")
    patterns = tuple(name.format(fold=fold) for name in known.lists[split])
    files = _list_files(patterns, root=root, annotations=annotations)
    names = read_lines(_first_existing((files[0].parent,), known.names)[0]) if known.names else []
    try:
        found = known.read({file.name: read_lines(file) for file in files}, split, names)
        _check(found)
    except (KeyError, TypeError, ValueError) as error:
        cause = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise UserError(f"{files[0]}: differs from the published format of {dataset}: {cause}") from error
    if len(found.classes) == known.size:
        return found
    note = f"{files[0]}: {len(found.classes)} classes, where {dataset} has {known.size}"
    return replace(found, notes=(note,))


def _list_files(patterns: tuple[str, ...], *, root: Path, annotations: Path | None) -> list[Path]:
    """Return the files with the list of a split: one file, or one file per class."""
    if annotations is None:
        return _first_existing(
            [base / name for base in (root, root.absolute().parent) for name in FOLDERS], patterns
        )
    if not annotations.exists():
        raise UserError(f"{annotations}: no such file or folder")
    if annotations.is_dir():
        return _first_existing([annotations], patterns)
    if "*" in patterns[0]:
        raise UserError(
            f"{annotations}: this is the list of one class; give the folder that holds all {patterns[0]}"
        )
    return [annotations]


def _first_existing(folders: Sequence[Path], patterns: Sequence[str]) -> list[Path]:
    """Search each folder for each pattern, in order. Return the files that match the first pattern found."""
    for folder in folders:
        for pattern in patterns:
            if files := sorted(folder.glob(pattern)):
                return files
    raise UserError(
        f"{folders[0]}: no {' or '.join(patterns[:2])} here; give the folder of the official annotation "
        "files with --annotations"
    )


def _check(found: DatasetListing) -> None:
    if not found.entries:
        raise UserError("the list contains no video of this split")
    classes = set(found.classes)
    for entry in found.entries:
        if entry.label not in classes:
            raise UserError(f"class '{entry.label}' of video {entry.name} is not among the class names")


def _parse_kinetics(lists: Lists, split: str, _: Sequence[str]) -> DatasetListing:
    (rows,) = (list(csv.DictReader(text)) for text in lists.values())
    # A list of all splits has a column `split`. Its entry for validation is "val" or "validate".
    mine = [row for row in rows if not row.get("split") or row["split"].startswith(split)]
    entries = tuple(
        DatasetVideo(
            f"{row['youtube_id']}_{_second(row['time_start'])}_{_second(row['time_end'])}", row["label"]
        )
        for row in mine
    )
    return DatasetListing(entries, tuple(sorted({row["label"] for row in rows})))


def _second(time: str) -> str:
    return f"{int(float(time)):06d}"


def _parse_semicolons(lists: Lists, _: str, names: Sequence[str]) -> DatasetListing:
    (text,) = lists.values()
    pairs = [line.partition(";") for line in text]
    return DatasetListing(tuple(DatasetVideo(name, label) for name, _, label in pairs), tuple(names))


def _parse_templates(lists: Lists, _: str, names: Sequence[str]) -> DatasetListing:
    (text,) = lists.values()
    numbers = json.loads("\n".join(names))
    entries = [
        DatasetVideo(str(row["id"]), row["template"].replace("[", "").replace("]", ""))
        for row in json.loads("\n".join(text))
    ]
    return DatasetListing(tuple(entries), tuple(sorted(numbers, key=lambda name: int(numbers[name]))))


def _parse_ucf(lists: Lists, _: str, names: Sequence[str]) -> DatasetListing:
    (text,) = lists.values()
    paths = [PurePosixPath(line.split()[0]) for line in text]
    numbered = sorted((int(number), name) for number, name in (line.split() for line in names))
    entries = tuple(DatasetVideo(path.stem, path.parent.name) for path in paths)
    return DatasetListing(entries, tuple(name for _, name in numbered))


def _parse_hmdb(lists: Lists, split: str, _: Sequence[str]) -> DatasetListing:
    mark = {"train": "1", "test": "2"}[split]
    entries, classes = [], []
    for file, text in sorted(lists.items()):
        label = file.rpartition("_test_split")[0]
        classes.append(label)
        rows = [line.rsplit(maxsplit=1) for line in text]
        entries += [DatasetVideo(PurePosixPath(name).stem, label) for name, part in rows if part == mark]
    return DatasetListing(tuple(entries), tuple(sorted(classes)))


def _kinetics_dataset(size: int) -> Dataset:
    def called(*splits: str) -> tuple[str, ...]:
        stems = (
            "{}",
            "kinetics_{}",
            f"kinetics{size}_{{}}",
            f"kinetics-{size}_{{}}",
            f"kinetics_{size}_{{}}",
        )
        return tuple(f"{stem.format(split)}.csv" for stem in stems for split in splits)

    lists = {"train": called("train"), "val": called("val", "validate"), "test": called("test")}
    return Dataset(size, lists, (), _parse_kinetics)


def _twenty_bn_dataset(stem: str, size: int) -> Dataset:
    lists = {"train": (f"{stem}-train.csv",), "val": (f"{stem}-validation.csv",)}
    return Dataset(size, lists, (f"{stem}-labels.csv",), _parse_semicolons)


DATASETS = {
    "kinetics400": _kinetics_dataset(400),
    "kinetics600": _kinetics_dataset(600),
    "kinetics700": _kinetics_dataset(700),
    "something-v1": _twenty_bn_dataset("something-something-v1", 174),
    "something-v2": Dataset(
        174,
        {
            "train": ("something-something-v2-train.json", "train.json"),
            "val": ("something-something-v2-validation.json", "validation.json"),
        },
        ("something-something-v2-labels.json", "labels.json"),
        _parse_templates,
    ),
    "ucf101": Dataset(
        101,
        {"train": ("trainlist0{fold}.txt",), "test": ("testlist0{fold}.txt",)},
        ("classInd.txt",),
        _parse_ucf,
    ),
    "hmdb51": Dataset(
        51, {"train": ("*_test_split{fold}.txt",), "test": ("*_test_split{fold}.txt",)}, (), _parse_hmdb
    ),
    "jester": _twenty_bn_dataset("jester-v1", 27),
}
