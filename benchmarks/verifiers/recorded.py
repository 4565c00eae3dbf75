"""`python -m benchmarks.verifiers.recorded [RUNS]`: who reproduces the recorded IFEval figures.

Six models' answers come with the verdicts that the official checkers once gave. Twelve figures
follow: each model's prompt-level accuracy, strict and loose. Ours are compared with them, and so
is each of RUNS (60) runs of lm-eval's copy of those checkers, which draws: langdetect has no seed
there, and a letter to count that is no letter is replaced by one at random. A figure counts as
reproduced within .3 points, which is less than one row of any model.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from typing import Any

from benchmarks.verifiers.duel import PEERS
from benchmarks.verifiers.instructions import ROWS, lm_eval_ifeval

RUNS = 60
WITHIN = 0.003
MODES = ("strict", "loose")
Decided = list[list[bool]]
"""Whether an answer follows all its instructions: a row an answer, strict and loose."""
Figure = tuple[str, str]
"""Model and mode."""


def main() -> int:
    """Print how many of the twelve figures each side reproduces."""
    if sys.argv[1:2] == ["peer"]:
        _peer(int(sys.argv[2]))
        return 0
    if not PEERS.exists() or not ROWS.exists():
        print(f"error: {ROWS if PEERS.exists() else PEERS} is absent.\n  make install-bench")
        return 2
    rows = [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]
    missed = _missed(rows, _ours(rows))
    figures = 2 * len({row["model"] for row in rows})
    print(f"ours: {figures - len(missed)} of {figures} figures within .3 points")
    for (model, mode), points in sorted(missed.items()):
        print(f"  {model}, {mode}: {points:+.2f} points")
    wanted = int(sys.argv[1]) if sys.argv[1:] else RUNS
    command = [str(PEERS), "-m", "benchmarks.verifiers.recorded", "peer", str(wanted)]
    counts: Counter[int] = Counter()
    strict = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdout is not None
        for line in peer.stdout:
            found = _missed(rows, json.loads(line))
            counts[figures - len(found)] += 1
            strict += not any(mode == "strict" for _, mode in found)
    print(
        f"the official checkers, {counts.total()} runs: figures within .3 points, and in how many"
    )
    for count, runs in sorted(counts.items()):
        print(f"  {count:2} of {figures}: {runs}")
    print(f"  all strict ones: {strict}")
    return int(peer.returncode != 0 or counts.total() != wanted)


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

    return [
        [
            all(
                check_instructions(
                    Constraints(tuple(row["instruction_id_list"]), tuple(row["kwargs"])),
                    row["response"],
                    policy="official",
                    loose=mode == "loose",
                )
            )
            for mode in MODES
        ]
        for row in rows
    ]


def _peer(runs: int) -> None:
    """A line a run. Rows without an instruction that draws are decided once."""
    utils = lm_eval_ifeval()
    rows = [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]

    def decide(row: dict[str, Any]) -> list[bool]:
        example = utils.InputExample(0, row["instruction_id_list"], row["prompt"], row["kwargs"])
        return [
            all(check(example, row["response"]).follow_instruction_list)
            for check in (getattr(utils, f"test_instruction_following_{mode}") for mode in MODES)
        ]

    decided = [decide(row) for row in rows]
    print(json.dumps(decided), flush=True)
    drawn = [place for place, row in enumerate(rows) if any(map(_draws, *_instructions(row)))]
    for _ in range(runs - 1):
        for place in drawn:
            decided[place] = decide(rows[place])
        print(json.dumps(decided), flush=True)


def _instructions(row: dict[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    return row["instruction_id_list"], row["kwargs"]


def _draws(name: str, arguments: dict[str, Any]) -> bool:
    letter = str(arguments.get("letter") or "")
    no_letter = not (len(letter) == 1 and letter.isascii() and letter.isalpha())
    return name.startswith(("change_case:english", "language:")) or (
        name == "keywords:letter_frequency" and no_letter
    )


if __name__ == "__main__":
    sys.exit(main())
