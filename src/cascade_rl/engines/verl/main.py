"""`python -m cascade_rl.engines.verl.main KEY=VALUE ...`: one job of verl, from its first process.

The rule: where Ray is the job's own, on processors, the workers are forks of this process, so what
they need is imported here.
"""

from __future__ import annotations

import os
import sys

from cascade_rl.engines.verl import OWN_RAY


def main() -> None:
    """Run the job whose settings are on the command line."""
    own = OWN_RAY in os.environ
    if own:
        from cascade_rl.engines.verl import forks

        forks.start()
    from cascade_rl.engines.verl import runner

    runner.main()
    if own:  # Ray takes seconds to end a cluster, and the driver ends what is left of this one
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
