"""`python -m cascade_rl.cli` is `cascade`."""

from __future__ import annotations

from cascade_rl.cli import main

if __name__ == "__main__":
    main()
