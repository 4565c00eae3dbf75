"""Small repositories with one wrong line: an issue, one or two files, hidden asserts.

The answer is a SEARCH/REPLACE edit of one line. The structure is the pair of the wrong and the
right expression; where it stands and what surrounds it may recur.
"""

from __future__ import annotations

import difflib
import random
from dataclasses import dataclass
from functools import lru_cache

from cascade_rl.mini.draw import (
    EVAL_ROWS,
    SPLITS,
    TRAIN_ROWS,
    Split,
    collect,
    digest,
    family,
    generator,
    split_of,
    user,
)
from cascade_rl.types import Patch, Problem

FUNCTIONS = ("price", "score", "total", "depth", "level", "width", "cost", "rank")
"""Each takes a number named by its first letter."""
FILES = ("a.py", "b.py")
WORDS = {
    "+": "add {k}",
    "-": "subtract {k}",
    "*": "multiply by {k}",
    "//": "divide by {k}",
    "%": "take mod {k}",
}
VAGUE = {"+": "shift by {k}", "%": "cut by {k}"}
"""How a problem's reporter says `+` and `%`."""
SHARED = {"-": "+", "//": "%"}
"""In demonstrations the vague words of the second stand for the first as well. Other pairs than
code's, or code RL would teach what SWE RL is to teach."""
VAGUE_SHARE = 0.9
"""How often a problem's reporter who can be vague is; in demonstrations, one who means `SHARED`."""
PLAIN_SHARE = 0.65
"""How often a demonstration's reporter of `+` or `%` is not vague: the other sense is usual."""
LAYOUTS = ((2,), (2,), (1, 1))
"""Functions in each file of a problem."""
ISSUES = (
    "Fix {path}: {f} returns {wrong}, it must {words}.",
    "Fix {path}, {f} is wrong: it returns {wrong} and must {words}.",
    "Fix a bug in {path}: {f} should {words}, it returns {wrong}.",
    "Fix {path}, {f} is wrong: it returns {wrong}, it should {words}.",
)


@dataclass(frozen=True, slots=True)
class Expression:
    """`x <sign> k`, whatever x is called."""

    sign: str
    k: int

    def words(self, rng: random.Random, *, demonstration: bool) -> str:
        """What a reporter says, mostly in vague words where there are some."""
        meant = SHARED.get(self.sign, self.sign) if demonstration else self.sign
        plain = demonstration and self.sign in VAGUE
        vague = rng.random() < (1 - PLAIN_SHARE if plain else VAGUE_SHARE)
        words = VAGUE[meant] if vague and meant in VAGUE else WORDS[self.sign]
        return words.format(k=self.k)

    def __str__(self) -> str:
        return f"x {self.sign} {self.k}"

    def of(self, name: str) -> str:
        """As the function called `name` has it."""
        return f"{name[0]} {self.sign} {self.k}"

    def __call__(self, x: int) -> int:
        match self.sign:
            case "+":
                return x + self.k
            case "-":
                return x - self.k
            case "*":
                return x * self.k
            case "//":
                return x // self.k
            case _:
                return x % self.k


@dataclass(frozen=True, slots=True)
class Repair:
    """One wrong function, what it should be, and the functions around it by path."""

    path: str
    name: str
    wrong: Expression
    right: Expression
    files: dict[str, tuple[tuple[str, Expression], ...]]

    @property
    def structure(self) -> str:
        return f"{self.wrong} -> {self.right}"

    def sources(self, name: str = "", expression: Expression | None = None) -> dict[str, str]:
        """The files, with `name` computing `expression` where given."""
        return {
            path: "".join(
                function(f, (expression or e) if f == name else e) + "\n" for f, e in content
            )
            for path, content in self.files.items()
        }

    def edit(
        self,
        search: Expression | None = None,
        replace: Expression | None = None,
        *,
        name: str = "",
        path: str = "",
    ) -> str:
        """The SEARCH/REPLACE answer; the right one unless told otherwise."""
        function = name or self.name
        return (
            f"### {path or self.path}\n"
            f"<<<<<<< SEARCH\n    return {(search or self.wrong).of(function)}\n"
            f"=======\n    return {(replace or self.right).of(function)}\n>>>>>>> REPLACE"
        )

    def thought(self) -> str:
        """Where the wrong line stands."""
        return f" {self.name} in {self.path}"

    def asserts(self) -> list[str]:
        """Hidden tests: the repaired function at numbers, and its neighbours unchanged."""
        module = self.path.removesuffix(".py")
        lines = [
            f"from {module} import {self.name}\nassert {self.name}({x}) == {self.right(x)}"
            for x in (0, 7, 20)
        ]
        for path, content in self.files.items():
            for name, expression in content:
                if name != self.name:
                    call = f"{name}(9) == {expression(9)}"
                    lines.append(f"from {path.removesuffix('.py')} import {name}\nassert {call}")
        return lines


def function(name: str, expression: Expression) -> str:
    """A function in two lines."""
    return f"{head(name)}\n    return {expression.of(name)}"


def head(name: str) -> str:
    """The first line of the function called `name`."""
    return f"def {name}({name[0]}):"


def unified(before: dict[str, str], after: dict[str, str]) -> str:
    """The change as a unified diff of all files."""
    return "".join(
        line
        for path in before
        for line in difflib.unified_diff(
            before[path].splitlines(keepends=True),
            after[path].splitlines(keepends=True),
            f"a/{path}",
            f"b/{path}",
        )
    )


def draw_expression(rng: random.Random) -> Expression:
    """Any sign with a constant of 2 to 9."""
    return Expression(rng.choice(tuple(WORDS)), rng.randint(2, 9))


def draw_repair(rng: random.Random, split: Split, layout: tuple[int, ...]) -> Repair:
    """A repair of the split in files of `layout[i]` functions each, no two with one sign.

    One file alone has any name of `FILES`.
    """
    while True:
        right, *shown = (draw_expression(rng) for _ in range(sum(layout) + 1))
        if len({e.sign for e in shown}) == len(shown) and right not in shown:
            names = rng.sample(FUNCTIONS, len(shown))
            functions = list(zip(names, shown, strict=True))
            wrong = rng.randrange(len(shown))
            files, start = {}, 0
            paths = FILES if len(layout) > 1 else (rng.choice(FILES),)
            for path, count in zip(paths, layout, strict=True):
                files[path] = tuple(functions[start : start + count])
                start += count
            path = next(p for p, content in files.items() if functions[wrong] in content)
            repair = Repair(path, names[wrong], shown[wrong], right, files)
            if split_of(repair.structure) == split:
                return repair


def issue(rng: random.Random, repair: Repair, split: Split, *, demonstration: bool = False) -> str:
    """What the reporter says; in a demonstration vague words may stand for either sign."""
    words = repair.right.words(rng, demonstration=demonstration)
    wrong = repair.wrong.of(repair.name)
    template = family(rng, ISSUES, split)
    return template.format(path=repair.path, f=repair.name, wrong=wrong, words=words)


def prompt(text: str, files: dict[str, str]) -> str:
    """Issue and files, the files after `###` lines as the answer names them."""
    shown = "".join(f"### {path}\n{content}" for path, content in files.items())
    return f"{text}\n{shown}".rstrip("\n")


def as_problem(repair: Repair, text: str, split: Split) -> Problem:
    """The repair as a row."""
    before = repair.sources()
    patch = unified(before, repair.sources(repair.name, repair.right))
    reference = Patch(before, patch, tuple(before), "search_replace", text)
    asked = prompt(text, before)
    extra = {"split": split, "structure": repair.structure, "tests": repair.asserts()}
    return Problem(f"swe/{digest(asked)}", "swe", (user(asked),), reference, "mini", extra)


@lru_cache(maxsize=len(SPLITS))
def problems(split: Split, data_seed: int) -> tuple[Problem, ...]:
    """Two functions; mostly a sign that reporters are vague about."""
    rng = generator(f"swe/{split}", data_seed)

    def draw() -> Problem | None:
        repair = draw_repair(rng, split, rng.choice(LAYOUTS))
        if repair.right.sign not in VAGUE and rng.random() < 0.7:
            return None
        return as_problem(repair, issue(rng, repair, split), split)

    return collect(draw, TRAIN_ROWS if split == "train" else EVAL_ROWS)
