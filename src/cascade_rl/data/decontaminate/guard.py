"""Training rows against evaluation sets: which row shows which item, by which words.

Only problem text is compared: the user turns of a prompt, without the boilerplate of
`boilerplate.py`. A row leaks when it has n words in a row of an item (9 by default, as the papers
do for math and general data; 14 for AceReason's code), when its prompt is an item's whole prompt,
however short, or when a code problem has an item's address.

The rows that are cleaned stream; of the evaluation sets memory holds the keys and the ids. One
surprise: rows that cascade's own generators made from templates share their wordings by design.
Between two of them only whole prompts are compared.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from cascade_rl.data.decontaminate.boilerplate import BREAK, masked, stripped
from cascade_rl.data.decontaminate.ngram_index import Index, IndexBuilder
from cascade_rl.data.decontaminate.ngrams import grams, window_ends, windows
from cascade_rl.data.decontaminate.problem_urls import problem_urls
from cascade_rl.data.rows import REJECT_LIMIT, Reject
from cascade_rl.data.step import Step
from cascade_rl.errors import DataError
from cascade_rl.types import Conversation, Row

if TYPE_CHECKING:
    from numpy.typing import NDArray

NGRAM = 9
"""Words (arXiv 2512.13607, sections 3.2 and 4.5)."""
CODE_NGRAM = 14
"""Words for code problems, as AceReason has it (arXiv 2505.16400)."""
NGRAM_REASON, PROMPT_REASON, URL_REASON = (
    "n-gram of an evaluation item",
    "prompt of an evaluation item",
    "address of an evaluation item",
)
TEMPLATED = ("mini",)
"""Sources whose rows are made from a few templates each."""
BATCH = 512
"""Rows compared at once."""
MOST_HITS = 10
"""Items that are named for one row."""
MOST_IGNORED = 100
"""Ignored phrases that a report lists for one benchmark."""

Rows = Callable[[], Iterable[Row | Reject]]


@dataclass(frozen=True, slots=True)
class RowSet:
    """A file or generated set by name; `rows` begins again at each call."""

    name: str
    rows: Rows


@dataclass(frozen=True, slots=True)
class Hit:
    """What one row shares with one item of a benchmark."""

    benchmark: str
    item: str
    reason: str
    words: str  # or the address


@dataclass(slots=True)
class Tally:
    """What a pass found: rows by benchmark, and the items they hit by number."""

    rows: int = 0
    leaking: int = 0
    by_benchmark: Counter[str] = field(default_factory=Counter)
    items: set[int] = field(default_factory=set)


def problem_text(row: Row) -> str:
    """The user turns of a row, a break between two."""
    return f"\n{BREAK}\n".join(user_turns(row))


def user_turns(row: Row) -> list[str]:
    """What the user says, turn by turn."""
    messages = row.messages if isinstance(row, Conversation) else row.prompt
    return [message.content for message in messages if message.role == "user"]


def batches(rows: Iterable[Row], size: int = BATCH) -> Iterator[list[Row]]:
    """The rows, `size` at a time."""
    stream = iter(rows)
    while batch := list(islice(stream, size)):
        yield batch


class _Texts:
    """Short texts by their place, in a few bytes each: ten million ids fit."""

    def __init__(self) -> None:
        self._bytes, self._ends = bytearray(), array("Q", [0])

    def append(self, text: str) -> None:
        self._bytes += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, place: int) -> str:
        found = self._bytes[self._ends[place] : self._ends[place + 1]]
        return found.decode("utf-8", "surrogatepass")


class Guard:
    """Evaluation sets, indexed; `hits` says what rows share with them."""

    def __init__(self, sets: Sequence[RowSet], n: int = NGRAM) -> None:
        """Read all rows of the sets.

        Raises DataError where one has no rows, or more than 1 % that cannot be read.
        """
        if n < 0:
            raise DataError(f"n-grams of {n} words were asked for; expected 0 or more")
        self.sets, self.n = tuple(sets), n
        self.unreadable: list[int] = []
        self._ids = _Texts()
        self._templated = bytearray()
        self._urls: dict[str, list[int]] = {}
        self._ends: list[int] = []
        builder = IndexBuilder()
        for one in self.sets:
            self._add(one, builder)
        self.index: Index = builder.build()
        self.ignored_urls = self._drop_common_urls()

    def _add(self, one: RowSet, builder: IndexBuilder) -> None:
        bad: list[Reject] = []
        start = len(self._ids)
        for batch in batches(readable(one.rows(), bad), 8 * BATCH):
            texts = [problem_text(row) for row in batch]
            for row, text in zip(batch, texts, strict=True):
                for url in problem_urls(row, text):
                    self._urls.setdefault(url, []).append(len(self._ids))
                self._ids.append(row.id)
                self._templated.append(row.source in TEMPLATED)
            builder.add(grams(texts, self.n))
        count = len(self._ids) - start
        if not count or len(bad) > REJECT_LIMIT * (count + len(bad)):
            first = f"; the first: {bad[0].reason}" if bad else ""
            raise DataError(
                f"{one.name}: {count} rows can be compared with and {len(bad)} cannot be "
                f"read{first}",
                hint="expected rows of cascade's schema:  cascade data prepare  makes them",
            )
        builder.end_benchmark()
        self.unreadable.append(len(bad))
        self._ends.append(len(self._ids))

    def _drop_common_urls(self) -> dict[str, int]:
        """Addresses of more than 1 % of a benchmark's items, and of two at least: not compared."""
        dropped = {}
        for url, items in self._urls.items():
            counts = Counter(self._benchmark(item) for item in items)
            if any(n > max(1, 0.01 * self.size(b)) for b, n in counts.items()):
                dropped[url] = len(items)
        for url in dropped:
            del self._urls[url]
        return dropped

    def size(self, benchmark: int) -> int:
        """Items of a benchmark by its place."""
        return self._ends[benchmark] - (self._ends[benchmark - 1] if benchmark else 0)

    def _benchmark(self, item: int) -> int:
        return int(np.searchsorted(self._ends, item, side="right"))

    # --- comparing ----------------------------------------------------------------------------

    def numbered_hits(self, rows: Sequence[Row]) -> list[dict[int, Hit]]:
        """For each row the items it shares something with, by their number."""
        texts = [problem_text(row) for row in rows]
        suspects = self._suspects(rows, texts)
        return [
            self._hits(row, text) if place in suspects else {}
            for place, (row, text) in enumerate(zip(rows, texts, strict=True))
        ]

    def hits(self, rows: Sequence[Row]) -> list[list[Hit]]:
        """For each row what it shares with the items, whole prompts first."""
        return [list(found.values()) for found in self.numbered_hits(rows)]

    def _suspects(self, rows: Sequence[Row], texts: Sequence[str]) -> set[int]:
        """Places of the rows that share a key or an address with some item."""
        found = grams(texts, self.n)
        places = self.index.ngrams.find(found.keys)
        suspects = set(np.searchsorted(found.ends, places, side="right").tolist())
        suspects.update(self.index.wholes.find(found.wholes).tolist())
        turns, of = [], []
        for place, text in enumerate(texts):
            if BREAK in text:  # several turns: each may be a problem of its own
                own = user_turns(rows[place])
                turns += own
                of += [place] * len(own)
        if turns:
            among = self.index.wholes.find(grams(turns, 0).wholes)
            suspects.update(of[turn] for turn in among.tolist())
        if self._urls:
            for place, (row, text) in enumerate(zip(rows, texts, strict=True)):
                if place not in suspects and problem_urls(row, text) & self._urls.keys():
                    suspects.add(place)
        return suspects

    def _hits(self, row: Row, text: str) -> dict[int, Hit]:
        """The items one row shares something with: by prompt, n-gram or address."""
        found: dict[int, Hit] = {}
        turns = user_turns(row)
        texts = [text, *turns] if turns[1:] else [text]
        keys = grams(texts, self.n)
        for one, whole in zip(texts, keys.wholes.tolist(), strict=True):
            for item in self.index.wholes.items_of(whole):
                prompt = " ".join(word for word in masked(stripped(one)) if word is not None)
                found.setdefault(item, self._hit(item, PROMPT_REASON, prompt))
        shared = self._shared(text, keys.keys[: keys.ends[0]])
        templated = row.source in TEMPLATED
        for item, words in sorted(shared.items(), key=lambda pair: -len(pair[1])):
            if item not in found and not (templated and self._templated[item]):
                found[item] = self._hit(item, NGRAM_REASON, " ".join(words))
        for url in sorted(problem_urls(row, text) & self._urls.keys()):
            for item in self._urls[url]:
                found.setdefault(item, self._hit(item, URL_REASON, url))
        return found

    def _shared(self, text: str, keys: NDArray[np.uint64]) -> dict[int, list[str]]:
        """For each item the longest row of words that it has in common with the text.

        `keys` are those of the text's n-grams, in order.
        """
        places = self.index.ngrams.find(keys).tolist()
        if not places:
            return {}
        words = masked(stripped(text))
        ends = window_ends(words, self.n)
        longest: dict[int, list[str]] = {}
        open_runs: dict[int, tuple[int, int]] = {}  # item -> first and last word of a run
        for place in places:
            last = ends[place]
            for item in self.index.ngrams.items_of(int(keys[place])):
                begun, before = open_runs.get(item, (0, -2))
                first = begun if before == last - 1 else last - self.n + 1
                open_runs[item] = (first, last)
                if last - first >= len(longest.get(item, ())):
                    longest[item] = [w for w in words[first : last + 1] if w is not None]
        return longest

    def _hit(self, item: int, reason: str, words: str) -> Hit:
        return Hit(self.sets[self._benchmark(item)].name, self._ids[item], reason, words)

    # --- reporting ----------------------------------------------------------------------------

    def report(self, tally: Tally) -> list[dict[str, Any]]:
        """For each benchmark: its items, those hit, rows dropped for it, what was ignored."""
        hit = np.zeros(len(self._ids), dtype=bool)
        hit[list(tally.items)] = True
        hit = hit[self.index.same_as]  # items of the same words are hit together
        starts = [0, *self._ends[:-1]]
        return [
            {
                "benchmark": one.name,
                "items": self.size(place),
                "items_hit": int(np.count_nonzero(hit[starts[place] : self._ends[place]])),
                "rows_dropped": tally.by_benchmark[one.name],
                "unreadable": self.unreadable[place],
                "ngrams_ignored": len(self.index.common[place]),
                "ignored": self._ignored(one, self.index.common[place]),
            }
            for place, one in enumerate(self.sets)
        ]

    def _ignored(self, one: RowSet, common: Mapping[int, int]) -> list[dict[str, Any]]:
        """The ignored n-grams in words, those that overlap joined, the most frequent first."""
        left = set(common)
        found: list[dict[str, Any]] = []
        for row in readable(one.rows(), []) if left else ():
            words = masked(stripped(problem_text(row)))
            for first, last, keys in _runs(words, self.n, common):
                if left.intersection(keys):
                    left.difference_update(keys)
                    text = " ".join(w for w in words[first : last + 1] if w is not None)
                    found.append({"words": text, "items": max(common[key] for key in keys)})
            if not left:
                break
        return sorted(found, key=lambda entry: (-entry["items"], entry["words"]))[:MOST_IGNORED]


def readable(rows: Iterable[Row | Reject], bad: list[Reject]) -> Iterator[Row]:
    """The rows; those that cannot be read go to `bad`."""
    for row in rows:
        if isinstance(row, Reject):
            bad.append(row)
        else:
            yield row


def _runs(
    words: Sequence[str | None], n: int, common: Mapping[int, int]
) -> Iterator[tuple[int, int, list[int]]]:
    """First and last word, and the keys, of each row of common n-grams."""
    first, last, keys = 0, -2, list[int]()
    for place, key in windows(words, n):
        if key not in common:
            continue
        if place != last + 1:
            if keys:
                yield first, last, keys
            first, keys = place - n + 1, []
        last = place
        keys.append(key)
    if keys:
        yield first, last, keys


# --- a pass over training rows ----------------------------------------------------------------


def examine(rows: Iterable[Row], guard: Guard, tally: Tally) -> Iterator[tuple[Row, list[Hit]]]:
    """Every row with what it shares with the evaluation sets; the tally is kept on the way."""
    for batch in batches(rows):
        for row, found in zip(batch, guard.numbered_hits(batch), strict=True):
            hits = list(found.values())
            tally.rows += 1
            tally.leaking += bool(hits)
            tally.by_benchmark.update({hit.benchmark for hit in hits})
            tally.items.update(found)
            yield row, hits


def clean(step: Step, rows: Iterable[Row], guard: Guard) -> Tally:
    """Keep the rows that show no item and drop the others, with the items that each shows."""
    tally = Tally()
    for row, hits in examine(rows, guard, tally):
        if hits:
            step.drop(row, hits[0].reason, detail(hits))
        else:
            step.keep(row)
    step.details["benchmarks"] = guard.report(tally)
    if guard.ignored_urls:
        step.details["addresses_ignored"] = guard.ignored_urls
    return tally


def detail(hits: Sequence[Hit]) -> dict[str, Any]:
    """What a reject says: the first item in full, the others by name, and how many there are."""
    first = hits[0]
    found: dict[str, Any] = {
        "benchmark": first.benchmark, "item": first.item, "words": first.words, "items": len(hits),
    }  # fmt: skip
    if len(hits) > 1:
        found["also"] = [
            {"benchmark": hit.benchmark, "item": hit.item, "words": hit.words}
            for hit in hits[1:MOST_HITS]
        ]
    return found
