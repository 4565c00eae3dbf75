"""The three sides of the math duel, each a process: `math_sides.py SIDE FILE COUNT`.

verl's scorer is loaded by its file, since its package wants an accelerator stack; a copy under
another name, because it is called math_verify.py and would hide the library that it imports.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.verifiers.duel import serve
from benchmarks.verifiers.math_answers import Item, load


def ours(items: list[Item]) -> Callable[[], int]:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
    from cascade_rl.types import Answer, Problem
    from cascade_rl.verifiers.math import verify_math

    problems = [Problem("p", "math", (), Answer(item.reference), "bench") for item in items]

    def work() -> int:
        for problem, item in zip(problems, items, strict=True):
            verify_math(problem, item.text)
        return len(items)

    return work


def warm(items: list[Item]) -> Callable[[], int]:
    from math_verify import parse, verify

    def work() -> int:
        for item in items:
            verify(parse(f"\\boxed{{{item.reference}}}"), parse(item.text))
        return len(items)

    return work


def verl(items: list[Item]) -> Callable[[], int]:
    spec = importlib.util.find_spec("verl")
    assert spec is not None and spec.origin is not None
    source = Path(spec.origin).parent / "utils" / "reward_score" / "math_verify.py"
    folder = tempfile.mkdtemp()
    shutil.copy(source, Path(folder) / "verl_math_verify.py")
    sys.path.insert(0, folder)
    import verl_math_verify  # type: ignore[import-not-found]

    def work() -> int:
        for item in items:
            verl_math_verify.compute_score(item.text, item.reference)
        return len(items)

    return work


SIDES = {"ours": ours, "warm": warm, "verl": verl}


def main() -> None:
    items = load(Path(sys.argv[2]), int(sys.argv[3]))
    serve(SIDES[sys.argv[1]](items))


if __name__ == "__main__":
    multiprocessing.freeze_support()
    main()
