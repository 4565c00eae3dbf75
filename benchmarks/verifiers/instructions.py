"""Instruction following against IFEval's official checkers, on recorded answers of six models.

The peer is lm-eval's close copy of the official checkers. Its nltk data is absent here, so it is
given an untrained Punkt; it is otherwise as it is, langdetect included. An item is one answer,
checked for all instructions of its prompt; every answer of the file is an item of every round.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.verifiers.duel import PEERS, ROOT, Duel, duel, serve

ROWS = ROOT.parent / "shared" / "data" / "if" / "mifeval_en_model_verdicts.jsonl"
AT_LEAST = 2.0
NAME = "benchmarks.verifiers.instructions"


def run() -> list[Duel]:
    """Both policies against the official checkers, strict; `official` also loose."""
    if not ROWS.exists():
        print(f"{ROWS} is absent: instructions are not measured")
        return []
    found = []
    for policy, mode in (
        ("official", "strict"),
        ("official", "loose"),
        ("strict_reward", "strict"),
    ):
        ours = [sys.executable, "-m", NAME, policy, mode]
        peer = [str(PEERS), "-m", NAME, "peer", mode]
        found.append(duel(f"instructions, {policy}, {mode}", ours, peer, AT_LEAST))
    return found


def _rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]


def _ours(policy: Any, mode: str) -> Callable[[], int]:
    sys.path.insert(0, str(ROOT / "src"))
    from cascade_rl.types import Constraints
    from cascade_rl.verifiers.instructions import check_instructions

    rows = [
        (Constraints(tuple(row["instruction_id_list"]), tuple(row["kwargs"])), row["response"])
        for row in _rows()
    ]

    def work() -> int:
        for constraints, response in rows:
            check_instructions(constraints, response, policy=policy, loose=mode == "loose")
        return len(rows)

    return work


def _peer(mode: str) -> Callable[[], int]:
    utils = lm_eval_ifeval()
    check = getattr(utils, f"test_instruction_following_{mode}")
    rows = [
        (utils.InputExample(0, r["instruction_id_list"], r["prompt"], r["kwargs"]), r["response"])
        for r in _rows()
    ]

    def work() -> int:
        for example, response in rows:
            check(example, response)
        return len(rows)

    return work


def lm_eval_ifeval() -> Any:
    """lm-eval's checkers without the rest of lm-eval, and nltk without its data."""
    import nltk
    import nltk.tokenize
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    punkt = PunktSentenceTokenizer()
    nltk.data.find = lambda resource: "not asked for"
    nltk.data.load = lambda resource: punkt
    nltk.tokenize._get_punkt_tokenizer = lambda language: punkt
    folder = Path(nltk.__file__).parents[1] / "lm_eval"
    for name, path in (("lm_eval", folder), ("lm_eval.tasks", folder / "tasks")):
        package = types.ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package
    return importlib.import_module("lm_eval.tasks.ifeval.utils")


def main() -> None:
    """One side of a duel: `POLICY MODE`, or `peer MODE`."""
    side, mode = sys.argv[1:]
    serve(_peer(mode) if side == "peer" else _ours(side, mode))


if __name__ == "__main__":
    main()
