"""Plain values cross exactly; nothing else does."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.sandbox.values import NotPlain, decode, encode, same

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary()
)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(SCALARS, inner, max_size=3)
        | st.frozensets(SCALARS, max_size=3)
    ),
    max_leaves=8,
)


@given(PLAIN)
def test_a_plain_value_comes_back_with_its_types(value: Any) -> None:
    assert same(decode(encode(value)), value)


class LyingInt(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


class LyingList(list):  # type: ignore[type-arg]
    def __eq__(self, other: object) -> bool:
        return True


@pytest.mark.parametrize(
    "value", [LyingInt(3), LyingList(), object(), (i for i in ()), [LyingInt(1)], {"a": object()}]
)
def test_objects_with_operators_of_their_own_do_not_cross(value: Any) -> None:
    with pytest.raises(NotPlain):
        encode(value)


def test_a_self_containing_list_does_not_cross() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(NotPlain):
        encode(value)


FORGED = [
    "",
    "[",
    "[" * 100_000,
    "3",
    '["n"]',
    '["?", 1]',
    '["i", 3]',
    '["i", "0x"]',
    '["i", "zz"]',
]
FORGED += ['["l", 1]', '["d", [[1]]]', '["b", 1]', '["S", [["l", []]]]', '["y", "x"]']


@pytest.mark.parametrize("text", FORGED)
def test_a_forged_value_is_refused(text: str) -> None:
    with pytest.raises(NotPlain):
        decode(text)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (True, 1),
        (1, True),
        (1.0, 1),
        ("17.0", "17"),
        (math.nan, math.nan),
        ([1.0], [1]),
        ({1: "a"}, {True: "a"}),
        ({1}, {1.0}),
        ({"a": 1}, {"a": True}),
        ([1], (1,)),
        (b"a", "a"),
        ({(1, 2)}, {(1.0, 2)}),
    ],
)
def test_values_of_other_types_are_not_the_same(found: Any, expected: Any) -> None:
    assert not same(found, expected)


@pytest.mark.parametrize(
    ("found", "expected"),
    [((1, 2), [1, 2]), ([(1,)], [[1]]), (0.0, -0.0), ({2, 1}, {1, 2})],
)
def test_a_tuple_where_json_could_only_say_list_is_the_same(found: Any, expected: Any) -> None:
    assert same(found, expected)


def test_encoded_values_are_ascii_json() -> None:
    assert json.loads(encode("é\ud800")) == ["s", "é\ud800"]
    assert encode("é").isascii()


def test_integers_beyond_printable_digits_cross() -> None:
    assert same({(10**5000,): 10**5000}, decode(encode({(10**5000,): 10**5000})))


@pytest.mark.parametrize("kind", ["S", "F", "d"])
def test_members_crafted_to_share_one_hash_are_refused(kind: str) -> None:
    alike = [["i", format(n * (2**61 - 1), "x")] for n in range(20_000)]
    payload = [[item, ["n", None]] for item in alike] if kind == "d" else alike
    started = time.process_time()
    with pytest.raises(NotPlain):
        decode(json.dumps([kind, payload]))
    assert time.process_time() - started < 2
