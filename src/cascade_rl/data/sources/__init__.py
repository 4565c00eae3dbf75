"""Published data sets and our rows: one table of what each looks like and what reads it.

One rule: nothing lands in a default. A row is read by the source that was named, or by the first
one in the table whose keys it has; a row that has the keys of none is a reject that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cascade_rl.data.fields import shown
from cascade_rl.data.sources import (
    calls,
    chat,
    choices,
    code,
    instructions,
    math,
    preferences,
    swe,
)
from cascade_rl.data.sources.common import Raw, Unfit
from cascade_rl.data.sources.dolci import dolci
from cascade_rl.errors import DataError
from cascade_rl.types import Row

Convert = Callable[[Raw, str], Row]
"""One raw row and the source's name to a row of ours. Raises DataError and nothing else."""


@dataclass(frozen=True, slots=True)
class Source:
    """How a source's rows are read, and the sets of keys they are known by.

    Without shapes it is never recognised, only named: its rows look like another's.
    """

    convert: Convert
    shapes: tuple[tuple[str, ...], ...] = ()


def _source(convert: Convert, *shapes: str) -> Source:
    return Source(convert, tuple(tuple(shape.split()) for shape in shapes))


SOURCES: Mapping[str, Source] = {
    # problems of this project, and of verl
    "cascade": _source(chat.ours, "data_source prompt ability reward_model"),
    # a verifier's name and its ground truth
    "dolci": _source(dolci, "messages dataset ground_truth", "prompt dataset ground_truth"),
    # repairs
    "nemo-gym-swe": _source(swe.nemo_gym_swe, "responses_create_params metadata instance"),
    "nemotron-cascade-swe": _source(swe.nemotron_swe, "prompt golden_patch"),
    "swe-bench": _source(swe.swe_bench, "instance_id problem_statement patch"),
    # programs
    "nemo-gym-code": _source(code.nemo_gym, "responses_create_params verifier_metadata"),
    "humaneval": _source(code.humaneval, "prompt test entry_point"),
    "mbpp": _source(code.mbpp, "prompt test_list", "text test_list"),
    "livecodebench-pro": _source(code.livecodebench_pro, "problem_id problem_statement testcases"),
    "livecodebench": _source(code.livecodebench, "question_content public_test_cases"),
    "code-contests": _source(code.code_contests, "description public_tests"),
    "sandbox-fusion": _source(code.sandbox_fusion, "content test"),
    "taco": _source(code.apps, "question input_output picture_num", "question input_output tags"),
    "apps": _source(code.apps, "question input_output"),
    "acecode": _source(code.acecode, "question test_cases"),
    # instructions
    "ifeval": _source(instructions.instructions),
    "ifbench": _source(instructions.instructions),
    "nemotron-cascade-if": _source(instructions.instructions),
    "instructions": _source(instructions.instructions, "prompt instruction_id_list"),
    # preferences
    "helpsteer3": _source(preferences.helpsteer3, "response1 response2 overall_preference"),
    "helpsteer2": _source(preferences.helpsteer2, "response_1 response_2 preference_strength"),
    "helpsteer2-ratings": _source(preferences.helpsteer2_ratings, " ".join(preferences.RATINGS)),
    "rewardbench": _source(preferences.rewardbench, "prompt chosen rejected subset"),
    "preferences": _source(preferences.chosen_rejected, "chosen rejected"),
    # letters of options, calls of functions, questions that a judge compares answers to
    "mmlu-pro": _source(choices.mmlu_pro, "question options answer_index"),
    "mmlu": _source(choices.mmlu, "question choices answer", "question A B C D answer"),
    "gpqa": Source(choices.gpqa, (("Question", "Correct Answer", "Incorrect Answer 3"),)),
    "bfcl": _source(calls.bfcl, "id question function"),
    "arena-hard": _source(chat.arena_hard, "question_id turns", "uid category prompt"),
    # answers to math problems
    "nemotron-cascade-math": _source(math.with_answer, "problem answer task_type"),
    "math-500": _source(math.with_answer, "problem answer unique_id"),
    "aime": _source(math.with_answer, "problem answer aime_number", "Problem Answer"),
    "acereason-math": _source(math.with_answer),
    "deepscaler": _source(math.with_answer),
    "gsm8k": _source(math.gsm8k, "question answer"),
    "math": _source(math.with_answer, "problem answer", "problem expected_answer"),
    "math-solutions": _source(math.with_solution, "problem solution"),
    # conversations to train on
    "chat": _source(chat.messages, "messages", "conversations"),
    "responses": _source(
        chat.prompt_response,
        *("prompt response", "prompt completion", "instruction output", "input output"),
    ),
}
"""By name, in the order in which a row's keys are compared; a longer set of keys stands before
a shorter one that it contains."""


def convert(raw: Any, source: str | None = None) -> Row:
    """A raw row as one of ours. Raises DataError; `Unfit` where the reason is one of a few."""
    if not isinstance(raw, Mapping):
        raise DataError(f"the row is {shown(raw)}; expected an object")
    name = source or recognised(raw)
    return SOURCES[name].convert(raw, name)


def recognised(raw: Raw) -> str:
    """The first source whose keys the row has, a null counting as absent. Raises Unfit."""
    for name, source in SOURCES.items():
        if any(all(raw.get(key) is not None for key in shape) for shape in source.shapes):
            return name
    keys = ", ".join(sorted(str(key) for key in raw)) or "none"
    known = ", ".join(SOURCES)
    raise Unfit("unknown shape", f"the row's keys are {keys}; no source has them. Known: {known}")


def source_named(name: str) -> str:
    """The name, when there is such a source. Raises DataError with all names."""
    if name not in SOURCES:
        raise DataError(f"no source is called {name!r}", hint=f"sources: {', '.join(SOURCES)}")
    return name
