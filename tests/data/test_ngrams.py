"""Words, n-gram keys and their index: what two texts must share, and the kernel like its twin."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cascade_rl.data.decontaminate import ngram_index, ngrams
from cascade_rl.data.decontaminate.boilerplate import (
    CODE_LINES,
    PATTERNS,
    PHRASES,
    asks_for,
    masked,
    stripped,
)
from cascade_rl.data.decontaminate.ngram_index import Index, IndexBuilder
from cascade_rl.data.decontaminate.ngrams import Grams, grams, plain_grams, whole_key, windows
from cascade_rl.data.normal import words

LINES = (Path(__file__).parents[1] / "cases" / "normal_words.jsonl").read_text(encoding="utf-8")
CASES = [json.loads(line) for line in LINES.splitlines()]
needs_kernel = pytest.mark.skipif(
    ngrams.loaded() is None, reason="the kernel is not built: python setup.py build_ext --inplace"
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["why"])
def test_texts_that_read_the_same_have_the_same_words(case: dict[str, str]) -> None:
    assert words(case["text"]) == words(case["same"]) == case["words"].split()


TRICKY = st.sampled_from(
    [*"\\'\"`^~{},!.09aZ \n\0\x01\x1f_-", "\\frac", "\\var", "\\begin{a*}", "\\end{", ",\\!", "{,}",
     "é", "e\u0301", "¹", "²", "₃", "½", "α", "Σ", "İ", "ß", "ﷺ", "日", "한", "\ud800", "\u200b",
     "𝐀", "٣", "’", "´", "≤", "Ꭰ", "1,000", "def f(x):", "[asy]", "[/asy]", " /think",
     "\nInput:\n", "\n-- notes --\n", "Question: ", "\nimport os\n", "\nclass A:\n",
     "\n```python\n", "\nint f(x& y) {", "Reason step by step", "final answer in \\boxed{}",
     "the number of test cases", "where x and", "where x and y are relatively prime"]
)  # fmt: skip
TEXTS = st.lists(st.text() | st.lists(TRICKY | st.characters(), max_size=40).map("".join))


def equal(a: Grams, b: Grams) -> bool:
    return (
        a.keys.tolist() == b.keys.tolist()
        and a.ends.tolist() == b.ends.tolist()
        and a.wholes.tolist() == b.wholes.tolist()
    )


@needs_kernel
@settings(max_examples=200, deadline=None)
@given(TEXTS, st.integers(0, 5))
@example(["\\'e \\''e \\\\'e \\\x1fa", "1,0000 1,000,000{,}000 2,\\!000\\,000"], 1)
def test_the_kernel_gives_the_keys_of_plain_python(texts: list[str], n: int) -> None:
    assert equal(grams(texts, n), plain_grams(texts, n))


@needs_kernel
def test_the_kernel_takes_long_texts_and_many_of_them() -> None:
    texts = ["\ufdfa" * 3000, "a1" * 90_000, *(f"{n} ½ is a half" * 4 for n in range(20_000))]
    assert equal(grams(texts, 3), plain_grams(texts, 3))


@needs_kernel
def test_every_character_of_the_scripts_in_use_is_folded_alike() -> None:
    points = [*range(0x1F), *range(0x20, 0x3100), *range(0xF900, 0x10000), *range(0x1D400, 0x1D800)]
    texts = [f"a{chr(point)}b1{chr(point)}2" for point in points]
    assert equal(grams(texts, 2), plain_grams(texts, 2))


def test_a_phrase_is_a_break_and_the_words_around_it_are_not_neighbours() -> None:
    text = "one two Please reason step by step, and put your final answer within \\boxed{}. three"
    found = masked(stripped(text))
    assert [word for word in found if word is not None] == ["one", "two", "three"]
    assert windows(found, 3) == [] and len(windows(found, 2)) == 1
    assert whole_key(found) == whole_key(["one", "two", "three"])


def test_a_star_in_the_table_is_any_one_word() -> None:
    for text in ("The first line contains two integers n and m", "... two integers k and q."):
        left = [w for w in masked(text) if w is not None]
        assert left == ([] if text.startswith("The") else words(text))


def test_every_phrase_begins_with_a_word_and_has_two_at_least() -> None:
    assert all(phrase[0] is not None and len(phrase) >= 2 for phrase in PHRASES)


STARTER = """Add two numbers.
```python
from typing import List
class Solution:
    def twoSum(self, nums: List[int], target: int) -> List[int]:
        # YOUR CODE HERE
```
class Solution {
public:
    vector<int> twoSum(vector<int>& nums, int target) {
[asy]
draw((0,0)--(1,0)--(1,1)--(0,1)--cycle);
[/asy] /no_think"""


def test_starter_code_figures_and_flags_are_cut_out() -> None:
    found = [word for word in masked(stripped(STARTER)) if word is not None]
    assert found == ["add", "two", "numbers"]
    assert all(pattern.sign in STARTER for pattern in (*PATTERNS, *CODE_LINES))


def test_headings_are_cut_out_and_the_same_words_in_a_sentence_are_not() -> None:
    text = (
        "### Question:\nGiven input, print output.\n-----Input-----\n3\n\n**Output:**\n4\nAnswer:"
    )
    found = [word for word in masked(stripped(text)) if word is not None]
    assert found == ["given", "input", "print", "output", "3", "4"]


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("What is 2+2? Please put your final answer within \\boxed{}.", {"math"}),
        ("Add. Read the input from stdin and write the output to stdout.", {"code"}),
        ("Write a poem on the number of test cases. Let's think step by step.", set()),
    ],
)
def test_a_prompt_says_what_answer_it_wants(text: str, groups: set[str]) -> None:
    assert asks_for(text) == groups


def index_of(*benchmarks: list[str], n: int = 3) -> Index:
    builder = IndexBuilder()
    for benchmark in benchmarks:
        builder.add(grams(benchmark, n))
        builder.end_benchmark()
    return builder.build()


SMALL_BENCHMARKS = st.lists(
    st.lists(st.text("abc ", max_size=20), min_size=1, max_size=8), min_size=1
)


@pytest.mark.parametrize("chunk", [1 << 22, 3])
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(benchmarks=SMALL_BENCHMARKS)
def test_the_index_knows_every_n_gram_that_is_not_common(
    chunk: int, benchmarks: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ngram_index, "_CHUNK", chunk)
    index = index_of(*benchmarks)
    start = 0
    for number, benchmark in enumerate(benchmarks):
        rows = [words(text) for text in benchmark]
        items_of: dict[int, set[int]] = {}
        for row in rows:  # items of the same words are the first of them
            for _, key in windows(row, 3):
                items_of.setdefault(key, set()).add(start + rows.index(row))
        end = start + len(benchmark)
        for key, items in items_of.items():
            common = len(items) > max(1, 0.01 * index.sizes[number])
            known = {item for item in index.ngrams.items_of(key) if start <= item < end}
            assert known == (set() if common else items)
            assert (key in index.common[number]) == common
        start = end


def test_keys_are_found_with_and_without_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    table = index_of(["a b c d", "e f g h", "zz yy xx"]).ngrams
    keys = grams(["x b c d e", "zz yy xx e f g", "nothing at all"], 3).keys
    with_kernel = table.find(keys).tolist()
    monkeypatch.setattr("cascade_rl.data.decontaminate.ngram_index.loaded", lambda: None)
    assert table.find(keys).tolist() == with_kernel == [1, 3, 6]
    assert table.find(np.empty(0, np.uint64)).tolist() == []
