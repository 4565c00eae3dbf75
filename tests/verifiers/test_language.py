"""Which completions count as mixed-language."""

from __future__ import annotations

import pytest

from cascade_rl.types import Message
from cascade_rl.verifiers import mixed_language


def prompt(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


@pytest.mark.parametrize(
    "text", ["因此 x = 2", "Ответ 5", "답은 5", "الجواب", "so <think>所以</think> 5", "א"]
)
def test_another_script_after_an_english_prompt_is_mixed(text: str) -> None:
    assert mixed_language(prompt("What is 2 + 3?"), text)


PLAIN = ["5", "", "naïve café Müller", "π + Δx ≤ ∞ − ∑ ∈ ℝ ℵ ℏ ½ ² ™ °C", "𝑥 = 𝟓", "µ Ω Å"]


@pytest.mark.parametrize("text", [*PLAIN, "emoji 🙂 — “quote”"])
def test_latin_letters_and_mathematics_are_not(text: str) -> None:
    assert not mixed_language(prompt("What is 2 + 3?"), text)


def test_a_prompt_that_is_not_english_allows_any_answer() -> None:
    assert not mixed_language(prompt("Сколько будет 2 + 3?"), "Пять")
    assert not mixed_language(prompt("Translate 水 to Russian"), "вода")


def test_lone_surrogates_and_controls_are_no_letters() -> None:
    assert not mixed_language(prompt("hi"), "\ud800\0\u200b\ufeff")
