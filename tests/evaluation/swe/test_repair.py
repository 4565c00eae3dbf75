from __future__ import annotations

import random

import pytest

from cascade_rl.data.lengths import estimated_tokens
from cascade_rl.data.sources.swe import repair_prompt
from cascade_rl.evaluation.swe.repair import TURN, context, wanted_files, yarn_factor

FILES = {f"f{n}.py": f"x{n} = 1\n" * 30 for n in range(12)}
ISSUE = "something is wrong"


def of(wanted: list[str], budget: int, seed: int = 0, noise: bool = False) -> tuple[str, ...]:
    names = FILES if noise else ()
    found = context(
        FILES, ISSUE, wanted, budget, estimated_tokens, random.Random(seed), noise=names
    )
    if found.paths:
        text = repair_prompt(ISSUE, {path: FILES[path] for path in found.paths})
        assert estimated_tokens(text) + TURN <= found.tokens <= budget
    assert found.noise == len(set(found.paths) - set(wanted))
    return found.paths


def test_golden_and_localized_files_are_at_most_five_together() -> None:
    localized = ["f5.py", "f1.py", "f6.py", "f7.py", "f8.py", "f9.py"]
    golden = {"f2.py", "f1.py"}
    assert wanted_files("ground_truth", golden, localized, 4) == ["f1.py", "f2.py"]
    assert wanted_files("localized", golden, localized, 4) == localized[:4]
    assert wanted_files("mixed", golden, localized, 4) == [
        "f1.py", "f2.py", "f5.py", "f6.py", "f7.py"
    ]  # fmt: skip
    many = {f"f{n}.py" for n in range(7)}
    assert wanted_files("mixed", many, localized, 4) == sorted(many)


def test_noise_is_added_until_the_next_file_would_exceed_the_budget() -> None:
    sizes = [len(of(["f3.py"], budget, noise=True)) for budget in (400, 700, 1000, 9000)]
    assert sizes == sorted(sizes) and 1 <= sizes[0] < sizes[1] < sizes[2] and sizes[3] == 12
    one = estimated_tokens(repair_prompt("", {"f3.py": FILES["f3.py"]}))
    one -= estimated_tokens(repair_prompt("", {}))
    room = 1000 - TURN - estimated_tokens(repair_prompt(ISSUE, {}))
    assert sizes[2] == room // (one + 1)


def test_files_stand_in_random_order_which_the_seed_decides() -> None:
    assert of(["f1.py", "f2.py", "f3.py"], 9000, 1) == of(["f1.py", "f2.py", "f3.py"], 9000, 1)
    orders = {of(["f1.py", "f2.py", "f3.py"], 9000, seed) for seed in range(40)}
    assert len(orders) == 6
    drawn = {frozenset(of(["f1.py"], 800, seed, noise=True)) for seed in range(20)}
    assert len(drawn) > 5


def test_wanted_files_that_do_not_fit_are_left_out_and_noise_never_stands_alone() -> None:
    files = {"long.py": "x = 1\n" * 5000, "short.py": "x = 1\n", "noise.py": "y = 1\n"}
    rng = random.Random(0)
    found = context(files, ISSUE, ["long.py", "short.py"], 1000, estimated_tokens, rng)
    assert found.paths == ("short.py",)
    alone = context(files, ISSUE, ["long.py"], 1000, estimated_tokens, rng, noise=files)
    assert alone.paths == () and alone.noise == 0


@pytest.mark.parametrize(
    ("prompt", "answer", "factor"),
    [(32_768, 32_768, 2), (65_536, 32_768, 3), (60_000, 32_768, 3), (16_000, 16_000, 1), (1, 1, 1)],
)
def test_yarn_stretches_the_context_as_the_papers_lengths_say(
    prompt: int, answer: int, factor: int
) -> None:
    assert yarn_factor(prompt, answer) == factor
