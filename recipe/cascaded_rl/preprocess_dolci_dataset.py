"""`cascade data prepare` under the founding recipe's name; `--help` has every option."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cascade_rl.cli import status_of


def main(arguments: Sequence[str]) -> int:
    """Convert the rows; the exit status."""
    return status_of(["data", "prepare", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
