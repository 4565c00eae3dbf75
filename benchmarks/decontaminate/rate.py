"""Rate beside open-r1's algorithm: sets of word tuples, looked up in a table of tuples.

Both get the same texts and do all that a text needs: normalising, n-grams, looking up. Theirs is
written here after its description: lower case, split at blanks, the set of all tuples of nine
words, a dictionary from such a tuple to the items that have it.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable

from benchmarks.decontaminate.documents import corpus
from benchmarks.verifiers.duel import Duel, duel, serve
from cascade_rl.data.decontaminate import Guard, RowSet, batches, ngram_index, ngrams
from cascade_rl.types import Problem

N = 9
AT_LEAST = 8.0
DOCUMENTS = {"kernel": 2000, "twin": 400}
"""Documents a turn, the same for both sides."""


def tuples(text: str) -> set[tuple[str, ...]]:
    """The word tuples of a text."""
    words = " ".join(text.lower().split()).split()
    return {tuple(words[i : i + N]) for i in range(len(words) - N + 1)}


def by_tuples(items: list[Problem]) -> Callable[[list[Problem]], int]:
    """A function that counts the rows that share a tuple with an item."""
    table: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for place, item in enumerate(items):
        for gram in tuples(item.prompt[0].content):
            table[gram].add(place)

    def count(rows: list[Problem]) -> int:
        return sum(any(gram in table for gram in tuples(row.prompt[0].content)) for row in rows)

    return count


def by_keys(items: list[Problem]) -> Callable[[list[Problem]], int]:
    """The same by the guard of `cascade data decontaminate`."""
    guard = Guard([RowSet("items", lambda: items)], N)

    def count(rows: list[Problem]) -> int:
        return sum(bool(found) for batch in batches(rows) for found in guard.hits(batch))

    return count


def main() -> int:
    """The main of one side: `kernel`, `twin` or `tuples`, on the documents of which duel."""
    who, which = sys.argv[1:]
    if who == "twin":
        ngrams.loaded = ngram_index.loaded = lambda: None  # type: ignore[assignment]
    elif who == "kernel":
        assert ngrams.loaded() is not None, "the kernel is not built"
    documents = DOCUMENTS[which]
    made = corpus(documents, leaks=documents // 100, innocent=0)
    rows = list(made.rows())
    count = by_tuples(made.items) if who == "tuples" else by_keys(made.items)

    def work() -> int:
        found = count(rows)
        assert found or who == "tuples"  # which miss what is written in another way
        return len(rows)

    serve(work)
    return 0


def run() -> list[Duel]:
    """Kernel and twin against tuples."""

    def sides(who: str) -> tuple[list[str], list[str]]:
        module = [sys.executable, "-m", "benchmarks.decontaminate.rate"]
        return [*module, who, who], [*module, "tuples", who]

    return [
        duel("300 words: kernel, word tuples", *sides("kernel"), AT_LEAST, rounds=9),
        duel("300 words: plain Python, word tuples", *sides("twin"), 0.0),
    ]


if __name__ == "__main__":
    sys.exit(main())
