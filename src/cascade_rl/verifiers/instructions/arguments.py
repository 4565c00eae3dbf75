"""A row's keyword arguments, read once and typed, before any answer is looked at.

One rule: what cannot be read is BadArguments, whatever the answer says, so a broken row is
`invalid` and never satisfied. Peers draw a random value for an argument that is absent; here
the row is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Test = Callable[[str], bool]
"""Whether one answer follows an instruction whose arguments are already read."""


class BadArguments(ValueError):
    """The row names an instruction that cannot be checked."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The keyword arguments of one instruction; `name` is its id, for the message."""

    name: str
    given: Mapping[str, Any]

    def integer(self, key: str, least: int = 0) -> int:
        """A whole number of at least `least`; 36.0, as parquet columns hold it, is 36."""
        value = self.number(key)
        if not value.is_integer() or value < least:
            raise self._bad(key, f"a whole number of at least {least}")
        return int(value)

    def number(self, key: str) -> float:
        """A number."""
        value = self.given.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e9:
            raise self._bad(key, "a number")
        return float(value)

    def text(self, key: str) -> str:
        """Text that is not blank, as it stands."""
        value = self.given.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self._bad(key, "text that is not blank")
        return value

    def word(self, key: str) -> str:
        """Text without the blanks around it; the first of a list, as some training rows have."""
        value = self.given.get(key)
        if isinstance(value, list | tuple) and value:
            value = value[0]
        if not isinstance(value, str) or not value.strip():
            raise self._bad(key, "a word")
        return value.strip()

    def words(self, key: str) -> list[str]:
        """A list of one or more words."""
        value = self.given.get(key)
        fits = isinstance(value, list | tuple) and len(value) > 0
        if not fits or not all(isinstance(word, str) and word.strip() for word in value or ()):
            raise self._bad(key, "a list of words")
        return list(value or ())

    def bound(self, relation: str, number: str) -> Callable[[int], bool]:
        """`at least` or `less than` a number, as a test of a count."""
        limit = self.integer(number)
        match self.given.get(relation):
            case "at least":
                return lambda count: count >= limit
            case "less than":
                return lambda count: count < limit
        raise self._bad(relation, "'at least' or 'less than'")

    def _bad(self, key: str, expected: str) -> BadArguments:
        found = repr(self.given[key])[:80] if key in self.given else "nothing"
        return BadArguments(f"{self.name}: {key} is {found}; expected {expected}")


Check = Callable[[Arguments], Test]
"""Reads the arguments, raises BadArguments where it cannot, and gives the test of an answer."""


def plain(test: Test) -> Check:
    """A check that needs no arguments."""
    return lambda arguments: test


def both(check: Check, also: Test) -> Check:
    """The check, and a guard against empty compliance that every answer must pass too."""

    def made(arguments: Arguments) -> Test:
        first = check(arguments)
        return lambda answer: also(answer) and first(answer)

    return made
