"""Synthetic videos whose labels depend on the order of the frames.

The label of a video is a verb: the action that one object performs, such as `move_left`. There are ten verbs
in five pairs.

Before encoding, a clip of the second verb of a pair is a clip of the first verb played backwards:

    frames(second verb of a pair) = frames(first verb of the pair)[::-1]

A clip shows a textured background, which is filmed by a slowly panning camera. One object performs the verb
at a changing speed. Other objects, the distractors, wander and perform no verb. Everything but the verb
(camera, speed, distractors, light, noise) has the same distribution forwards and backwards. Without their
order, the frames therefore carry no information about which verb of a pair they show. A network that ignores
the order, however large, confuses the two verbs of a pair half of the time.

`tanet synthesize OUT` makes a data set. Its flags set the difficulty; see `Difficulty` in tracks.py.
"""

from tanet.synthetic.clip import render
from tanet.synthetic.files import DESCRIPTION, make_dataset, write_video
from tanet.synthetic.tracks import DEFAULT, HARD, PAIRS, VERBS, Difficulty

__all__ = [
    "DEFAULT",
    "DESCRIPTION",
    "HARD",
    "PAIRS",
    "VERBS",
    "Difficulty",
    "make_dataset",
    "render",
    "write_video",
]
