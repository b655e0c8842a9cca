"""`python -m tanet`, the command by its module: as `torchrun -m tanet train …` starts it."""

import sys

from tanet.cli import main

if __name__ == "__main__":
    sys.exit(main())
