"""Make the data set arrow6 from UCF-101: clips of three actions, and the same clips played backwards.

    python -m projects.compare.arrow6_videos UCF-101 arrow6

UCF-101 (Soomro et al. 2012, https://www.crcv.ucf.edu/data/UCF101.php) has one folder per action, with files
such as v_Diving_g01_c01.avi. projects/compare/arrow6_clips.txt lists the clips. They come from UCF-101's
split 1, so no scene is in both train/ and val/. The new files are h264, 170×128. The rows in results/ were
measured on files of 172×128 from another encoder, so new rows will differ from them slightly.
"""

from functools import partial
from pathlib import Path

import torch

from bench.common import one_line_errors
from bench.flags import command
from tanet.data.transforms import resize_short_side
from tanet.runtime.device import available_cores
from tanet.runtime.process_pool import map_in_order
from tanet.synthetic import write_video
from tanet.video import open_video

CLIPS = Path(__file__).with_name("arrow6_clips.txt")
SHORT_SIDE = 128


@one_line_errors()
def main() -> None:
    parser = command("projects.compare.arrow6_videos", __doc__)
    parser.add_argument("ucf", type=Path, help="UCF-101, with Archery/, BasketballDunk/ and Diving/")
    parser.add_argument("out", type=Path, help="folder to write; finished clips in it are kept")
    parser.add_argument(
        "--clips", type=Path, default=CLIPS, help="list of clips, one per line: train/ACTION/NAME"
    )
    parser.add_argument("--workers", type=int, default=available_cores())
    flags = parser.parse_args()
    names = flags.clips.read_text().split()
    files = [flags.ucf / f"{name.partition('/')[2]}.avi" for name in names]
    if missing := [file for file in files if not file.is_file()]:
        raise SystemExit(f"{len(missing)} of {len(files)} clips do not exist; the first is {missing[0]}")
    make = partial(both_ways, out=flags.out)
    for name in map_in_order(make, list(zip(files, names, strict=True)), workers=flags.workers):
        print(name, flush=True)


def both_ways(clip: tuple[Path, str], *, out: Path) -> str:
    """Write a clip to out/train/ACTION/NAME.mp4, and its reverse to out/train/ACTIONReversed/NAME.mp4.

    Args:
        clip: file of UCF-101, and train/ACTION/NAME.
        out: folder to write.
    """
    file, name = clip
    split, action, stem = Path(name).parts
    forward, backward = (out / split / f"{action}{end}" / f"{stem}.mp4" for end in ("", "Reversed"))
    if not backward.exists():
        torch.set_num_threads(1)  # enough, because each core has a process of its own
        with open_video(file) as video:
            frames = resize_short_side(video.read(range(video.info.frames)), SHORT_SIDE).numpy()
        write_video(forward, frames)
        write_video(backward, frames[::-1])
    return name


if __name__ == "__main__":
    main()
