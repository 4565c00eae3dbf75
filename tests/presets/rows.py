"""Small valid rows for every file that a preset reads, overlapping as the recipes let them.

The same prompts again and again where a recipe does that (RLHF and its reward model, stages of
one family, SFT 1 and 2), and no prompt twice anywhere else.
"""

from __future__ import annotations

import json
from pathlib import Path

from cascade_rl.config import (
    AnyStage,
    CascadeRLConfig,
    RewardModelStageConfig,
    SFTStageConfig,
)
from cascade_rl.data.rows import write_rows
from cascade_rl.types import (
    Answer,
    AssertTest,
    Constraints,
    Conversation,
    Domain,
    Message,
    Pair,
    Patch,
    Preference,
    Problem,
    Reference,
    Row,
    Tests,
)

COUNT = 3
NUMBERS = "one two three four five six seven eight nine ten eleven twelve".split()
REFERENCES: dict[Domain, Reference] = {
    "math": Answer("4"),
    "code": Tests((AssertTest("assert f() == 1"),)),
    "instruction_following": Constraints(("punctuation:no_comma",), ({},)),
    "chat": Preference(),
    "swe": Patch(
        files={"a.py": "x = 1\n"},
        patch="--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n",
        shown=("a.py",),
        format="either",
        issue="x is 1",
    ),
}


def write_all(config: CascadeRLConfig, folder: Path) -> None:
    """Every file of the stages and benchmarks, under its name in `folder`."""
    (folder / "data").mkdir(exist_ok=True)
    for stage in config.stages:
        for file in stage.train_files:
            write_rows(folder / file, _train(stage))
    for benchmark in config.benchmarks:
        domain: Domain = benchmark.name  # type: ignore[assignment]
        write_rows(folder / benchmark.file, [_problem(domain, f"val {domain} {n}")
                                             for n in NUMBERS[:COUNT]])  # fmt: skip


def _train(stage: AnyStage) -> list[Row]:
    if isinstance(stage, SFTStageConfig):
        answer = Message("assistant", "Gladly.")
        return [
            Conversation(f"s{n}", (Message("user", f"sft {n}"), answer), "test")
            for n in NUMBERS[:COUNT]
        ]
    if isinstance(stage, RewardModelStageConfig):
        return [
            Pair(f"r{n}", (Message("user", f"chat {n}"),), "yes", "no", "test")
            for n in NUMBERS[: 2 * COUNT]
        ]
    assert stage.domain != "blend"
    return [_problem(stage.domain, f"{stage.domain} {n}") for n in NUMBERS[:COUNT]]


def _problem(domain: Domain, text: str) -> Problem:
    return Problem(text, domain, (Message("user", text),), REFERENCES[domain], "test")


def write_start_model(folder: Path, context: int) -> Path:
    """A tiny model with so many positions and a chat template of its own."""
    from tests.engines.helpers import tiny_model

    tiny_model(folder, context=context)
    settings = folder / "tokenizer_config.json"
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "chat_template": template}))
    return folder
