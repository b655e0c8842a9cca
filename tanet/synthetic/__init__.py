"""Synthetic videos that can be labelled only by the order of their frames: ten verbs in five pairs.

    frames(second verb of a pair) = frames(first verb of the pair)[::-1]        exactly, before encoding

A clip shows a textured background under a slowly panning camera, one object that performs the verb at a
changing speed, and distractors that only wander. Everything but the verb (camera, speed, distractors, light,
noise) has the same distribution forwards and backwards. The frames without their order therefore carry no
information about which verb of a pair they show: a network that ignores order, however large, is right half
of the time.

    tanet synthesize OUT        flags set the difficulty: see Difficulty in tracks.py
"""

from tanet.synthetic.clip import render
from tanet.synthetic.files import make_dataset, write_video
from tanet.synthetic.tracks import DEFAULT, HARD, PAIRS, VERBS, Difficulty

__all__ = ["DEFAULT", "HARD", "PAIRS", "VERBS", "Difficulty", "make_dataset", "render", "write_video"]
