"""Duplicates go by content, whatever the order; and every one names what was kept instead."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cascade_rl.data.dedup import Rules, dedup, subtract
from cascade_rl.data.dedup.identity import KEYS, Key, identity, words
from cascade_rl.data.dedup.near import NearIndex, bands_for, jaccard, shingles
from cascade_rl.data.rows import iter_rows, rejects_path, write_rows
from cascade_rl.data.step import Step
from cascade_rl.types import (
    Answer,
    AssertTest,
    CallTest,
    Conversation,
    Message,
    Patch,
    Preference,
    Problem,
    Row,
    StdioTest,
    Tests,
)

WORDS = "the a of sum angle side number train apple box coin river find how many what is in".split()


def user(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


def chat(name: str, text: str) -> Problem:
    return Problem(name, "chat", user(text), Preference(), "t")


def math(name: str, text: str, answer: str = "1") -> Problem:
    return Problem(name, "math", user(text), Answer(answer), "t")


def code(name: str, text: str, reference: Tests | None = None, url: str = "") -> Problem:
    reference = reference or Tests((StdioTest("1", "1"),))
    return Problem(name, "code", user(text), reference, "t", {"url": url} if url else {})


def swe(name: str, text: str, repo: str, commit: str) -> Problem:
    patch = Patch({"a.py": "x"}, "", ("a.py",), "either", text)
    return Problem(name, "swe", user(text), patch, "t", {"repo": repo, "base_commit": commit})


def talk(name: str, *turns: tuple[str, str]) -> Conversation:
    messages = [m for q, a in turns for m in (Message("user", q), Message("assistant", a))]
    return Conversation(name, tuple(messages), "t")


def run(
    folder: Path, rows: Sequence[Row], rules: Rules | None = None, against: Sequence[Row] = ()
) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """(ids kept in order, rejects by id) of the rows as one file."""
    file, other, out = folder / "in.jsonl", folder / "other.jsonl", folder / "out.jsonl"
    write_rows(file, rows)
    with Step("dedup", out, {}) as step:
        if against:
            write_rows(other, against)
            subtract(file, [other], step, rules or Rules())
        else:
            dedup([file], step, rules or Rules())
    assert step.read == len(rows)
    rejects = [json.loads(line) for line in rejects_path(out).read_text().splitlines()]
    names = [r["row"].get("id") or r["row"]["extra_info"]["id"] for r in rejects]
    kept = [row.id for row in iter_rows(out) if not hasattr(row, "reason")]
    return kept, dict(zip(names, rejects, strict=True))


def text(rng: random.Random, count: int = 60) -> str:
    return " ".join(rng.choice(WORDS) + str(rng.randrange(50)) for _ in range(count))


def edited(rng: random.Random, original: str, edits: int) -> str:
    found = original.split()
    for place in rng.sample(range(len(found)), edits):
        found[place] = f"other{rng.randrange(10**6)}"
    return " ".join(found)


# --- keys -------------------------------------------------------------------------------------


def test_case_blanks_and_unicode_forms_make_no_new_prompt_and_signs_do(tmp_path: Path) -> None:
    rows = [
        chat("a", "What is  the Sum?"), chat("b", "what is\nthe sum ?"),
        chat("c", "what is the ﬁle"), chat("d", "What is the file"),
        chat("e", "2 + 3 is"), chat("f", "2 - 3 is"),
    ]  # fmt: skip
    kept, rejects = run(tmp_path, rows)
    assert len(kept) == 4 and {"e", "f"} <= set(kept)
    assert {r["reason"] for r in rejects.values()} == {"exact duplicate"}


def test_the_longest_stays_and_the_reject_names_it(tmp_path: Path) -> None:
    shared = "https://codeforces.com/problemset/problem/4/A"
    long = code("long", "One watermelon, two friends, and much more to say of it", url=shared)
    short = code("short", "A watermelon", url="http://www.codeforces.com/contest/4/problem/a#1")
    kept, rejects = run(tmp_path, [short, long])
    assert kept == ["long"]
    assert rejects["short"]["reason"] == "same problem page"
    assert rejects["short"]["detail"] == {"kept": "long", "by": "url"}


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("https://www.spoj.com/problems/A/", "http://spoj.com/problems/A?utm_source=x", True),
        ("https://acm.timus.ru/problem.aspx?num=1000", "acm.timus.ru/problem.aspx?num=1001", False),
        ("https://codeforces.com/", "https://codeforces.com", False),
        ("https://m1.codeforces.com/contest/9/problem/B", "codeforces.com/problemset/problem/9/b",
         True),
        ("http://[broken/x", "http://[broken/x", False),
    ],
)  # fmt: skip
def test_urls_are_equal_when_they_lead_to_one_problem(first: str, second: str, same: bool) -> None:
    one, two = (identity(code("x", "t", url=u)).values.get("url") for u in (first, second))
    assert (one is not None and one == two) == same


def test_swe_rows_are_the_same_at_the_same_commit(tmp_path: Path) -> None:
    rows = [
        swe("a", "issue one", "Django/django", "ABC1"),
        swe("b", "another issue", "https://github.com/django/django.git", "abc1"),
        swe("c", "issue two", "django/django", "def2"),
    ]
    kept, rejects = run(tmp_path, rows)
    assert len(kept) == 2 and "c" in kept
    assert [r["detail"]["by"] for r in rejects.values()] == ["commit"]


SAMPLES = (StdioTest("3\n10 20 30\n", "60\n"), StdioTest("2\n5 125\n", "130\n"))
HIDDEN = (StdioTest("1\n77777777\n", "77777777\n"),)


def test_problems_are_the_same_by_the_tests_their_prompts_show(tmp_path: Path) -> None:
    one = "Add them.\nInput\n3\n10 20 30\nOutput\n60\nInput\n2\n5 125\nOutput\n130"
    two = "Sum up! Example: `2 5 125` gives `130`, and `3 10 20 30` gives `60`."
    rows = [
        code("a", one, Tests((*SAMPLES, *HIDDEN))),
        code("b", two, Tests(SAMPLES[::-1])),
        code("c", "Something else", Tests(HIDDEN)),
        code("d", "Something else again", Tests((StdioTest("1", "1"),))),
        code("e", "Something else entirely", Tests((StdioTest("1", "1"),))),
    ]
    kept, rejects = run(tmp_path, rows)
    assert kept == ["a", "c", "d", "e"]
    assert rejects["b"]["detail"] == {"kept": "a", "by": "io"}


def test_call_tests_and_asserts_have_fingerprints_too() -> None:
    call = Tests((CallTest(([2, 7, 11, 15], 9), [0, 1]),), "two_sum")
    asked = code("a", "two_sum([2, 7, 11, 15], 9) is [0,1]", call)
    asserts = Tests((AssertTest("assert two_sum([2, 7], 9) == [0, 1]"),))
    spaced = Tests((AssertTest("assert two_sum([2,7],9)==[0,1]"),))
    assert identity(asked).values.get("io")
    first, second = (identity(code("x", "Find two.", t)).values["io"] for t in (asserts, spaced))
    assert first == second != identity(asked).values["io"]


def test_by_replaces_the_domains_own_keys(tmp_path: Path) -> None:
    rows = [swe("a", "issue one", "x/y", "1"), swe("b", "another issue", "x/y", "1")]
    assert run(tmp_path, rows, Rules(by=("exact",)))[0] == ["a", "b"]


def test_other_constraints_on_one_prompt_are_other_problems(tmp_path: Path) -> None:
    rng = random.Random(1)
    base = text(rng, 100)
    rows = [
        Problem(name, "instruction_following", user(f"{base} {rule}"), row.reference, "t")
        for name, rule in (("a", "Use no comma."), ("b", "Write in capitals."))
        for row in [_constraint()]
    ]
    assert run(tmp_path, rows)[0] == ["a", "b"]


def _constraint() -> Problem:
    from cascade_rl.types import Constraints

    reference = Constraints(("punctuation:no_comma",), ({},))
    return Problem("x", "instruction_following", user("x"), reference, "t")


def test_several_responses_to_a_prompt_are_kept_unless_prompts_are_compared(
    tmp_path: Path,
) -> None:
    rows = [talk("a", ("q", "one")), talk("b", ("q", "two")), talk("c", ("q", "one"))]
    kept, rejects = run(tmp_path, rows)
    assert len(kept) == 2 and "b" in kept and len(rejects) == 1
    assert len(run(tmp_path, rows, Rules(scope="prompt"))[0]) == 1


# --- near -------------------------------------------------------------------------------------


def test_near_rows_are_dropped_exactly_as_their_jaccard_says(tmp_path: Path) -> None:
    rng = random.Random(7)
    decided = {True: 0, False: 0}
    rows, expected = [], {}
    for n in range(300):
        original = text(rng, 120)
        changed = edited(rng, original, n % 12)
        likeness = jaccard(shingles(words(original)), shingles(words(changed)))
        expected[n] = likeness >= 0.8
        decided[likeness >= 0.8] += 1
        rows += [chat(f"{n}", original), chat(f"{n}e", changed)]
    kept, rejects = run(tmp_path, rows)
    assert min(decided.values()) > 50
    for n, near in expected.items():
        assert (len({f"{n}", f"{n}e"} & set(kept)) == 1) == near, n
    near_ones = [r for r in rejects.values() if r["reason"] == "near duplicate"]
    assert near_ones and all(r["detail"]["similarity"] >= 0.8 for r in near_ones)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_few_pairs_at_the_threshold_are_missed(threshold: float) -> None:
    count, size = bands_for(threshold)
    assert count * size <= 128
    assert (1 - threshold**size) ** count < 0.001


def test_what_is_found_is_what_all_pairs_would_find(tmp_path: Path) -> None:
    rng = random.Random(3)
    texts = [text(rng, 40)]
    while len(texts) < 120:
        texts.append(edited(rng, rng.choice(texts), rng.randrange(3)))
    sets = [shingles(words(t)) for t in texts]
    groups = {n: {n} for n in range(len(texts))}
    for a in range(len(texts)):
        for b in range(a):
            if jaccard(sets[a], sets[b]) >= 0.8 and groups[a] is not groups[b]:
                groups[a] |= groups[b]
                for n in groups[a]:
                    groups[n] = groups[a]
    clusters = len({id(group) for group in groups.values()})
    assert 5 < clusters < 100
    kept, _ = run(tmp_path, [chat(str(n), t) for n, t in enumerate(texts)])
    assert len(kept) == clusters


@pytest.mark.parametrize("make", [math, code])
def test_in_math_and_code_another_number_is_another_problem(
    tmp_path: Path, make: Callable[[str, str], Problem]
) -> None:
    base = text(random.Random(5), 100)
    rows = [make("a", f"{base} Find 17 of them."), make("b", f"{base} Find 18 of them.")]
    assert run(tmp_path, rows)[0] == ["a", "b"]
    changed = [make("a", f"{base} Find 17 of them."), make("b", f"{base} Find 17 of those.")]
    assert len(run(tmp_path, changed)[0]) == 1
    assert len(run(tmp_path, [chat("a", f"{base} 17"), chat("b", f"{base} 18")])[0]) == 1


def test_a_crowd_that_shares_an_instruction_takes_no_quadratic_time(tmp_path: Path) -> None:
    rng = random.Random(13)
    shared = text(rng, 150)
    alone = [words(f"{shared} {text(rng, 25)}") for _ in range(1500)]
    copies = [[*found[:170], "so", *found[170:]] for found in alone[:100]]
    parents: dict[int, set[int]] = {}
    with NearIndex(tmp_path / "sets", 0.8) as index:
        for found in (*alone, *copies):
            index.add(found)
        index.finish()
        index.join(lambda a, b: parents.setdefault(max(a, b), set()).add(min(a, b)), lambda n: n)
        compared = index.verified
        assert all(index.query(found, 0, lambda n: n < 1500) for found in copies)
    joined = sum(n in parents.get(1500 + n, ()) for n in range(100))
    assert joined == 100 and set(parents) == set(range(1500, 1600))
    assert compared < 1500 * 1499 / 2 / 5


def test_empty_and_one_word_prompts_are_no_near_duplicates(tmp_path: Path) -> None:
    rows = [chat("a", "?"), chat("b", "hello"), chat("c", "goodbye"), chat("d", "")]
    assert run(tmp_path, rows)[0] == ["a", "b", "c", "d"]


def test_a_text_asks_the_index_as_it_was_added(tmp_path: Path) -> None:
    rng = random.Random(9)
    texts = [words(text(rng)) for _ in range(50)]
    with NearIndex(tmp_path / "sets", 0.8) as index:
        for found in texts:
            index.add(found)
        index.finish()
        for number, found in enumerate(texts):
            assert index.query(found, 0, lambda _: True) == (number, 1.0)
            assert index.query(found, 0, lambda n, me=number: n != me) is None
    assert list(tmp_path.iterdir()) == []


def test_shingles_are_a_set_of_word_5_grams() -> None:
    assert len(shingles("a b c d e f".split())) == 2
    assert len(shingles("a a a a a a a".split())) == 1
    assert len(shingles("a b".split())) == 1 and len(shingles([])) == 0
    assert jaccard(np.empty(0, np.uint64), np.empty(0, np.uint64)) == 0


# --- order ------------------------------------------------------------------------------------


def _messy_rows(seed: int) -> list[Row]:
    """Every kind of duplicate, chains and ties among them."""
    rng = random.Random(seed)
    bases = [text(rng, 40) for _ in range(4)]
    rows: list[Row] = []
    for n in range(24):
        base = edited(rng, rng.choice(bases), rng.randrange(4))
        url = rng.choice(["", "", f"https://x.org/p/{rng.randrange(3)}"])
        tests = rng.choice([SAMPLES, HIDDEN, HIDDEN[:1] + SAMPLES[:1]])
        kind = rng.randrange(4)
        if kind == 0:
            rows.append(chat(f"r{n}", base))
        elif kind == 1:
            rows.append(code(f"r{n}", base, Tests(tests), url))
        elif kind == 2:
            rows.append(swe(f"r{n}", base, f"o/{rng.randrange(2)}", str(rng.randrange(2))))
        else:
            rows.append(chat(f"r{n}", base.upper() if rng.random() < 0.5 else base))
    return rows


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 7), shuffle=st.integers(0, 10**6), every=st.booleans())
def test_the_result_does_not_depend_on_the_order_of_rows(
    tmp_path: Path, seed: int, shuffle: int, every: bool
) -> None:
    rows, rules = _messy_rows(seed), Rules(by=KEYS if every else None)
    shuffled = rows[:]
    random.Random(shuffle).shuffle(shuffled)
    kept, rejects = run(tmp_path, rows, rules)
    again, rejects_again = run(tmp_path, shuffled, rules)
    assert set(kept) == set(again) and len(kept) < len(rows)
    assert again == [row.id for row in shuffled if row.id in set(kept)]
    told = {name: (r["reason"], r["detail"]) for name, r in rejects.items()}
    assert told == {name: (r["reason"], r["detail"]) for name, r in rejects_again.items()}


def test_rows_that_meet_through_others_are_one_cluster(tmp_path: Path) -> None:
    rows = [
        code("a", "first words here", url="https://x.org/1"),
        code("b", "some other words", Tests(HIDDEN), url="https://x.org/1"),
        code("c", "the longest words of all three rows", Tests(HIDDEN)),
    ]
    kept, rejects = run(tmp_path, rows)
    assert kept == ["c"]
    assert rejects["b"]["detail"] == {"kept": "c", "by": "io"}
    assert rejects["a"]["detail"]["by"] == "url" and "through" in rejects["a"]["detail"]


def test_several_files_are_one_set_and_rejects_name_the_file(tmp_path: Path) -> None:
    write_rows(tmp_path / "1.jsonl", [chat("a", "hello you"), chat("b", "bye")])
    write_rows(tmp_path / "2.jsonl", [chat("c", "Hello  you, "[:-2])])
    out = tmp_path / "out.jsonl"
    with Step("dedup", out, {}) as step:
        dedup([tmp_path / "2.jsonl", tmp_path / "1.jsonl"], step, Rules())
    (reject,) = map(json.loads, rejects_path(out).read_text().splitlines())
    assert reject["detail"]["file"].endswith(("1.jsonl", "2.jsonl"))
    assert step.details["clusters"] == {"count": 1, "largest": 2}


# --- one set without another ------------------------------------------------------------------


def test_no_prompt_of_rl_is_left_in_sft(tmp_path: Path) -> None:
    rng = random.Random(11)
    prompts = [text(rng, 50) for _ in range(40)]
    rl: list[Row] = [math(f"rl{n}", p) for n, p in enumerate(prompts[:20])]
    sft = [talk(f"s{n}.{k}", (p, f"answer {k}")) for n, p in enumerate(prompts) for k in range(3)]
    near = talk("near", (edited(rng, prompts[3], 1), "x"))
    inside = talk("inside", ("Hello there", "hi"), (prompts[5].upper(), "y"))
    far = talk("far", (edited(rng, prompts[4], 20), "z"))
    kept, rejects = run(tmp_path, [*sft, near, inside, far], against=rl)
    assert set(kept) == {f"s{n}.{k}" for n in range(20, 40) for k in range(3)} | {"far"}
    assert rejects["s0.1"]["reason"] == "exact duplicate in another set"
    assert rejects["s0.1"]["detail"]["kept"] == "rl0"
    assert rejects["near"]["detail"]["by"] == "near" and rejects["near"]["detail"]["kept"] == "rl3"
    assert rejects["inside"]["detail"]["kept"] == "rl5"


def test_rl_rows_are_found_inside_conversations_of_several_turns(tmp_path: Path) -> None:
    long = text(random.Random(2), 50)
    sft = [talk("s", ("What is a cat?", "x"), ("Please rewrite that.", "y"), (long, "z"))]
    rl = [chat("cat", "what is a cat ?"), chat("long", f"{long} now"), chat("free", "Something")]
    kept, rejects = run(tmp_path, rl, against=sft)
    assert kept == ["free"] and set(rejects) == {"cat", "long"}


def test_turns_that_conversations_share_are_no_prompts(tmp_path: Path) -> None:
    again = "Please rewrite your previous response so that it is shorter and more formal."
    one, two = (
        talk("a", ("Write a poem", "x"), (again, "y")),
        talk("b", ("A tale", "x"), (again, "y")),
    )
    assert run(tmp_path, [one], against=[two])[0] == ["a"]


def test_keys_count_only_where_both_rows_have_them(tmp_path: Path) -> None:
    mine = [code("a", "one text", url="https://x.org/1"), code("b", "two text")]
    kept, rejects = run(tmp_path, mine, against=[code("o", "other", url="x.org/1/")])
    assert kept == ["b"] and rejects["a"]["reason"] == "same problem page in another set"
    only_exact: tuple[Key, ...] = ("exact",)
    assert run(tmp_path, mine, Rules(by=only_exact), [code("o", "x", url="x.org/1")])[0] == [
        "a",
        "b",
    ]


# --- real rows --------------------------------------------------------------------------------


def test_gsm8k_holds_hardly_any_duplicates_and_all_of_itself(
    tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    lines = shared_data("math/gsm8k_test.jsonl").read_text().splitlines()
    rows: list[Row] = [math(str(n), json.loads(line)["question"]) for n, line in enumerate(lines)]
    kept, _ = run(tmp_path, rows)
    assert len(rows) == 1319 and len(kept) > 1300
    assert run(tmp_path, rows, against=rows)[0] == []


def test_contest_problems_are_found_again_by_their_samples(
    tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    rows, again = [], []
    for line in shared_data("code/sf_code_contests.jsonl").read_text().splitlines():
        row = json.loads(line)
        tests = row["test"] if isinstance(row["test"], list) else json.loads(row["test"])
        shown = tuple(StdioTest(t["input"]["stdin"], t["output"]["stdout"]) for t in tests)
        rows.append(code(row["id"], row["content"], Tests(shown)))
        spaced = row["content"].replace("\n", " \n\n  ")
        words_first = f"Solve this in Python. {spaced} Good luck!"
        other = Tests((*reversed(shown), StdioTest("hidden 12345", "hidden 54321")))
        again.append(code(f"{row['id']}'", words_first, other))
    kept, rejects = run(tmp_path, again, Rules(by=("io",)), rows)
    assert all(reject["detail"]["kept"] == name[:-1] for name, reject in rejects.items())
    assert len(rejects) >= 10 and len(kept) + len(rejects) == len(rows)
    assert len(run(tmp_path, rows)[0]) == len(rows)
