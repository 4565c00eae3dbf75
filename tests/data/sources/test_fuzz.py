"""Whatever a raw row holds, every converter gives a row that can be written, or a DataError."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_rl.data.directory_step import Validation
from cascade_rl.data.schema import parse_row, row_dict
from cascade_rl.data.sources import SOURCES, convert
from cascade_rl.data.sources.instruct import instructed
from cascade_rl.errors import DataError
from cascade_rl.types import Conversation, Pair, Problem
from tests.data.sources.test_shapes import CASES, CHATS, PAIRS, TIES, filled

KEYS = sorted({key for source in SOURCES.values() for shape in source.shapes for key in shape})
INNER = (
    "role content from value text tool_calls function name arguments input output inputs outputs "
    "fn_name stdin stdout testtype func_name unit_tests instruction_id kwargs instruction_id_list "
    "language solution seconds nanos path relevant_file_contents patch problem_statement "
    "private_test_cases metadata time_limit memory_limit_bytes starter_code solutions kwargs "
    "ground_truth style id url passrate difficulty x.py second rating"
).split()
TEXTS = (
    "[{", "{}", "[]", "null", "math", "code", "ifeval", "general-quality", "assert 1", "user: ",
    "system: a\nuser: b\nassistant: c\nuser: d", "#### ", "#### 1", "\\boxed{", "AAAA",
    "eJwDAAAAAAE=", "\n\nHuman: a\n\nAssistant: b", "<extra_id_1>User\n", "a\n<extra_id_1>User\nb",
    "<think>", "</think>", "\ud800", "\0", "[{'a': None}]", "2.0 seconds", "1e999", "a__b-1",
    '{"inputs": [1], "outputs": [2], "fn_name": "f"}', '[{"input": "1", "output": "2"}]',
    "--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-a\n+b\n",
)  # fmt: skip
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(TEXTS)
    | st.text(max_size=8) | st.binary(max_size=4) | st.just(datetime(2024, 1, 1, tzinfo=UTC))
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from(INNER), v, max_size=4),
    max_leaves=10,
)
encoded = values.map(lambda value: json.dumps(value, default=str))


def rows_of(shape: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    """Rows that have a shape's keys, mostly not null, and some others."""
    keyed = {key: values | encoded for key in shape}
    others = st.dictionaries(st.sampled_from(KEYS + INNER), values | encoded, max_size=4)
    return st.tuples(others, st.fixed_dictionaries(keyed)).map(lambda pair: {**pair[0], **pair[1]})


def read(raw: Any, name: str | None) -> None:
    """What is converted can be written, read back and given a place."""
    with suppress(DataError):
        row = convert(raw, name)
        written = json.loads(json.dumps(row_dict(row, 0), default=str))
        kind = {Problem: "problem", Conversation: "conversation", Pair: "pair"}[type(row)]
        parse_row(written, kind)  # type: ignore[arg-type]
        assert 0 <= Validation().place(row) < 1 << 64
        if isinstance(row, Problem):
            instructed(row)


@pytest.mark.parametrize("name", SOURCES)
def test_no_row_crashes_a_converter(name: str) -> None:
    for shape in SOURCES[name].shapes or SOURCES["math"].shapes:

        @settings(max_examples=30, deadline=None, database=None)
        @given(rows_of(shape))
        def attempt(raw: dict[str, Any]) -> None:
            read(raw, name)

        attempt()


RAWS = [
    raw
    for raw in (
        *(filled(case["raw"]) for case in CASES if isinstance(case["raw"], dict)),
        *(raw for raw, _, _ in PAIRS.values()),
        *CHATS.values(),
        *TIES,
    )
    if raw
]


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """A good row of some source with one or two values, at any depth, replaced or gone."""
    raw: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(RAWS)))
    for _ in range(draw(st.integers(1, 2))):
        _damage(draw, raw)
    return raw


def _damage(draw: st.DrawFn, node: Any) -> None:
    places = list(node) if isinstance(node, dict) else list(range(len(node)))
    if not places:
        return
    place = draw(st.sampled_from(places))
    found = node[place]
    if isinstance(found, str) and found[:1] in "[{" and draw(st.booleans()):
        with suppress(ValueError):
            inside = json.loads(found)
            _damage(draw, inside)
            node[place] = json.dumps(inside, default=str)
    elif isinstance(found, dict | list) and draw(st.booleans()):
        _damage(draw, found)
    elif draw(st.integers(0, 3)):
        node[place] = draw(values | encoded)
    else:
        del node[place]


@settings(max_examples=800, deadline=None)
@given(damaged())
def test_no_damaged_row_crashes_its_converter(raw: dict[str, Any]) -> None:
    read(raw, None)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), values | encoded, max_size=6) | values)
def test_no_row_crashes_recognition(raw: Any) -> None:
    read(raw, None)
