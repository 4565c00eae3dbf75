"""Which completions count as mixed-language."""

from __future__ import annotations

import time

import pytest

from cascade_rl.types import Message
from cascade_rl.verifiers import mixed_language


def prompt(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


ENGLISH = "What is 2 + 3?"

MIXED = [
    "因此 x = 2",
    "Ответ 5",
    "답은 5",
    "الجواب",
    "so <think>所以</think> 5",
    "א",
    "x = 5。答案",
    "The value is ٣",  # a digit of another script
    "⽔",  # a radical, which reads as a letter
    "ㇰ ｱｲ",
    "η απάντηση είναι 5",
    "λόγος",
    "```python\nprint('привет')\n```",
    "the Сat",  # one letter that only looks Latin
    "कखग",
    "ไทย",
    "English first. " * 1000 + "最后",
]
PLAIN = [
    "5",
    "",
    "naïve café Müller Dvořák Nguyễn Łódź İstanbul",
    "Dostoevsky, Tōkyō, Běijīng, al-Khwārizmī, Erdős",
    "π + Δx ≤ ∞ − ∑ ∈ ℝ ℵ ℏ ½ ² ™ °C",
    "𝑥 = 𝟓 and 𝔸, 𝓛, 𝖷",
    "µ Ω Å K",
    "xⁿ⁺¹ + aᵢ − Ⅷ №",
    "αβγ, ΔABC, ψφχω",
    "emoji 🙂 — “quote” … 👩‍🔬 🈁 ✓ → ⇒ ⊢",
    "５ ｆ ﬁ",
    "une réponse en français",  # Latin script: not told apart
    "┌──┐ █ ░ ※ ¶ § 、。",
    "\u200b\u202e\ufeff\ud800\0",
    "¿qué? ¡sí! ß æ ø þ ð",
]


@pytest.mark.parametrize("text", MIXED)
def test_another_script_after_an_english_prompt_is_mixed(text: str) -> None:
    assert mixed_language(prompt(ENGLISH), text)


@pytest.mark.parametrize("text", PLAIN)
def test_latin_letters_symbols_and_mathematics_are_not(text: str) -> None:
    assert not mixed_language(prompt(ENGLISH), text)


@pytest.mark.parametrize("text", PLAIN)
def test_a_prompt_of_those_is_english_still(text: str) -> None:
    assert mixed_language(prompt(text), "五")


@pytest.mark.parametrize(
    "asked",
    [
        "Сколько будет 2 + 3?",
        "Translate 水 to Russian",
        "Fix this:\n```python\nprint('привет')\n```",
        "What does «λόγος» mean?",
    ],
)
def test_a_prompt_with_a_word_of_another_script_allows_any_answer(asked: str) -> None:
    assert not mixed_language(prompt(asked), "Пять 五")


def test_every_turn_of_the_prompt_is_looked_at() -> None:
    turns = (Message("system", "Отвечай"), Message("user", ENGLISH))
    assert not mixed_language(turns, "Пять")
    assert mixed_language(turns[1:], "Пять")


HUGE = {
    "ascii": "a b " * 250_000,
    "accents": "é x " * 250_000,
    "letters of mathematics": "αβγδ" * 250_000,
    "one foreign letter at the end": "é" * 999_999 + "五",
    "every character there is": "".join(map(chr, range(0x110000))),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_megabyte_takes_no_time(name: str) -> None:
    started = time.process_time()
    mixed_language(prompt(ENGLISH), HUGE[name])
    limit = 8.0 if name.startswith("every") else 0.5
    assert time.process_time() - started < limit
