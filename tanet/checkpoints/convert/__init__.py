"""Checkpoints of other projects → tanet's, and TANets back again.

    tanet convert ckpt.best.pth.tar mine.safetensors --class-names names.txt --recipe kinetics400
    tanet convert mine.safetensors theirs.pth --to mmaction2

What a file holds is told from the names and shapes of its weights, never from the file's name, and nothing in
it is executed.
"""

from tanet.checkpoints.convert.read import ConvertedCheckpoint, read
from tanet.checkpoints.convert.write import Target, to_mmaction2, to_official, write

__all__ = ["ConvertedCheckpoint", "Target", "read", "to_mmaction2", "to_official", "write"]
