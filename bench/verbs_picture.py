"""Draw README's picture: eight frames of one clip for the first verb of each pair → docs/verbs.png.

python -m bench.verbs_picture
"""

import tempfile
from pathlib import Path

import numpy as np

from bench.common import ROOT
from tanet.demo.page import encode_png, film_strip
from tanet.synthetic import PAIRS, Difficulty, render, write_video

SEED, GAP = 2, 4


def main() -> None:
    strips = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (verb, _) in enumerate(PAIRS):
            # Draw without sensor noise, which is invisible here but makes the file larger.
            clip = render(
                verb, difficulty=Difficulty(noise=0), generator=np.random.default_rng((SEED, number))
            )
            video = Path(folder) / f"{verb}.mp4"
            write_video(video, clip)
            strips.append(np.pad(film_strip(video), ((0, GAP), (0, 0), (0, 0)), constant_values=255))
    target = ROOT / "docs" / "verbs.png"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(encode_png(np.concatenate(strips)[:-GAP]))
    print(target)


if __name__ == "__main__":
    main()
