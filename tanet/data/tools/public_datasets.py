"""Public data sets: how their annotation files are called and written, and what the videos are named.

    data set          list of a split                              classes                  a video
    kinetics400, …    train.csv: label,youtube_id,time_start,…     the list's, sorted       ID_000010_000020
    something-v1      something-something-v1-train.csv: id;label   …-labels.csv             folder of frames
    something-v2      something-something-v2-train.json: template  …-labels.json            ID.webm
    jester            jester-v1-train.csv: id;label                …-labels.csv             folder of frames
    ucf101            trainlist01.txt: CLASS/name.avi              classInd.txt             name.avi
    hmdb51            CLASS_test_split1.txt: name.avi 0|1|2        by the lists' names      name.avi

Videos are known by name alone: in which folders they lie, and how those are spelt, is the user's affair.
"""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from tanet.data.annotations import read_lines
from tanet.errors import UserError

# Where annotation files are looked for, beside the videos and one folder above them.
FOLDERS = (".", "annotations", "labels", "ucfTrainTestlist", "testTrainMulti_7030_splits")
Lists = Mapping[str, Sequence[str]]
"""Lists by the names of their files; their lines."""


@dataclass(frozen=True)
class DatasetVideo:
    """One labelled video."""

    name: str
    """Of its file without the suffix, or of its folder of frame pictures."""
    label: str


@dataclass(frozen=True)
class DatasetListing:
    """The videos of a split, there or not."""

    entries: tuple[DatasetVideo, ...]
    classes: tuple[str, ...]
    """Names in the published order."""
    notes: tuple[str, ...] = ()
    """What the user should know about the annotation files."""


@dataclass(frozen=True)
class Dataset:
    """The annotation files of a data set."""

    size: int
    """Its number of classes."""
    lists: Mapping[str, tuple[str, ...]]
    """Split → names that its list goes by, the first that is there counts; {fold}: which split of several."""
    names: tuple[str, ...]
    """Names that the file of classes goes by; none where the lists tell the classes."""
    read: Callable[[Lists, str, Sequence[str]], DatasetListing]
    """Lists, split, lines of the file of classes → listing."""

    @property
    def folds(self) -> bool:
        """Whether it is split in several ways."""
        return any("{fold}" in name for names in self.lists.values() for name in names)


def read_listing(
    dataset: str, *, split: str, root: Path, annotations: Path | None = None, fold: int = 1
) -> DatasetListing:
    """Read the official annotation files of a data set.

    Args:
        dataset: one of DATASETS.
        split: one that it has, train or val, say.
        root: folder of the videos; annotation files are looked for there, above, and in FOLDERS.
        annotations: their folder, or the list itself, where they lie elsewhere.
        fold: which of the official splits, where there are several (UCF-101 and HMDB-51: 1, 2, 3).

    Raises:
        UserError: no such data set or split, or an annotation file is missing or not as published.
    """
    if dataset not in DATASETS:
        raise UserError(f"unknown data set '{dataset}': known are {', '.join(DATASETS)}")
    known = DATASETS[dataset]
    if split not in known.lists:
        raise UserError(f"{dataset} has no labelled split '{split}': it has {', '.join(known.lists)}")
    if fold != 1 and not known.folds:
        raise UserError(f"{dataset} is split in one way only: there is no fold {fold}")
    patterns = tuple(name.format(fold=fold) for name in known.lists[split])
    files = _list_files(patterns, root=root, annotations=annotations)
    names = read_lines(_first_existing((files[0].parent,), known.names)[0]) if known.names else []
    try:
        found = known.read({file.name: read_lines(file) for file in files}, split, names)
        _check(found)
    except (KeyError, TypeError, ValueError) as error:
        cause = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise UserError(f"{files[0]}: not as {dataset} publishes it: {cause}") from error
    if len(found.classes) == known.size:
        return found
    note = f"{files[0]}: {len(found.classes)} classes, where {dataset} has {known.size}"
    return replace(found, notes=(note,))


def _list_files(patterns: tuple[str, ...], *, root: Path, annotations: Path | None) -> list[Path]:
    """The list of a split; where each class has its own, all of them."""
    if annotations is None:
        return _first_existing(
            [base / name for base in (root, root.absolute().parent) for name in FOLDERS], patterns
        )
    if not annotations.exists():
        raise UserError(f"{annotations}: no such file or folder")
    if annotations.is_dir():
        return _first_existing([annotations], patterns)
    if "*" in patterns[0]:
        raise UserError(f"{annotations}: the list of one class; name the folder of all {patterns[0]}")
    return [annotations]


def _first_existing(folders: Sequence[Path], patterns: Sequence[str]) -> list[Path]:
    """The files of the first name that is there, in the first folder that has one."""
    for folder in folders:
        for pattern in patterns:
            if files := sorted(folder.glob(pattern)):
                return files
    raise UserError(
        f"{folders[0]}: no {' or '.join(patterns[:2])}: name the folder of the official annotation files "
        "(--annotations)"
    )


def _check(found: DatasetListing) -> None:
    if not found.entries:
        raise UserError("it lists no video of this split")
    classes = set(found.classes)
    for entry in found.entries:
        if entry.label not in classes:
            raise UserError(f"class '{entry.label}' of video {entry.name} is not among the class names")


def _parse_kinetics(lists: Lists, split: str, _: Sequence[str]) -> DatasetListing:
    (rows,) = (list(csv.DictReader(text)) for text in lists.values())
    # Of published lists some call it val, some validate; a list of all splits tells them apart so.
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
