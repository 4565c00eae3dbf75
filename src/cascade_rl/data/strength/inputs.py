"""Inputs like those of a problem's tests: made from them by small changes that keep their types.

One rule: what all the tests' inputs have in common is kept, because it may be what the problem
promises: no negative numbers, sorted lists, tuples of one length, the length of a list given
beside it. Nothing else tells which inputs are allowed; where the golden solution raises, they
were not.
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cascade_rl.sandbox.values import encode

Arguments = tuple[Any, ...]

_WORD = re.compile(r"-?\d+(?:\.\d+)?|[^\W\d_]+")
_LONGEST = 400
"""Characters or items; what is longer is not made longer still."""


def like_calls(seeds: Sequence[Arguments], count: int, seed: int = 0) -> list[Arguments]:
    """At most `count` different argument tuples, none of them among the seeds."""
    seeds = [given for given in seeds if len(given) == len(seeds[0])]
    if not seeds or not seeds[0]:
        return []
    family = _Family(seeds)
    return _different(lambda rng: family.draw(rng), seeds, count, seed, encode)


def like_texts(seeds: Sequence[str], count: int, seed: int = 0) -> list[str]:
    """At most `count` different texts for stdin: numbers and words of the seeds changed."""
    signed = any(word.startswith("-") for text in seeds for word in _WORD.findall(text))

    def draw(rng: random.Random) -> str:
        text = rng.choice(seeds)
        words = list(_WORD.finditer(text))
        for word in sorted(rng.sample(words, min(len(words), rng.choice((1, 1, 2, 3)))), key=_end):
            text = text[: word.start()] + _word(rng, word[0], signed) + text[word.end() :]
        return text

    return _different(draw, seeds, count, seed, json.dumps) if seeds else []


def _end(word: re.Match[str]) -> int:
    return -word.end()


def _word(rng: random.Random, word: str, signed: bool) -> str:
    if word[-1].isdigit() and "." not in word:
        value = int(word)
        far = rng.randint(0, 10 * abs(value) + 10)
        value = rng.choice((value + 1, value - 1, value // 2, 2 * value, 1, 0, far))
        return str(value if signed else abs(value))
    if word[-1].isdigit():
        return f"{float(word) + rng.choice((1, -0.5, 0.25)):g}"
    letters = list(word)
    letters[rng.randrange(len(letters))] = rng.choice(word + ("a" if word.islower() else "A"))
    return "".join(rng.choice((letters, letters + letters[:1], letters[:-1] or letters)))


def _different(
    draw: Callable[[random.Random], Any],
    seeds: Sequence[Any],
    count: int,
    seed: int,
    key: Callable[[Any], str],
) -> list[Any]:
    rng = random.Random(seed)
    seen = {key(given) for given in seeds}
    found: list[Any] = []
    for _ in range(20 * count):
        if len(found) == count:
            break
        try:
            made = draw(rng)
            name = key(made)
        except (TypeError, ValueError, OverflowError):  # mixed types, infinity: drawn again
            continue
        if name not in seen and len(name) < 50_000:
            seen.add(name)
            found.append(made)
    return found


# --- arguments of a call ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Habits:
    """What all numbers, texts and collections at one place have in common."""

    least: float
    greatest: float
    letters: str
    ordered: bool
    longest: int
    lengths: frozenset[int]
    items: tuple[Any, ...]
    places: tuple[_Habits, ...] = ()
    """Of the items by place, where all collections here have one length and mixed items."""


class _Family:
    """The argument tuples of a problem's tests, and others like them."""

    def __init__(self, seeds: Sequence[Arguments]) -> None:
        self.seeds = seeds
        self.habits = [_habits([given[at] for given in seeds]) for at in range(len(seeds[0]))]
        self.sizes = list(_sizes(seeds))
        self.pairs = list(_pairs(seeds))

    def draw(self, rng: random.Random) -> Arguments:
        made = list(rng.choice(self.seeds))
        if rng.random() < 0.3:  # arguments of one test beside those of another
            at = rng.randrange(len(made))
            made[at] = rng.choice(self.seeds)[at]
        for _ in range(rng.choice((1, 1, 2, 3, 5))):
            at = rng.randrange(len(made))
            made[at] = _changed(rng, made[at], self.habits[at])
        for number, items in self.sizes:
            made[number] = len(made[items])
        for first, second in self.pairs:
            shorter = min(len(made[first]), len(made[second]))
            made[first], made[second] = made[first][:shorter], made[second][:shorter]
        return tuple(made)


def _sizes(seeds: Sequence[Arguments]) -> Iterator[tuple[int, int]]:
    """(place of a number, place of the collection whose length it always is)."""
    for number in range(len(seeds[0])):
        for items in range(len(seeds[0])):
            if all(
                type(given[number]) is int
                and isinstance(given[items], list | tuple | str)
                and given[number] == len(given[items])
                for given in seeds
            ):
                yield number, items


def _pairs(seeds: Sequence[Arguments]) -> Iterator[tuple[int, int]]:
    """Places of lists that are always as long as each other."""
    for first in range(len(seeds[0])):
        for second in range(first + 1, len(seeds[0])):
            if all(
                isinstance(given[first], list | tuple)
                and isinstance(given[second], list | tuple)
                and len(given[first]) == len(given[second])
                for given in seeds
            ):
                yield first, second


def _habits(values: Sequence[Any]) -> _Habits:
    numbers = [value for value in values if _is_number(value)]
    texts = [value for value in values if isinstance(value, str)]
    lists = [value for value in values if isinstance(value, list | tuple)]
    sets = [value for value in values if isinstance(value, set | frozenset | dict)]
    lengths = frozenset(len(value) for value in (*texts, *lists, *sets))
    items = tuple(item for value in (*lists, *sets) for item in value)
    places: tuple[_Habits, ...] = ()
    if lists and len(lengths) == 1 and len({type(item) for item in items}) > 1:
        places = tuple(_habits(column) for column in zip(*lists, strict=True))
    return _Habits(
        least=min(numbers, default=0),
        greatest=max(numbers, default=0),
        letters="".join(sorted(set("".join(texts)))),
        ordered=sum(len(value) > 2 for value in lists) > 0 and all(map(_is_sorted, lists)),
        longest=max(lengths, default=0),
        lengths=lengths,
        items=items,
        places=places,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_sorted(values: Sequence[Any]) -> bool:
    try:
        return all(a <= b for a, b in itertools.pairwise(values))
    except TypeError:
        return False


def _changed(rng: random.Random, value: Any, habits: _Habits) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return _integer(rng, value, habits)
        case float():
            return _real(rng, value, habits)
        case str():
            return _text(rng, value, habits)
        case list() | tuple():
            return _sequence(rng, value, habits)
        case set() | frozenset():
            return type(value)(_sequence(rng, sorted(value, key=repr), habits))
        case dict():
            return _mapping(rng, value)
    return value


def _integer(rng: random.Random, value: int, habits: _Habits) -> int:
    least = 0 if habits.least >= 0 else min(int(-abs(habits.least)), -int(abs(habits.greatest)))
    if habits.least >= 1:
        least = 1 if rng.random() < 0.9 else 0
    top = max(int(abs(habits.greatest)), 2)
    far = least + 10 * top  # a wider range where the tests' own numbers are few
    made = rng.choice((
        value + 1, value - 1, value + rng.randint(-5, 5), rng.randint(least, max(top, least)),
        rng.randint(least, max(top, least)), rng.randint(least, max(2 * min(top, 1000), 10)),
        rng.randint(0, 10), value // 2, -value, rng.randint(least, max(far, least)),
    ))  # fmt: skip
    return made if made >= least else abs(made) + (least if made == 0 else 0)


def _real(rng: random.Random, value: float, habits: _Habits) -> float:
    top = max(abs(habits.greatest), 1.0)
    made = rng.choice((
        value + 1, value - 1, value / 2, float(round(value)), round(rng.uniform(0, top), 2),
        round(value + rng.uniform(-1, 1), 1), -value,
    ))  # fmt: skip
    return made if habits.least < 0 else abs(made)


def _text(rng: random.Random, value: str, habits: _Habits) -> str:
    letters = habits.letters or "ab"
    at, to = sorted((rng.randint(0, len(value)), rng.randint(0, len(value))))
    fixed = len(habits.lengths) == 1 and len(value) > 0
    way = rng.randrange(4 if fixed else 10)
    if way == 0 and value:
        at = min(at, len(value) - 1)
        return value[:at] + rng.choice(letters) + value[at + 1 :]
    if way == 1 and len(value) > 1:
        return "".join(rng.sample(value, len(value)))
    if way == 2:
        return value[::-1]
    if way == 3:
        return value.swapcase() if rng.random() < 0.5 else rng.choice(letters) * len(value)
    if way == 4:
        return value[:at] + value[to:] if rng.random() < 0.9 else ""
    if way == 5 and len(value) < _LONGEST:
        return value[:to] + value[at:to] + value[to:]
    if way == 6 and len(value) < _LONGEST:
        return value + value[::-1]
    if way == 7 and len(value) < _LONGEST:
        return value[:at] + rng.choice(letters) + value[at:]
    size = rng.randint(1, min(2 * max(habits.longest, 2), 60))
    return "".join(rng.choice(letters) for _ in range(size))


def _sequence(rng: random.Random, value: Any, habits: _Habits) -> Any:
    items = list(value)
    known = list(habits.items) or items
    inner = _habits(known)
    fixed = isinstance(value, tuple) and len(habits.lengths) == 1 and len(items) < 6
    if habits.places and len(items) == len(habits.places):
        at = rng.randrange(len(items))
        items[at] = _changed(rng, items[at], habits.places[at])
        return type(value)(items)
    way = rng.randrange(3 if fixed else 10)
    if way <= 1 and items:
        for _ in range(rng.choice((1, 1, 2, 4))):
            at = rng.randrange(len(items))
            items[at] = _changed(rng, items[at], inner)
    elif way == 2:
        rng.shuffle(items)
    elif way <= 4 and items:
        at, to = sorted((rng.randint(0, len(items)), rng.randint(0, len(items))))
        items = items[:at] + items[to:] or (items[:1] if rng.random() < 0.8 else [])
    elif way <= 6 and known and len(items) < _LONGEST:
        items.insert(rng.randint(0, len(items)), rng.choice(known))
    elif way == 7 and items and len(items) < _LONGEST:
        items.insert(rng.randint(0, len(items)), rng.choice(items))
    elif way == 8:
        items.reverse()
    elif known:
        size = rng.randint(1, min(2 * max(habits.longest, 2), 30))
        items = [_changed(rng, rng.choice(known), inner) for _ in range(size)]
    if habits.ordered:
        items.sort()
    return items if isinstance(value, list) else tuple(items)


def _mapping(rng: random.Random, value: dict[Any, Any]) -> dict[Any, Any]:
    made = dict(value)
    keys, values = _habits(list(value)), _habits(list(value.values()))
    if not made:
        return made
    key = rng.choice(list(made))
    way = rng.randrange(4)
    if way == 0:
        del made[key]
    elif way == 1:
        made[_changed(rng, key, keys)] = made[key]
    else:
        made[key] = _changed(rng, made[key], values)
    return made
