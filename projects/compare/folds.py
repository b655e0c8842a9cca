"""Cross-validation by group: each clip is tested once, by a network that saw no clip of its group.

    python -m projects.compare.folds arrow6 arrow30 ways
    python -m projects.compare.run --benchmark ways --data ways --folds 5 --out results/ways.csv …
    python -m projects.compare.ways results/ways.csv --data ways --case tsm

The first command merges data sets whose clips are played in both directions: it links the clips of train/ and
val/ into one folder. The clips of one scene or film form a group, and file names begin with the group:

    ways/Diving/Diving-g08__v_Diving_g08_c01.mp4

arrow6 has three actions. From arrow30, only actions with a visible direction are used (WAY_RICH).
"""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.common import one_line_errors
from bench.flags import command
from tanet.data.find_videos import find_videos
from tanet.errors import UserError

WAY_RICH = ("stand", "golf", "pick", "push", "throw", "kick_ball", "shoot_bow", "pour")
MARK = "__"


@one_line_errors()
def main() -> None:
    parser = command("projects.compare.folds", __doc__)
    parser.add_argument("arrow6", type=Path)
    parser.add_argument("arrow30", type=Path)
    parser.add_argument("out", type=Path, help="folder to write")
    flags = parser.parse_args()
    links = [*linked(flags.arrow6), *linked(flags.arrow30, actions=WAY_RICH)]
    if not links:
        raise SystemExit(f"no clips in {flags.arrow6} and {flags.arrow30}")
    for file, name in links:
        link = flags.out / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(file.resolve())
    groups = {group_of(name) for _, name in links}
    print(f"{len(links)} files of {len(groups)} groups in {flags.out}")


def linked(root: Path, *, actions: Sequence[str] = ()) -> list[tuple[Path, Path]]:
    """Return the clips of a data set, and the paths that they get: CLASS/GROUP__NAME.

    Args:
        root: folder with train/CLASS/ and val/CLASS/. A file name contains its group, such as g08. The groups
            of UCF-101, whose files begin with v_ACTION, belong to one action.
        actions: classes to take, in both directions; none for all.
    """
    found = []
    for file in sorted(file for part in ("train", "val") for file in (root / part).glob("*/*.mp4")):
        action = file.parent.name.removesuffix("Reversed")
        if actions and action not in actions:
            continue
        if (number := re.search(r"g\d+", file.stem)) is None:
            raise SystemExit(f"{file}: the name contains no group, such as g08")
        group = f"{action}-{number[0]}" if file.stem.startswith("v_") else number[0]
        found.append((file, Path(file.parent.name) / f"{group}{MARK}{file.name}"))
    return found


def group_of(path: str | Path) -> str:
    """Return the group of a clip, which its name begins with."""
    group, mark, _ = Path(path).name.partition(MARK)
    if not mark:
        raise UserError(f"{path}: the name must begin with a group, as in g08{MARK}NAME.mp4; see {__name__}")
    return group


def assign(clips: Iterable[Path], *, folds: int) -> dict[str, int]:
    """Assign each group to a fold, so that the folds have about equally many clips of each class.

    The largest groups come first; each goes to the fold that has the fewest clips of the group's classes.

    Raises:
        UserError: there are fewer groups than folds, or the name of a clip has no group.
    """
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for clip in clips:
        groups[group_of(clip)][clip.parent.name] += 1
    if len(groups) < folds:
        raise UserError(f"{folds} folds need as many groups of clips, but there are {len(groups)}")
    names = sorted(groups)
    random.Random(0).shuffle(names)
    names.sort(key=lambda name: -groups[name].total())
    filled = [Counter[str]() for _ in range(folds)]
    found = {}
    for name in names:
        crowds = [(sum(fold[label] for label in groups[name]), fold.total()) for fold in filled]
        found[name] = crowds.index(min(crowds))
        filled[found[name]] += groups[name]
    return found


def write_lists(root: Path, folder: Path, *, folds: int, fold: int) -> tuple[Path, Path]:
    """Write the lists of training and test clips of one fold into `folder`, and return their paths."""
    clips = [clip for clip in find_videos(root) if clip.parent.parent == root]
    if not clips:
        raise UserError(f"{root}: no clips; make the folder with python -m projects.compare.folds")
    of_group = assign(clips, folds=folds)
    lists: Mapping[str, list[str]] = {"train": [], "val": []}
    for clip in clips:
        part = "val" if of_group[group_of(clip)] == fold else "train"
        lists[part].append(f"{clip.relative_to(root)} {clip.parent.name}")
    paths = []
    for part, lines in lists.items():
        paths.append(folder / f"{part}-{fold}-of-{folds}.txt")
        paths[-1].write_text("\n".join(lines) + "\n")
    return paths[0], paths[1]


if __name__ == "__main__":
    main()
