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

from tanet.data.annotations import lines

# Where annotation files are looked for, beside the videos and one folder above them.
FOLDERS = (".", "annotations", "labels", "ucfTrainTestlist", "testTrainMulti_7030_splits")
Lists = Mapping[str, Sequence[str]]
"""Lists by the names of their files; their lines."""


@dataclass(frozen=True)
class Entry:
    """One labelled video."""

    name: str
    """Of its file without the suffix, or of its folder of frame pictures."""
    label: str


@dataclass(frozen=True)
class Listing:
    """The videos of a split, there or not."""

    entries: tuple[Entry, ...]
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
    read: Callable[[Lists, str, Sequence[str]], Listing]
    """Lists, split, lines of the file of classes → listing."""

    @property
    def folds(self) -> bool:
        """Whether it is split in several ways."""
        return any("{fold}" in name for names in self.lists.values() for name in names)


def listing(
    dataset: str, *, split: str, root: Path, annotations: Path | None = None, fold: int = 1
) -> Listing:
    """Read the official annotation files of a data set.

    Args:
        dataset: one of DATASETS.
        split: one that it has, train or val, say.
        root: folder of the videos; annotation files are looked for there, above, and in FOLDERS.
        annotations: their folder, or the list itself, where they lie elsewhere.
        fold: which of the official splits, where there are several (UCF-101 and HMDB-51: 1, 2, 3).

    Raises:
        ValueError: no such data set or split, or an annotation file is missing or not as published.
    """
    if dataset not in DATASETS:
        raise ValueError(f"unknown data set '{dataset}': known are {', '.join(DATASETS)}")
    known = DATASETS[dataset]
    if split not in known.lists:
        raise ValueError(f"{dataset} has no labelled split '{split}': it has {', '.join(known.lists)}")
    if fold != 1 and not known.folds:
        raise ValueError(f"{dataset} is split in one way only: there is no fold {fold}")
    patterns = tuple(name.format(fold=fold) for name in known.lists[split])
    files = _lists(patterns, root=root, annotations=annotations)
    names = lines(_first((files[0].parent,), known.names)[0]) if known.names else []
    try:
        found = known.read({file.name: lines(file) for file in files}, split, names)
        _check(found)
    except (KeyError, TypeError, ValueError) as error:
        cause = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{files[0]}: not as {dataset} publishes it: {cause}") from error
    if len(found.classes) == known.size:
        return found
    note = f"{files[0]}: {len(found.classes)} classes, where {dataset} has {known.size}"
    return replace(found, notes=(note,))


def _lists(patterns: tuple[str, ...], *, root: Path, annotations: Path | None) -> list[Path]:
    """The list of a split; where each class has its own, all of them."""
    if annotations is None:
        return _first([base / name for base in (root, root.absolute().parent) for name in FOLDERS], patterns)
    if not annotations.exists():
        raise ValueError(f"{annotations}: no such file or folder")
    if annotations.is_dir():
        return _first([annotations], patterns)
    if "*" in patterns[0]:
        raise ValueError(f"{annotations}: the list of one class; name the folder of all {patterns[0]}")
    return [annotations]


def _first(folders: Sequence[Path], patterns: Sequence[str]) -> list[Path]:
    """The files of the first name that is there, in the first folder that has one."""
    for folder in folders:
        for pattern in patterns:
            if files := sorted(folder.glob(pattern)):
                return files
    raise ValueError(
        f"{folders[0]}: no {' or '.join(patterns[:2])}: name the folder of the official annotation files "
        "(--annotations)"
    )


def _check(found: Listing) -> None:
    if not found.entries:
        raise ValueError("it lists no video of this split")
    classes = set(found.classes)
    for entry in found.entries:
        if entry.label not in classes:
            raise ValueError(f"class '{entry.label}' of video {entry.name} is not among the class names")


def _kinetics(lists: Lists, split: str, _: Sequence[str]) -> Listing:
    (rows,) = (list(csv.DictReader(text)) for text in lists.values())
    # Of published lists some call it val, some validate; a list of all splits tells them apart so.
    mine = [row for row in rows if not row.get("split") or row["split"].startswith(split)]
    entries = tuple(
        Entry(f"{row['youtube_id']}_{_second(row['time_start'])}_{_second(row['time_end'])}", row["label"])
        for row in mine
    )
    return Listing(entries, tuple(sorted({row["label"] for row in rows})))


def _second(time: str) -> str:
    return f"{int(float(time)):06d}"


def _semicolons(lists: Lists, _: str, names: Sequence[str]) -> Listing:
    (text,) = lists.values()
    pairs = [line.partition(";") for line in text]
    return Listing(tuple(Entry(name, label) for name, _, label in pairs), tuple(names))


def _templates(lists: Lists, _: str, names: Sequence[str]) -> Listing:
    (text,) = lists.values()
    numbers = json.loads("\n".join(names))
    entries = [
        Entry(str(row["id"]), row["template"].replace("[", "").replace("]", ""))
        for row in json.loads("\n".join(text))
    ]
    return Listing(tuple(entries), tuple(sorted(numbers, key=lambda name: int(numbers[name]))))


def _ucf(lists: Lists, _: str, names: Sequence[str]) -> Listing:
    (text,) = lists.values()
    paths = [PurePosixPath(line.split()[0]) for line in text]
    numbered = sorted((int(number), name) for number, name in (line.split() for line in names))
    entries = tuple(Entry(path.stem, path.parent.name) for path in paths)
    return Listing(entries, tuple(name for _, name in numbered))


def _hmdb(lists: Lists, split: str, _: Sequence[str]) -> Listing:
    mark = {"train": "1", "test": "2"}[split]
    entries, classes = [], []
    for file, text in sorted(lists.items()):
        label = file.rpartition("_test_split")[0]
        classes.append(label)
        rows = [line.rsplit(maxsplit=1) for line in text]
        entries += [Entry(PurePosixPath(name).stem, label) for name, part in rows if part == mark]
    return Listing(tuple(entries), tuple(sorted(classes)))


def _of_kinetics(size: int) -> Dataset:
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
    return Dataset(size, lists, (), _kinetics)


def _of_twenty_bn(stem: str, size: int) -> Dataset:
    lists = {"train": (f"{stem}-train.csv",), "val": (f"{stem}-validation.csv",)}
    return Dataset(size, lists, (f"{stem}-labels.csv",), _semicolons)


DATASETS = {
    "kinetics400": _of_kinetics(400),
    "kinetics600": _of_kinetics(600),
    "kinetics700": _of_kinetics(700),
    "something-v1": _of_twenty_bn("something-something-v1", 174),
    "something-v2": Dataset(
        174,
        {
            "train": ("something-something-v2-train.json", "train.json"),
            "val": ("something-something-v2-validation.json", "validation.json"),
        },
        ("something-something-v2-labels.json", "labels.json"),
        _templates,
    ),
    "ucf101": Dataset(
        101,
        {"train": ("trainlist0{fold}.txt",), "test": ("testlist0{fold}.txt",)},
        ("classInd.txt",),
        _ucf,
    ),
    "hmdb51": Dataset(
        51, {"train": ("*_test_split{fold}.txt",), "test": ("*_test_split{fold}.txt",)}, (), _hmdb
    ),
    "jester": _of_twenty_bn("jester-v1", 27),
}
