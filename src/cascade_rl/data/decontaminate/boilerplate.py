"""What many problems have in common and none is about: instructions, formats, starter code.

A phrase is a row of normalised words; `*` in the table is any one word. A pattern is a regular
expression on the text as it stands, for code and figures. Both leave a break behind, and no
n-gram spans a break. `cascade data decontaminate` compares what is left. An n-gram that is not in
this table and still is in more than 1 % of a benchmark's items is ignored too, and reported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cascade_rl.data.normal import words

Group = Literal["general", "math", "code"]

BREAK = "\x1f"
"""In a text, where something was cut out."""

TABLE: Mapping[Group, tuple[str, ...]] = {
    "general": (
        "You are a helpful assistant.",
        "You are a helpful and harmless assistant.",
        "You should think step-by-step before responding to the instruction below.",
        "Let's think step by step.",
        "Let's reason step by step.",
        "Let us think step by step.",
        "Think step by step.",
        "Please think step by step.",
        "Please reason step by step.",
        "Reason step by step.",
        "Solve this problem step by step.",
        "Explain your reasoning step by step.",
        "Show your work.",
        "Show all your work.",
        "Think carefully before you answer.",
        "First think about the reasoning process in the mind and then provide the answer.",
        "The reasoning process and answer are enclosed within <think> </think> and "
        "<answer> </answer> tags, respectively.",
        "Here is the question:",
        "Use the provided format with backticks.",
        "Answer the following question.",
        "Answer the question below.",
        "Please answer the following question.",
        "Choose the correct answer from the options below.",
        "Answer the following multiple choice question.",
        "Answer with the letter of the correct option.",
        "What is the correct answer to this question?",
    ),
    "math": (
        "Please reason step by step, and put your final answer within \\boxed{}.",
        "Please reason step by step, and put your final answer in \\boxed{}.",
        "Reason step by step, and put your final answer within \\boxed{}.",
        "Let's think step by step and output the final answer within \\boxed{}.",
        "Let's think step by step and put the final answer in \\boxed{}.",
        "Reason step by step, final answer in \\boxed{}.",
        "Put your final answer within \\boxed{}.",
        "Put your final answer in \\boxed{}.",
        "Put the final answer in \\boxed{}.",
        "Put the final answer within \\boxed{}.",
        "Put your answer in \\boxed{}.",
        "Put your answer within \\boxed{}.",
        "Put your answer inside \\boxed{}.",
        "Give your final answer in \\boxed{}.",
        "Write your final answer in \\boxed{}.",
        "Output the final answer within \\boxed{}.",
        "Enclose your final answer in \\boxed{}.",
        "Present the final answer in \\boxed{}.",
        "Return your final response within \\boxed{}.",
        "The final answer must be in \\boxed{}.",
        "Final answer in \\boxed{}.",
        "And put your final answer within \\boxed{}.",
        "And put your final answer in \\boxed{}.",
        "Solve the following math problem.",
        "Solve the following math problem step by step.",
        "Solve the following math problem efficiently and clearly.",
        "Solve the following problem.",
        "Solve the following problem step by step.",
        "Make sure to put the answer (and only answer) inside \\boxed{}.",
        "Put the answer (and only answer) inside \\boxed{}.",
        "The last line of your response should be of the form Answer: $Answer (without quotes) "
        "where $Answer is the answer to the problem.",
        "The last line of your response should be of the following format: "
        "'Therefore, the final answer is: $\\boxed{ANSWER}$. I hope it is correct' "
        "(without quotes) where ANSWER is just the final number or expression that solves "
        "the problem.",
        "Remember to put your answer on its own line after \"Answer:\".",
        "Remember to put your final answer within \\boxed{}.",
        "Remember to box your final answer.",
        "Express your answer in simplest radical form.",
        "Express your answer as a common fraction.",
        "Express your answer in simplest form.",
        "Express your answer as a decimal to the nearest tenth.",
        "Express your answer as a decimal to the nearest hundredth.",
        "Express your answer in interval notation.",
        "Enter your answer in interval notation.",
        "Enter all the answers, separated by commas.",
        "Enter all possible values, separated by commas.",
        "Round your answer to the nearest tenth.",
        "Round your answer to the nearest hundredth.",
        "Round your answer to the nearest whole number.",
        "can be written in the form $\\frac{m}{n}$ where $m$ and $n$ are relatively prime positive "
        "integers. Find $m+n$.",
        "can be expressed as $\\frac{m}{n}$, where $m$ and $n$ are relatively prime positive "
        "integers. Find $m+n$.",
        "where $*$ and $*$ are relatively prime positive integers. Find $*+*$.",
        "where $*$ and $*$ are relatively prime positive integers. What is $*+*$?",
        "where $*$ and $*$ are relatively prime positive integers",
        "where $*$, $*$, and $*$ are positive integers and $*$ is not divisible by the square of "
        "any prime. Find $*+*+*$.",
        "and $*$ is not divisible by the square of any prime",
        "Find the remainder when $*$ is divided by 1000.",
    ),
    "code": (
        "Please use python programming language only.",
        "You must use ```python for just the final solution code block with the following format:",
        "You will be given a question (problem specification) and will generate a correct Python "
        "program that matches the specification and passes all tests.",
        "You will use the following starter code to write the solution to the problem and enclose "
        "your code within delimiters.",
        "Use the following starter code to write the solution to the problem and enclose your code "
        "within delimiters.",
        "You will NOT return anything except for the program.",
        "Read the inputs from stdin solve the problem and write the answer to stdout "
        "(do not directly test on the sample inputs).",
        "Enclose your code within delimiters as follows.",
        "Ensure that when the python program runs, it reads the inputs, runs the algorithm and "
        "writes output to STDOUT.",
        "Read the input from stdin and write the output to stdout.",
        "Read from standard input and write to standard output.",
        "Read the input from standard input and print the output to standard output.",
        "Read input from standard input and write output to standard output.",
        "Your program should read from standard input and write to standard output.",
        "The program should read from stdin and print to stdout.",
        "Take input from stdin and print to stdout.",
        "from standard input and * the * to standard output",
        "Now solve the problem and return the code.",
        "Write a Python function to solve the following problem.",
        "Write Python code to solve the problem.",
        "Write Python code to solve the following problem.",
        "Solve the following coding problem using the programming language python:",
        "Solve the following programming problem.",
        "Generate an executable Python function generated from the given prompt.",
        "The function should take stdin as input and print the output.",
        "Simply call the function after the definition.",
        "Present the code in ```python your code ``` at the end.",
        "Complete the following Python function.",
        "Write your code here.",
        "Your code here.",
        "Your code should pass these tests:",
        "Your code should satisfy these tests:",
        "You are an expert Python programmer, and here is your task:",
        "You are an expert Python programmer.",
        "The input will be given in the following format",
        "The input is given from Standard Input in the following format:",
        "Input is given from Standard Input in the following format:",
        "All values in input are integers.",
        "All input values are integers.",
        "The first line of the input contains a single integer",
        "The first line of the input contains an integer",
        "The first line of input contains a single integer",
        "The first line contains a single integer",
        "The first line contains an integer",
        "The first line contains one integer",
        "The first line of the input contains one integer",
        "The first line contains two integers * and *",
        "The first line contains two space-separated integers * and *",
        "The first line of each test case contains a single integer",
        "The first line of each test case contains one integer",
        "The first line of each test case contains two integers * and *",
        "The only line of each test case contains",
        "The only line contains a single integer",
        "The second line of each test case contains * integers",
        "The second line contains * integers",
        "The second line contains * space-separated integers",
        "Each test contains multiple test cases.",
        "Each test consists of multiple test cases.",
        "The first line contains the number of test cases * (1 ≤ * ≤ * *).",
        "The first line contains a single integer * (1 ≤ * ≤ * *) — the number of test cases.",
        "The first line contains a single integer * (1 ≤ * ≤ *) — the number of test cases.",
        "The first line contains one integer * (1 ≤ * ≤ * *) — the number of test cases.",
        "The first line contains one integer * (1 ≤ * ≤ *) — the number of test cases.",
        "The first line of the input contains an integer * denoting the number of test cases.",
        "The first line of input contains an integer * denoting the number of test cases.",
        "The first line contains the number of test cases",
        "the number of test cases",
        "The description of the test cases follows.",
        "The description of * test cases follows.",
        "The description of each test case is as follows.",
        "It is guaranteed that the sum of * over all test cases does not exceed * * *.",
        "It is guaranteed that the sum of * over all test cases does not exceed * *.",
        "It is guaranteed that the sum of * over all test cases does not exceed",
        "It is guaranteed that the sum of * and the sum of * over all test cases do not exceed",
        "For each test case, output a single integer",
        "For each test case, print a single integer",
        "For each test case, output a single line containing",
        "For each test case, print a single line containing",
        "For each test case output a single line containing",
        "Since the answer may be large, print it modulo",
        "Since the answer can be very large, print it modulo",
        "Since the answer may be too large, return it modulo",
        "Return the answer modulo",
        "You can print each letter in any case (upper or lower).",
        "You can output the answer in any case (upper or lower).",
        "You may assume that each input would have exactly one solution.",
        "Note that the answer may be very large",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pattern:
    """What is cut out of a text as it stands; where `sign` is not there is none."""

    name: str
    sign: str
    expression: re.Pattern[str]


PATTERNS = (
    Pattern("a figure in Asymptote", "[", re.compile(r"\[asy\].*?\[/asy\]", re.DOTALL)),
    Pattern("a mode flag", "/", re.compile(r"\s/(?:no_)?think\s*(?=\x1f|\Z)")),
    Pattern("a code fence", "`", re.compile(r"```(?:[\w+-]*(?=\n)|(?=\s*\Z))")),
)
CODE_LINES = (
    Pattern("imports", "import ", re.compile(r"\s*(?:from [\w.]+ )?import [\w.*, ]+")),
    Pattern("a function's head", "def ", re.compile(r"\s*def \w+\(.*\)[^:]*:\s*")),
    Pattern("a class's head", "class ", re.compile(r"\s*class \w+\s*(?:\([^)]*\))?\s*[:{].*")),
    Pattern(
        "a C++ function's head", "&", re.compile(r"\s*[\w:<>]+[ &*]+\w+\([^)]*&[^)]*\)\s*\{.*")
    ),
)
"""Whole lines of starter code, in texts of several lines."""
HEADING = re.compile(
    r"[\W_]*(?:input format|output format|input|output|sample input|sample output|examples?|notes?|"
    r"constraints|format|question|problem|problem statement|answer|solution|explanation|public|"
    r"starter code|interaction|scoring|tests?)[\W_]*"
)
"""A whole line of up to `LONGEST_HEADING` characters, in texts of several lines."""
LONGEST_HEADING = 40
_OPENING_LENGTH = 100
_OPENING = re.compile(r"\W*(?:question|problem|task|q|input|user)[^\w\n]*?[:.)\n]")


Phrase = tuple[str | None, ...]
"""Words in a row, None for any word; the first is a word."""


def _phrase(line: str) -> Phrase:
    found: list[str | None] = []
    for index, part in enumerate(line.split("*")):
        found += [None] if index else []
        found += words(part)
    return tuple(found)


GROUP_OF: Mapping[Phrase, Group] = {
    _phrase(line): group for group, lines in TABLE.items() for line in lines
}
PHRASES = tuple(sorted(GROUP_OF, key=len, reverse=True))
"""Every phrase of the table, the longest first."""
TELLING_WORDS = 6
"""Words of a phrase that says what kind of answer is wanted; shorter ones turn up anywhere."""

_FIRST_WORDS = frozenset(phrase[0] for phrase in PHRASES)
_BY_START: dict[tuple[str | None, str | None], list[Phrase]] = {}
for _one in PHRASES:
    _BY_START.setdefault((_one[0], _one[1]), []).append(_one)


def stripped(text: str) -> str:
    """The text with a break in the place of its opening heading and what the patterns find."""
    opening = _OPENING.match(text[:_OPENING_LENGTH].lower())
    if opening is not None:
        text = BREAK + text[opening.end() - 1 :]  # a line's end may begin the next heading
    for pattern in PATTERNS:
        if pattern.sign in text:
            text = pattern.expression.sub(BREAK, text)
    if "\n" in text:
        lines = text.split("\n")
        kept = [BREAK if _is_boilerplate(line) else line for line in lines]
        text = text if kept == lines else "\n".join(kept)
    return text


def _is_boilerplate(line: str) -> bool:
    if len(line) <= LONGEST_HEADING and HEADING.fullmatch(line.lower()):
        return True
    return any(
        pattern.sign in line and pattern.expression.fullmatch(line) for pattern in CODE_LINES
    )


def masked(text: str) -> list[str | None]:
    """The words of a text, None in the place of each word of a phrase and of each break.

    From left to right, the longest phrase first. The text went through `stripped`.
    """
    found: list[str | None] = []
    for index, piece in enumerate(text.split(BREAK)):
        found += [None] if index else []
        found += _mask(words(piece))
    return found


def _mask(row: Sequence[str]) -> list[str | None]:
    found: list[str | None] = []
    place = 0
    while place < len(row):
        length = len(_longest(row, place)) if row[place] in _FIRST_WORDS else 0
        found += [None] * length if length else [row[place]]
        place += length or 1
    return found


def _longest(row: Sequence[str], place: int) -> Phrase:
    """The longest phrase that begins there, or ()."""
    longest: Phrase = ()
    for second in (*row[place + 1 : place + 2], None):
        for phrase in _BY_START.get((row[place], second), ()):
            here = row[place : place + len(phrase)]
            fits = len(here) == len(phrase) > len(longest)
            if fits and all(w is None or w == word for w, word in zip(phrase, here, strict=True)):
                longest = phrase
    return longest


def asks_for(text: str) -> set[Group]:
    """The groups that the longer phrases of a text are of: what kind of answer it wants."""
    row = words(stripped(text))
    found = (_longest(row, place) for place in range(len(row)))
    return {GROUP_OF[phrase] for phrase in found if len(phrase) >= TELLING_WORDS}
