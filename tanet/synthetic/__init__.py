"""Real video files whose label needs the order of frames: ten verbs in five pairs, one the other reversed.

    frames(second verb of a pair) = frames(first verb of the pair)[::-1]        exactly, before encoding

A clip is a textured background under a slowly panning camera, one object that does the verb with changing
speed, and distractors that only wander. Everything but the verb has the same distribution forwards and
backwards (camera, speed, distractors, light, noise), so within a pair the frames without their order say
nothing: a network that ignores order gets half of them right, however large it is.

    tanet synthesize OUT        how hard it is, is set by dials: tracks.py
"""

from tanet.synthetic.clip import render
from tanet.synthetic.files import make_dataset, write_video
from tanet.synthetic.tracks import DEFAULT, HARD, PAIRS, VERBS, Difficulty

__all__ = ["DEFAULT", "HARD", "PAIRS", "VERBS", "Difficulty", "make_dataset", "render", "write_video"]
