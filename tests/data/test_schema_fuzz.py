"""Whatever a row holds, reading it gives an object or a DataError, never another exception."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_rl.data.schema import parse_row
from cascade_rl.errors import DataError

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
keys = st.sampled_from(
    "tests asserts entry_point args expected input output setup files patch shown format kwargs "
    "instruction_id_list role content thought mode tool_calls name arguments function".split()
)
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(keys, v, max_size=4), max_leaves=12
)
abilities = st.sampled_from(["math", "code", "instruction_following", "swe", "chat"])
turns = st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": values}), min_size=1)


def read(row: Any, kind: Any) -> None:
    with suppress(DataError):
        parse_row(row, kind)


@settings(max_examples=300, deadline=None)
@given(values, abilities)
def test_any_ground_truth_is_read_or_refused(truth: Any, ability: str) -> None:
    model = {"ground_truth": json.dumps(truth)}
    prompt = [{"role": "user", "content": "q"}]
    row = {"data_source": "s", "prompt": prompt, "ability": ability, "reward_model": model}
    read(row, "problem")


@settings(max_examples=200, deadline=None)
@given(values, values, values)
def test_any_conversation_is_read_or_refused(messages: Any, calls: Any, tools: Any) -> None:
    turn = {"role": "assistant", "content": "a", "tool_calls": calls}
    read({"messages": messages, "source": "s"}, "conversation")
    read({"messages": [turn], "source": "s", "tools": tools}, "conversation")


@settings(max_examples=200, deadline=None)
@given(turns | values, values, values)
def test_any_pair_is_read_or_refused(prompt: Any, chosen: Any, extra: Any) -> None:
    read({"prompt": prompt, "chosen": chosen, "rejected": "b", "source": "s"}, "pair")
    read({"prompt": "p", "chosen": "a", "rejected": "b", "source": extra, "id": chosen}, "pair")
