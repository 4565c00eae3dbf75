"""`python -m benchmarks.localization [REPOSITORY]`: what fusing two rankings of files gains.

Issues are commits of a real git history (this project's own, unless another is named): the
message is the issue, the Python files under `src` that it changed are the golden ones, and its
parent is the repository. Retrieval is BM25. No model is at hand that localizes, so generation is
drawn: 16 answers of a model that names a golden file as often as the issue is easy, and a few
wrong ones more often than others. Printed is the share of issues all of whose golden files are
among the first k, of either ranking alone and of the fused one, for models of several strengths.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from cascade_rl.engines.generate import Response
from cascade_rl.evaluation.swe.localize import by_frequency, fuse, recall
from cascade_rl.evaluation.swe.repository import read_files
from cascade_rl.evaluation.swe.retrieval import bm25

CUTOFFS = range(1, 6)
COMMITS = 100
MOST_GOLDEN = 3
DRAWS = 20
"""Of a model, an issue."""
STRENGTHS = ((0.1, 0.9), (0.1, 0.6), (0.3, 0.9), (0.6, 1.0))
"""The chance to name a golden file is drawn from one of these, an issue and a draw."""
Issue = tuple[str, str, dict[str, str], set[str]]
"""Name, text, sources, golden files."""


def noisy(
    known: Collection[str],
    golden: set[str],
    draw: random.Random,
    strength: tuple[float, float],
) -> list[Response]:
    """16 answers that name each golden file with one chance, and six wrong ones less and less."""
    easy = draw.uniform(*strength)
    others = sorted(set(known) - golden)
    wrong = draw.sample(others, min(6, len(others)))
    found = []
    for number in range(16):
        paths = [path for path in sorted(golden) if draw.random() < easy]
        paths += [path for place, path in enumerate(wrong, 1) if draw.random() < 0.5 / place]
        draw.shuffle(paths)
        text = "```\n" + "\n".join(paths[:5]) + "\n```" if paths else "I do not know."
        found.append(Response(0, number, text, "stop", 1))
    return found


def issues(repo: Path) -> Iterator[Issue]:
    """The newest commits that change one to three sources and add none of those."""
    commits = _git(repo, "log", "--min-parents=1", "--max-parents=1", "--format=%H").split()
    given = 0
    for commit in commits:
        changed = _git(repo, "show", "--name-only", "--format=", commit).split("\n")
        golden = {path for path in changed if path.startswith("src/") and path.endswith(".py")}
        if not 1 <= len(golden) <= MOST_GOLDEN:
            continue
        files = read_files(repo, f"{commit}^")
        sources = {p: t for p, t in files.items() if p.startswith("src/") and p.endswith(".py")}
        if golden <= set(sources):
            yield commit, _git(repo, "log", "--format=%B", "-1", commit), sources, golden
            given += 1
        if given == COMMITS:
            return


def main() -> int:
    """Print a table a strength."""
    repo = Path(sys.argv[1] if sys.argv[1:] else Path(__file__).resolve().parents[1])
    if not (repo / ".git").exists():
        print(f"error: {repo} is no git repository.\n  git clone one, and name the clone")
        return 2
    found = [(*issue, bm25(issue[2], issue[1])) for issue in issues(repo)]
    if not found:
        print(f"error: {repo} has no commit that changes one to three files under src.")
        return 2
    print(f"{len(found)} commits, {DRAWS} draws each, recall at k = 1 to {max(CUTOFFS)}")
    for strength in STRENGTHS:
        hits = {name: [0] * len(CUTOFFS) for name in ("generation", "retrieval", "fused")}
        for name, _, sources, golden, retrieved in found:
            for number in range(DRAWS):
                draw = random.Random(f"{name} {number}")
                generated = by_frequency(noisy(sources, golden, draw, strength), sources).ranked
                fused = fuse(retrieved, generated)
                for ranked, row in zip((generated, retrieved, fused), hits.values(), strict=True):
                    for place, k in enumerate(CUTOFFS):
                        row[place] += recall(ranked, golden, k)
        print(f"a golden file is named with a chance of {strength[0]} to {strength[1]}")
        for part, row in hits.items():
            print(f"  {part:12}", *(f"{hit / len(found) / DRAWS:.3f}" for hit in row))
    return 0


def _git(repo: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(repo), *words], capture_output=True, check=True)
    return done.stdout.decode("utf-8", "replace").strip()


if __name__ == "__main__":
    sys.exit(main())
