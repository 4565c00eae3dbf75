"""`python -m cascade_rl.engines.verl.ranks COUNT MODULE ARGUMENT ...`: torchrun on this machine.

The rule: it dies with its driver, and the ranks die with it.
"""

from __future__ import annotations

import os
import sys

from torch.distributed.run import main as torchrun

from cascade_rl.engines.verl import PARENT
from cascade_rl.engines.verl.parent import die_with_driver


def main() -> None:
    """Run the module on every rank, until all have ended or one has failed."""
    die_with_driver()
    os.environ[PARENT] = str(os.getpid())
    count, *program = sys.argv[1:]
    torchrun(["--standalone", "--nproc-per-node", count, "-m", *program])


if __name__ == "__main__":
    main()
