"""Rows that show an evaluation item are found, by what they share, and no other row is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.decontaminate.documents import VARIANTS, corpus
from benchmarks.decontaminate.plants import judge
from cascade_rl import mini
from cascade_rl.data.decontaminate import (
    CODE_NGRAM,
    Guard,
    Hit,
    RowSet,
    Tally,
    clean,
    examine,
    ngram_index,
    ngrams,
)
from cascade_rl.data.decontaminate.problem_urls import canonical, problem_urls
from cascade_rl.data.files import raw_rows
from cascade_rl.data.rows import read_problems, rejects_path, write_rows
from cascade_rl.data.step import Step, report_path
from cascade_rl.errors import DataError
from cascade_rl.types import (
    Answer,
    Conversation,
    Domain,
    Message,
    Pair,
    Preference,
    Problem,
    Row,
    StdioTest,
    Tests,
)

Data = Callable[[str], Path]
ITEM = "A farmer walks round a square field of seven acres every morning before breakfast."
CODE = Tests((StdioTest("1", "1"),))


def problem(text: str, name: str = "p", source: str = "test") -> Problem:
    return Problem(name, "math", (Message("user", text),), Answer("1"), source)


def coding(text: str, url: str = "", domain: Domain = "code") -> Problem:
    extra = {"url": url} if url else {}
    reference = CODE if domain == "code" else Preference()
    return Problem("c", domain, (Message("user", text),), reference, "test", extra)


def hits(row: Row, *items: Row, n: int = 9) -> list[Hit]:
    [found] = Guard([RowSet("bench", lambda: items)], n).hits([row])
    return found


# --- planted leaks ----------------------------------------------------------------------------


def test_planted_leaks_are_all_dropped_and_nothing_else_is() -> None:
    made = corpus(documents=4000, leaks=700, innocent=1500, length=100)
    outcome = judge(made)
    assert outcome.right, outcome
    assert outcome.dropped["leak"] == 700
    assert (outcome.kept["close"], outcome.kept["innocent"]) == (700, 1500)


def test_plain_python_decides_as_the_kernel_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (ngrams, ngram_index):
        monkeypatch.setattr(module, "loaded", lambda: None)
    assert judge(corpus(documents=300, leaks=70, innocent=100, items=200, length=60)).right


def test_a_corpus_has_every_kind_of_leak() -> None:
    made = corpus(documents=70, leaks=70, innocent=0, items=50, length=40)
    kinds = {row.id.rsplit("-", 1)[0] for row in made.rows()}
    assert {f"leak-{variant}" for variant in VARIANTS} < kinds
    assert {f"leak-short-{variant}" for variant in VARIANTS} < kinds
    assert "leak-address" in kinds


# --- what is compared -------------------------------------------------------------------------


def test_nine_words_are_a_leak_and_eight_are_none() -> None:
    words = ITEM.split()
    [hit] = hits(problem("zz " + " ".join(words[2:11]) + " yy"), problem(ITEM, "item-7"))
    assert (hit.benchmark, hit.item) == ("bench", "item-7")
    assert hit.words == "walks round a square field of seven acres every"
    assert hits(problem("zz " + " ".join(words[2:10]) + " yy"), problem(ITEM)) == []
    assert hits(problem(" ".join(words[:13])), problem(ITEM), n=CODE_NGRAM) == []


def test_a_hit_names_the_longest_row_of_words() -> None:
    [hit] = hits(problem(f"So: {ITEM} Why?"), problem(ITEM))
    assert hit.words.startswith("a farmer walks") and hit.words.endswith("before breakfast")


def test_a_short_prompt_is_a_leak_as_a_whole_and_inside_a_sentence_it_is_none() -> None:
    item = problem("Solve $x^2 = 4$. Put your final answer within \\boxed{}.")
    assert hits(problem("Question: solve x² = 4!\nAnswer:"), item)
    assert hits(problem("First solve x^2 = 4, then add three to it."), item) == []
    assert hits(problem("Let's think step by step."), problem("Show your work.")) == []


def test_only_what_the_user_says_is_compared() -> None:
    said = (Message("system", ITEM), Message("user", "Go on."), Message("assistant", ITEM))
    assert hits(Conversation("c", said, "test"), problem(ITEM)) == []
    assert hits(Pair("p", (Message("user", "Go on."),), ITEM, "no", "test"), problem(ITEM)) == []
    pair = Pair("p", (Message("user", ITEM),), "yes", "no", "test")
    assert hits(pair, problem(ITEM))


def test_a_problem_in_a_later_turn_is_found_and_no_n_gram_spans_two_turns() -> None:
    def talk(*turns: str) -> Conversation:
        answered = [(Message("user", turn), Message("assistant", "yes")) for turn in turns]
        return Conversation("c", tuple(m for pair in answered for m in pair), "test")

    assert hits(talk("Hello there.", "What is 2 + 3?"), problem("What is 2+3?"))
    words = ITEM.split()
    assert hits(talk(" ".join(words[:7]), " ".join(words[7:]), "Go on."), problem(ITEM)) == []
    both = talk("What is 2+3?", "And twice that?")
    assert hits(both, both) and not hits(talk("And twice that?"), both)


def test_an_n_gram_in_more_than_one_percent_of_the_items_is_ignored_and_reported() -> None:
    phrase = "alas one two three four five six seven eight nine"
    items = [problem(f"{phrase} word{chr(97 + n % 26)}{n}", f"i{n}") for n in range(5)]
    items += [problem(f"q{n} " + " ".join(f"w{chr(97 + k)}" for k in range(n % 7)), f"o{n}")
              for n in range(395)]  # fmt: skip
    guard = Guard([RowSet("bench", lambda: items)])
    tally = Tally()
    found = dict(examine_ids([problem(f"Now {phrase} ten", "row"), items[0]], guard, tally))
    assert found["row"] == [] and found["i0"][0].item == "i0"
    [line] = guard.report(tally)
    assert (line["items"], line["items_hit"], line["rows_dropped"]) == (400, 1, 1)
    assert {"words": phrase, "items": 5} in line["ignored"]


def examine_ids(rows: list[Row], guard: Guard, tally: Tally) -> list[tuple[str, list[Hit]]]:
    return [(row.id, found) for row, found in examine(rows, guard, tally)]


def test_an_n_gram_of_one_item_counts_however_few_there_are() -> None:
    assert hits(problem(ITEM + " Why?"), problem(ITEM), problem("Something else entirely."))


def test_items_of_the_same_words_are_one_item_and_are_hit_together() -> None:
    items = [problem(ITEM, "a"), problem(ITEM.upper(), "b"), problem("Another one.", "c")]
    guard = Guard([RowSet("bench", lambda: items)])
    tally = Tally()
    assert dict(examine_ids([problem(f"{ITEM} Why?", "r")], guard, tally))["r"][0].item == "a"
    assert guard.report(tally)[0]["items_hit"] == 2


def test_a_row_that_shows_items_of_two_sets_counts_for_both() -> None:
    guard = Guard([RowSet(name, lambda: [problem(ITEM)]) for name in ("x", "y")])
    tally = Tally()
    assert [h.benchmark for h in examine_ids([problem(ITEM)], guard, tally)[0][1]] == ["x", "y"]
    assert tally.by_benchmark == {"x": 1, "y": 1} and tally.leaking == 1


# --- addresses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://codeforces.com/contest/4/problem/A", "codeforces.com/problemset/problem/4/a/"),
        ("http://www.codeforces.com/contest/4/problem/A?lang=ru", "https://m2.codeforces.com/contest/4/problem/A#x"),
        ("https://leetcode.com/problems/two-sum/description/", "https://leetcode.cn/problems/two-sum"),
        ("https://abc1.contest.atcoder.jp/tasks/a", "https://atcoder.jp/contests/abc1/tasks/a"),
        ("http://judge.u-aizu.ac.jp/d.jsp?id=01&lang=jp", "judge.u-aizu.ac.jp/d.jsp?id=01"),
    ],
)  # fmt: skip
def test_one_problem_has_one_address(one: str, other: str) -> None:
    assert canonical(one) == canonical(other) != ""


@pytest.mark.parametrize(
    "text", ["", "n/a", "https://codeforces.com/", "http://[::1", "codeforces.com/problemset"]
)
def test_what_names_no_page_is_no_address(text: str) -> None:
    assert canonical(text) in ("", "codeforces.com/problemset")


def test_code_problems_of_one_address_are_the_same_problem() -> None:
    item = coding("Add two numbers.", "https://codeforces.com/contest/1/problem/A")
    linked = coding("See https://www.codeforces.com/problemset/problem/1/A, and do it.")
    [hit] = hits(linked, item)
    assert hit.words == "codeforces.com/problemset/problem/1/a"
    assert hits(coding("Read https://en.wikipedia.org/wiki/Sum first."), item) == []
    assert (
        problem_urls(coding("x", "https://codeforces.com/contest/1/problem/A", "chat"), "") == set()
    )


def test_an_address_of_many_items_is_not_compared() -> None:
    items = [coding(f"Do this {n}.", "https://example.org/problems") for n in range(3)]
    guard = Guard([RowSet("bench", lambda: items)])
    assert guard.hits([coding("Another.", "https://example.org/problems")]) == [[]]
    assert guard.ignored_urls == {"example.org/problems": 3}


# --- the command's files ----------------------------------------------------------------------


def test_every_dropped_row_is_kept_with_the_item_that_it_shows(tmp_path: Path) -> None:
    rows = [problem(ITEM, "leak"), problem("Nothing of the kind.", "fine")]
    guard = Guard([RowSet("bench.jsonl", lambda: [problem(f"{ITEM} Why?", "item-3")])])
    with Step("decontaminate", tmp_path / "out.jsonl", {}) as step:
        clean(step, rows, guard)
    assert [row.id for row in read_problems(tmp_path / "out.jsonl")] == ["fine"]
    [reject] = raw_rows(rejects_path(tmp_path / "out.jsonl"))
    assert reject["reason"] == "n-gram of an evaluation item"
    assert (reject["detail"]["benchmark"], reject["detail"]["item"]) == ("bench.jsonl", "item-3")
    assert reject["detail"]["words"].startswith("a farmer walks round")
    report = json.loads(report_path(tmp_path / "out.jsonl").read_text())
    [line] = report["benchmarks"]
    assert (line["benchmark"], line["items"], line["items_hit"]) == ("bench.jsonl", 1, 1)
    assert (report["kept"], report["dropped"]) == (1, {"n-gram of an evaluation item": 1})


def test_an_evaluation_set_without_rows_is_refused() -> None:
    with pytest.raises(DataError, match="0 rows can be compared with"):
        Guard([RowSet("empty", lambda: [])])


def test_lone_surrogates_and_nul_bytes_are_compared_like_any_text() -> None:
    assert hits(problem(f"\ud800 \0{ITEM}\0"), problem(ITEM))


# --- real sets --------------------------------------------------------------------------------


def gsm8k(path: Path) -> list[Row]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [problem(row["question"], f"gsm8k/{n}") for n, row in enumerate(rows)]


def math500(path: Path) -> list[Row]:
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [problem(row["problem"], f"math500/{n}") for n, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("name", "read"),
    [("math/gsm8k_test.jsonl", gsm8k), ("math/deepscaler_math500.json", math500)],
)
@pytest.mark.parametrize("kernel", [True, False])
def test_a_public_set_against_itself_is_all_dropped(
    name: str,
    read: Callable[[Path], list[Row]],
    kernel: bool,
    shared_data: Data,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not kernel:
        for module in (ngrams, ngram_index):
            monkeypatch.setattr(module, "loaded", lambda: None)
    rows = read(shared_data(name))[: None if kernel else 200]
    tally = Tally()
    guard = Guard([RowSet(name, lambda: rows)])
    assert all(found for _, found in examine(rows, guard, tally))
    assert guard.report(tally)[0]["items_hit"] == len(rows)


def test_gsm8k_shares_nothing_with_math500(shared_data: Data) -> None:
    rows = gsm8k(shared_data("math/gsm8k_test.jsonl"))
    items = math500(shared_data("math/deepscaler_math500.json"))
    guard = Guard([RowSet("math500", lambda: items)])
    assert [(row.id, found) for row, found in examine(rows, guard, Tally()) if found] == []


def test_a_retold_item_of_math500_is_found_by_its_own_words(shared_data: Data) -> None:
    items = math500(shared_data("math/deepscaler_math500.json"))
    guard = Guard([RowSet("math500", lambda: items)])
    for item in items:
        assert isinstance(item, Problem)
        text = item.prompt[0].content.replace("$", "").replace("\\dfrac", "\\frac").upper()
        [found] = guard.hits([problem(f"**Problem.** {text.lower()}\n\n/think")])
        assert item.id in {hit.item for hit in found}, text


# --- the embedded default ---------------------------------------------------------------------


def test_rows_made_from_templates_are_compared_as_wholes_with_each_other_only() -> None:
    made = problem(f"{ITEM} Why?", source="mini")
    assert hits(made, problem(ITEM, source="mini")) == []
    assert hits(made, problem(ITEM)) and hits(problem(f"{ITEM} Why?"), problem(ITEM, source="mini"))


def test_written_rows_of_the_embedded_default_go_the_same_way(tmp_path: Path) -> None:
    rows = mini.rows("math/train", 0)[:50]
    write_rows(tmp_path / "train.parquet", rows)
    read = read_problems(tmp_path / "train.parquet")
    assert all(Guard([RowSet("train", lambda: rows)]).hits(read))
