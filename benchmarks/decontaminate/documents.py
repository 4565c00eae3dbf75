"""Texts that look like problems, drawn from a large vocabulary, and leaks planted in them.

No nine words in a row recur by chance: a content word is one of 60,000, and at most two function
words follow one another. Everything is drawn from a seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

from cascade_rl.types import Answer, Message, Preference, Problem

FUNCTION = (
    "the of a to in and is that for it with as are on be at by this each which from or an if "
    "has have when their all its can one not more than into two they number find every such"
).split()
NOTES = (
    "{} Please reason step by step, and put your final answer within \\boxed{{}}.",
    "{} Reason step by step, final answer in \\boxed{{}}.",
    "Let's think step by step and output the final answer within \\boxed{{}}. {}",
    "Solve the following math problem. Make sure to put the answer (and only answer) inside "
    "\\boxed{{}}.\n\n{}",
    "{}\n\nRead the inputs from stdin solve the problem and write the answer to stdout (do not "
    "directly test on the sample inputs). Enclose your code within delimiters as follows. Ensure "
    "that when the python program runs, it reads the inputs, runs the algorithm and writes output "
    "to STDOUT.\n```python\n# YOUR CODE HERE\n```",
    "{}\nInput\nThe first line contains a single integer $t$ ($1 \\le t \\le 10^4$) — the number "
    "of test cases. The description of the test cases follows.\nOutput\nFor each test case, print "
    "a single integer",
    "You will be given a question (problem specification) and will generate a correct Python "
    "program that matches the specification and passes all tests.\n\n{}\n\n```python\nclass "
    "Solution:\n    def solve(self, nums: List[int], k: int, names: List[str]) -> int:\n```",
)
"""The usual instructions around a problem, in evaluation sets and in innocent problems alike."""


def vocabulary(size: int = 60_000) -> list[str]:
    """Made-up words of two or three syllables, the same at every call."""
    starts = "b br c ch d dr f fl g gr h j k l m n p pl qu r s st t tr v w".split()
    middles = "a e i o u ai ea oo".split()
    ends = "ck d l m n nd r rt s st t th x".split()
    syllables = ["".join(parts) for parts in product(starts, middles)]
    words = [a + b + c for a, b, c in product(syllables, syllables[::7], ends)]
    random.Random("vocabulary").shuffle(words)
    return list(dict.fromkeys(words))[:size]


VOCABULARY = vocabulary()


def draw_words(rng: random.Random, count: int) -> list[str]:
    """Words as they follow one another in a text: some 45 % function words, a few numbers."""
    found: list[str] = []
    while len(found) < count:
        found += rng.choices(FUNCTION, k=rng.choice((0, 1, 1, 2)))
        found.append(str(rng.randint(2, 99)) if rng.random() < 0.06 else rng.choice(VOCABULARY))
    return found[:count]


def sentences(rng: random.Random, words: list[str]) -> str:
    """The words with capitals, commas and full stops."""
    text: list[str] = []
    left = rng.randint(8, 20)
    start = True
    for word in words:
        text.append(word.capitalize() if start else word)
        left -= 1
        start = left == 0
        if start:
            text[-1] += rng.choice("..?") + ("\n" if rng.random() < 0.25 else "")
            left = rng.randint(8, 20)
        elif rng.random() < 0.06:
            text[-1] += ","
    return " ".join(text)


# --- ways to write the same words -------------------------------------------------------------

ACCENTED = str.maketrans("aeiou", "áéíöü")


def punctuated(rng: random.Random, words: list[str]) -> str:
    """Capitals, commas, dashes, quotation marks and line ends at random."""
    marks = (", ", " - ", "; ", " (", ") ", '" ', "\n", " … ", "  ")
    return "".join(
        (word.upper() if rng.random() < 0.3 else word) + rng.choice(marks) for word in words
    )


def in_latex(rng: random.Random, words: list[str]) -> str:
    """Words in text commands and dollars, numbers in formulas."""
    ways: tuple[str, ...] = (
        "{}",
        "\\text{{{}}}",
        "${}$",
        "\\(\\mathrm{{{}}}\\)",
        "\\textbf{{{}}},",
    )
    return "\\ ".join(rng.choice(ways).format(word) for word in words)


def in_unicode(rng: random.Random, words: list[str]) -> str:
    """Full width letters, accents, invisible characters, blanks of other widths."""

    def written(word: str) -> str:
        match rng.randrange(4):
            case 0:
                return "".join(chr(ord(c) + 0xFEE0) for c in word)
            case 1:
                return word.translate(ACCENTED)
            case 2:
                return word[:1] + "\u200b" + word[1:]
            case _:
                return word

    return rng.choice(("\u00a0", "\u2003", " \u2014 ")).join(map(written, words))


def templated(rng: random.Random, words: list[str]) -> str:
    """The words inside an instruction."""
    return rng.choice(NOTES).format(sentences(rng, words))


VARIANTS: dict[str, Callable[[random.Random, list[str]], str]] = {
    "verbatim": lambda rng, words: " ".join(words),
    "punctuation": punctuated,
    "LaTeX": in_latex,
    "Unicode": in_unicode,
    "template": templated,
}


# --- an evaluation set and a training set -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Corpus:
    """An evaluation set, and a training set whose rows' ids say what they are."""

    items: list[Problem]
    rows: Callable[[], Iterator[Problem]]
    leaks: int
    close: int
    innocent: int
    documents: int


def problem(name: str, text: str) -> Problem:
    """A row with that prompt; its domain does not matter here."""
    return Problem(name, "math", (Message("user", text),), Answer("1"), "bench")


def page(name: str, text: str, url: str) -> Problem:
    """A chat row would have no address; a code row has, and tests that nobody runs."""
    return Problem(name, "code", (Message("user", text),), Preference(), "bench", {"url": url})


def corpus(
    documents: int, leaks: int, innocent: int, items: int = 1000, length: int = 300
) -> Corpus:
    """`documents` rows in all: `leaks` planted, as many 8-word ones, `innocent` with notes.

    Of five leaks three are nine words in one of the ways to write them, one is a whole prompt
    shorter than that, one a problem's address.
    """
    rng = random.Random("items")
    bodies = [draw_words(rng, rng.randint(25, 90)) for _ in range(items)]
    short = [draw_words(rng, rng.randint(3, 8)) for _ in range(items // 5)]
    evaluation = [problem(f"item-{n}", templated(rng, body)) for n, body in enumerate(bodies)]
    evaluation += [problem(f"short-{n}", templated(rng, body)) for n, body in enumerate(short)]
    evaluation += [
        page(f"page-{n}", sentences(rng, draw_words(rng, 40)),
             f"https://codeforces.com/contest/{n + 1}/problem/A")
        for n in range(items // 5)
    ]  # fmt: skip

    def rows() -> Iterator[Problem]:
        rng = random.Random("rows")
        for n in range(documents):
            if n < leaks:
                yield _leak(rng, n, bodies, short, length)
            elif n < 2 * leaks:
                yield problem(f"close-{n}", _hidden(rng, bodies, 8, "verbatim", length))
            elif n < 2 * leaks + innocent:
                text = rng.choice(NOTES).format(sentences(rng, draw_words(rng, 60)))
                yield problem(f"innocent-{n}", text)
            else:
                yield problem(f"document-{n}", sentences(rng, draw_words(rng, length)))

    return Corpus(evaluation, rows, leaks, leaks, innocent, documents)


def _leak(
    rng: random.Random, n: int, bodies: list[list[str]], short: list[list[str]], length: int
) -> Problem:
    variant = list(VARIANTS)[n % len(VARIANTS)]
    kind = n % 7
    if kind == 5:  # a whole prompt of fewer than nine words
        return problem(f"leak-short-{variant}-{n}", VARIANTS[variant](rng, rng.choice(short)))
    if kind == 6:
        number = rng.randint(1, len(short))
        url = f"http://www.codeforces.com/problemset/problem/{number}/A?locale=en"
        return page(f"leak-address-{n}", sentences(rng, draw_words(rng, length)), url)
    return problem(f"leak-{variant}-{n}", _hidden(rng, bodies, 9, variant, length))


def _hidden(
    rng: random.Random, bodies: list[list[str]], count: int, variant: str, length: int
) -> str:
    """A document in which `count` words in a row are an item's, and not one more."""
    body = rng.choice(bodies)
    at = rng.randrange(len(body) - count + 1)
    around = draw_words(rng, length - count)
    cut = rng.randrange(1, len(around))
    around[cut - 1 : cut + 1] = rng.sample(VOCABULARY, len(around[cut - 1 : cut + 1]))
    planted = VARIANTS[variant](rng, body[at : at + count])
    return f"{sentences(rng, around[:cut])} {planted} {sentences(rng, around[cut:])}"
