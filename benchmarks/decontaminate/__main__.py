"""`python -m benchmarks.decontaminate [--scale]`: leaks and rate, or memory at ten million."""

from __future__ import annotations

import sys

from benchmarks.decontaminate import plants, rate, scale


def main() -> int:
    if sys.argv[1:] == ["--scale"]:
        return 0 if scale.main() else 1
    met = plants.main()
    print(f"{'documents a second':48} {'ours':>10} {'peer':>10}")
    for found in rate.run():
        print(found, flush=True)
        met = met and found.met
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
