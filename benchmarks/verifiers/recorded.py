"""`python -m benchmarks.verifiers.recorded [FOLDER] [--runs 60]`: who reproduces recorded figures.

Models' answers to IFEval come with the verdicts that the official checkers once gave, a part of
them beside this project, all in a clone of https://github.com/shisa-ai/M-IFEval (FOLDER). Two
figures a model follow, its prompt-level accuracy, strict and loose. Ours are compared with them,
and so is each of so many runs of lm-eval's copy of those checkers, which draws: langdetect has no
seed there, and a letter to count that is no letter is replaced by one at random. A figure counts
as reproduced within .3 points.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.verifiers.duel import PEERS
from benchmarks.verifiers.instructions import ROWS, lm_eval_ifeval

RECORD = "https://github.com/shisa-ai/M-IFEval"
PROMPTS = "data/en_input_data.jsonl"
WITHIN = 0.003
MODES = ("strict", "loose")
NAME = "benchmarks.verifiers.recorded"
Decided = list[list[bool]]
"""Whether an answer follows all its instructions: a row an answer, strict and loose."""
Figure = tuple[str, str]
"""Model and mode."""


def main() -> int:
    """Print which figures each side reproduces."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--peer", action="store_true", help="one side: a line of verdicts a run")
    given = parser.parse_args()
    asked = ROWS if given.folder is None else given.folder / PROMPTS
    if not asked.exists():
        print(f"error: {asked} is absent.\n  git clone {RECORD}, and name the clone")
        return 2
    rows = [*(_lines(ROWS) if given.folder is None else _published(given.folder))]
    if given.peer:
        _peer(rows, given.runs)
        return 0
    if not PEERS.exists():
        print(f"error: {PEERS} is absent.\n  make install-bench")
        return 2
    missed = _missed(rows, _ours(rows))
    models = Counter(row["model"] for row in rows)
    figures = len(MODES) * len(models)
    print(f"{len(rows)} answers of {len(models)} models")
    print(f"ours: {figures - len(missed)} of {figures} figures within .3 points")
    for (model, mode), points in sorted(missed.items()):
        print(f"  {model}, {mode}: {points:+.2f} points, an answer is {100 / models[model]:.2f}")
    command = [str(PEERS), "-m", NAME, "--peer", "--runs", str(given.runs)]
    counts: Counter[int] = Counter()
    strict = 0
    with subprocess.Popen(
        command + [str(given.folder)] * bool(given.folder), stdout=subprocess.PIPE, text=True
    ) as peer:
        assert peer.stdout is not None
        for line in peer.stdout:
            found = _missed(rows, json.loads(line))
            counts[figures - len(found)] += 1
            strict += not any(mode == "strict" for _, mode in found)
    print(
        f"the official checkers, {counts.total()} runs: figures within .3 points, in how many runs"
    )
    for count, runs in sorted(counts.items()):
        print(f"  {count:2} of {figures}: {runs}")
    print(f"  all strict ones: {strict}")
    return int(peer.returncode != 0 or counts.total() != given.runs)


def _published(folder: Path) -> Iterator[dict[str, Any]]:
    """Rows of the same shape, of all models of the clone."""
    asked = {row["prompt"]: row["kwargs"] for row in _lines(folder / PROMPTS)}
    for results in sorted(folder.glob("evaluations/en_*")):
        strict, loose = (_lines(results / f"eval_results_{mode}.jsonl") for mode in MODES)
        for one, other in zip(strict, loose, strict=True):
            assert one["prompt"] == other["prompt"]
            yield {
                "model": results.name.removeprefix("en_input_response_data_"),
                "prompt": one["prompt"],
                "response": one["response"] or "",
                "instruction_id_list": [n.removeprefix("en:") for n in one["instruction_id_list"]],
                "kwargs": asked[one["prompt"]],
                "strict": one["follow_instruction_list"],
                "loose": other["follow_instruction_list"],
            }


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _missed(rows: list[dict[str, Any]], decided: Decided) -> dict[Figure, float]:
    """Figures that are off by more than .3 points, and by how many points."""
    off: dict[Figure, int] = defaultdict(int)
    answers = Counter(row["model"] for row in rows)
    for row, held in zip(rows, decided, strict=True):
        for mode, ours in zip(MODES, held, strict=True):
            off[row["model"], mode] += ours - all(row[mode])
    shares = {figure: rows_off / answers[figure[0]] for figure, rows_off in off.items()}
    return {figure: 100 * share for figure, share in shares.items() if abs(share) > WITHIN}


def _ours(rows: list[dict[str, Any]]) -> Decided:
    from cascade_rl.types import Constraints
    from cascade_rl.verifiers.instructions import check_instructions

    def decide(row: dict[str, Any], loose: bool) -> bool:
        constraints = Constraints(tuple(row["instruction_id_list"]), tuple(row["kwargs"]))
        return all(check_instructions(constraints, row["response"], policy="official", loose=loose))

    return [[decide(row, mode == "loose") for mode in MODES] for row in rows]


def _peer(rows: list[dict[str, Any]], runs: int) -> None:
    """A line a run. Rows without an instruction that draws are decided once."""
    utils = lm_eval_ifeval()

    def decide(row: dict[str, Any]) -> list[bool]:
        example = utils.InputExample(0, row["instruction_id_list"], row["prompt"], row["kwargs"])
        return [
            all(check(example, row["response"]).follow_instruction_list)
            for check in (getattr(utils, f"test_instruction_following_{mode}") for mode in MODES)
        ]

    decided = [decide(row) for row in rows]
    print(json.dumps(decided), flush=True)
    drawn = [
        place
        for place, row in enumerate(rows)
        if any(map(_draws, row["instruction_id_list"], row["kwargs"]))
    ]
    for _ in range(runs - 1):
        for place in drawn:
            decided[place] = decide(rows[place])
        print(json.dumps(decided), flush=True)


def _draws(name: str, arguments: dict[str, Any]) -> bool:
    letter = str(arguments.get("letter") or "")
    no_letter = not (len(letter) == 1 and letter.isascii() and letter.isalpha())
    return name.startswith(("change_case:english", "language:")) or (
        name == "keywords:letter_frequency" and no_letter
    )


if __name__ == "__main__":
    sys.exit(main())
