"""Labels of instruction-following rows as they are published, JSON or Python literal."""

from __future__ import annotations

import json
import time

import pytest

from cascade_rl.data.references import REFERENCES, ground_truth
from cascade_rl.errors import DataError
from cascade_rl.types import Constraints

read = REFERENCES["instruction_following"]
TWO = Constraints(("format:emoji", "count:numbers"), ({}, {"N": 3}))
LABELS = [
    '{"instruction_id_list": ["format:emoji", "count:numbers"], "kwargs": [{}, {"N": 3}]}',
    "[{'instruction_id': ['format:emoji', 'count:numbers'], 'kwargs': [None, {'N': 3}]}]",
    '[{"instruction_id": ["format:emoji", "count:numbers"], "kwargs": [null, {"N": 3}]}]',
    "{'instruction_id': ('format:emoji', 'count:numbers'), 'kwargs': ({}, {'N': 3})}",
    str([json.dumps({"instruction_id": list(TWO.instruction_ids), "kwargs": [None, {"N": 3}]})]),
    "[{'instruction_id': ['format:emoji', 'count:numbers'],"
    " 'kwargs': [{'N': None}, {'N': 3, 'keyword': None}]}]",
]
UNREADABLE = {
    "": "neither JSON",
    "[]": "expected one object",
    "[1, 2]": "expected one object",
    "{'instruction_id': __import__('os').getcwd()}": "nor a Python literal",
    "{'instruction_id': []}": "expected a list of ids",
    "{'instruction_id': ['a'], 'kwargs': [{}, {}]}": "one for one",
    "{'instruction_id': ['a'], 'kwargs': [3]}": "expected objects or None",
    "{'instruction_id': ['a'], 'kwargs': 'b'}": "expected a list of objects",
    "[" * 50_000: "nor a Python literal",
    "-" * 50_000 + "1": "nor a Python literal",
    "'" + "a" * 2_000_000 + "'": "too long",
    "9" * 100_000: "ground_truth",
}


@pytest.mark.parametrize("label", LABELS)
def test_a_published_label_is_read(label: str) -> None:
    assert read(label) == TWO


@pytest.mark.parametrize("label", LABELS)
def test_a_label_is_written_as_json_that_reads_back_equal(label: str) -> None:
    written = ground_truth(read(label))
    assert read(written) == TWO and json.loads(written)["kwargs"] == [{}, {"N": 3}]


def test_an_instruction_without_arguments_needs_none() -> None:
    assert read("{'instruction_id': 'punctuation:no_comma'}") == Constraints(
        ("punctuation:no_comma",), ({},)
    )


def test_escapes_that_python_does_not_know_are_kept() -> None:
    label = r"[{'instruction_id': ['copy:copy'], 'kwargs': [{'prompt_to_repeat': '\d+ \\frac'}]}]"
    assert read(label).kwargs[0]["prompt_to_repeat"] == r"\d+ \frac"  # type: ignore[union-attr]


@pytest.mark.parametrize("label", UNREADABLE, ids=lambda label: label[:30])
def test_an_unreadable_label_says_what_was_expected_and_runs_nothing(label: str) -> None:
    started = time.process_time()
    with pytest.raises(DataError, match=UNREADABLE[label]):
        read(label)
    assert time.process_time() - started < 2
