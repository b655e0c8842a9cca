"""Run the command `tanet` as a module: `python -m tanet …`, or `torchrun … -m tanet train …`."""

import sys

from tanet.cli import main

if __name__ == "__main__":
    sys.exit(main())
