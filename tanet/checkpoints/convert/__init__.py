"""Conversion of other projects' checkpoints to tanet's format, and of networks to other projects' formats.

The command line runs the conversion, for example:

    tanet convert ckpt.best.pth.tar mine.safetensors --class-names names.txt --recipe kinetics400
    tanet convert mine.safetensors theirs.pth --to mmaction2

The network is recognised by the names and shapes of the weights, never by the file name. No code in the file
is executed.
"""

from tanet.checkpoints.convert.read import ConvertedCheckpoint, read
from tanet.checkpoints.convert.structure2d import Temporal
from tanet.checkpoints.convert.write import Target, to_mmaction2, to_official, write

__all__ = ["ConvertedCheckpoint", "Target", "Temporal", "read", "to_mmaction2", "to_official", "write"]
