"""What makes two rows the same: five keys, and which of them count in which domain.

One rule: a key that a row lacks (no URL, no tests) matches nothing, and no key is made of what
unrelated rows share, such as a site's front page or a test that only says `1`.

    exact    their prompts have the same words and signs, whatever case, blanks and Unicode form
    near     their sets of word 5-grams overlap by the threshold (`near.py`)
    url      they come from the same problem page
    commit   they start from the same commit of the same repository (2512.13607, section 3.3.2)
    io       they have the same sample tests (2603.19220)
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from cascade_rl.chat import to_dict
from cascade_rl.data.references import ground_truth
from cascade_rl.types import (
    AssertTest,
    CallTest,
    Conversation,
    Domain,
    Message,
    Pair,
    Problem,
    Row,
    StdioTest,
    Tests,
)

Key = Literal["exact", "near", "url", "commit", "io"]
Scope = Literal["prompt", "row"]
KEYS: tuple[Key, ...] = ("exact", "near", "url", "commit", "io")
SCOPES: tuple[Scope, ...] = ("prompt", "row")
KEYS_OF: Mapping[Domain, tuple[Key, ...]] = {
    "math": ("exact", "near"),
    "code": ("exact", "near", "url", "io"),
    "instruction_following": ("exact",),  # a prompt with another constraint is another problem
    "swe": ("exact", "commit"),  # prompts quote whole files, so near would join other issues
    "chat": ("exact", "near"),
    "tool_calls": ("exact",),  # the same question with other functions is another problem
}
SAME_NUMBERS: tuple[Domain, ...] = ("math", "code")
"""Where near rows must hold the same numbers, in whatever order."""
KEYS_OF_PROMPTS: tuple[Key, ...] = ("exact", "near")
KEYS_OF_ROWS: tuple[Key, ...] = ("exact",)
URL_KEYS = ("url", "problem_url", "question_url", "link")
REPOSITORY_KEYS = ("repo", "repo_name", "repository")
COMMIT_KEYS = ("base_commit", "base_sha", "commit")
TRACKING = ("utm_", "ref", "fbclid", "gclid", "locale", "lang")
LEAST_INPUT, LEAST_TEST, LEAST_TESTS = 5, 8, 16
"""Characters, blanks aside, of the input of a test that says something, of the whole test, and of
all such tests together. A shorter one stands in many prompts by chance."""

_WORD = re.compile(r"\w+|[^\w\s]")
_CODEFORCES = re.compile(
    r"(?:\w+\.)?codeforces\.com/(?:contest/(\d+)/problem|problemset/problem/(\d+))/(\w+)"
)


@dataclass(frozen=True, slots=True)
class Identity:
    """A row's keys.

    `texts` are lists of words: the whole text first, then each user turn of a prompt that has
    several. `values` are 64-bit digests, one for each key but near that the row has. `numbers`
    is a digest of the numbers in a prompt where another number is another problem, 0 elsewhere.
    """

    keys: tuple[Key, ...]
    texts: tuple[list[str], ...]
    values: Mapping[Key, int]
    numbers: int


def identity(row: Row, by: Sequence[Key] | None = None, scope: Scope | None = None) -> Identity:
    """The keys of a row. Without `by` those of its domain.

    Without `scope` problems are their prompt, conversations and pairs the whole row: several
    responses to one prompt are no duplicates.
    """
    scope = scope or ("prompt" if isinstance(row, Problem) else "row")
    keys = default_keys(row, scope) if by is None else tuple(by)
    whole = words(text_of(row, scope))
    turns = [m.content for m in _messages(row) if m.role == "user"]
    several = scope == "prompt" and len(turns) > 1
    values: dict[Key, int] = {"exact": digest(" ".join(whole))} if "exact" in keys else {}
    numbers = 0
    if isinstance(row, Problem):
        for key, read in _READERS.items():
            if key in keys and (found := read(row)):
                values[key] = digest(found)
        if row.domain in SAME_NUMBERS:
            numbers = digest(" ".join(sorted(w for w in whole if w.isdigit())))
    return Identity(keys, (whole, *map(words, turns if several else ())), values, numbers)


def default_keys(row: Row, scope: Scope) -> tuple[Key, ...]:
    """The keys that count where the user names none."""
    if isinstance(row, Problem):
        return KEYS_OF[row.domain]
    return KEYS_OF_PROMPTS if scope == "prompt" else KEYS_OF_ROWS


def words(text: str) -> list[str]:
    """The words and signs of a text, without case and in one Unicode form.

    Signs count: in math `2 + 3` and `2 - 3` differ by nothing else.
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def digest(text: str) -> int:
    """64 bits of a text, never 0."""
    found = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(found, "big") or 1


def text_of(row: Row, scope: Scope) -> str:
    """The user's turns, or everything a row teaches from, reference and modes included."""
    messages = _messages(row)
    if scope == "prompt":
        turns = [m.content for m in messages if m.role == "user"]
        return "\n".join(turns or [m.content for m in messages])
    parts = [json.dumps(to_dict(m), ensure_ascii=False, default=str) for m in messages]
    match row:
        case Problem():
            parts.append(ground_truth(row.reference))
        case Pair():
            parts += [row.chosen, row.rejected]
        case Conversation():
            parts += [json.dumps(tool, sort_keys=True, default=str) for tool in row.tools]
    return "\n".join(parts)


def _messages(row: Row) -> tuple[Message, ...]:
    return row.messages if isinstance(row, Conversation) else row.prompt


# --- where a problem comes from ---------------------------------------------------------------


def _url(problem: Problem) -> str | None:
    """The problem page without scheme, `www.`, tracking and fragment; None for a front page.

    Codeforces serves a problem under a contest and under the problem set.
    """
    text = _first(problem, URL_KEYS)
    if not text:
        return None
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host = (parts.hostname or "").removeprefix("www.")
    except ValueError:  # not a URL, whatever its key is called
        return None
    asked = [(k, v) for k, v in parse_qsl(parts.query) if not k.lower().startswith(TRACKING)]
    path = parts.path.rstrip("/")
    if not host or not (path or asked):
        return None
    if found := _CODEFORCES.fullmatch(host + path):
        contest, problemset, letter = found.groups()
        return f"codeforces.com/{contest or problemset}/{letter.upper()}"
    return f"{host}{path}?{urlencode(sorted(asked))}"


def _commit(problem: Problem) -> str | None:
    """`owner/name@commit`, or None where the row lacks one of them."""
    repository, commit = _first(problem, REPOSITORY_KEYS), _first(problem, COMMIT_KEYS)
    if not repository or not commit:
        return None
    name = repository.strip().casefold().removesuffix(".git").rstrip("/")
    name = name.partition("github.com")[2].lstrip(":/") or name
    return f"{name}@{commit.strip().casefold()}"


def _first(problem: Problem, keys: Sequence[str]) -> str | None:
    found = (problem.extra.get(key) for key in keys)
    return next((value for value in found if isinstance(value, str) and value.strip()), None)


# --- sample tests -----------------------------------------------------------------------------


def _io(problem: Problem) -> str | None:
    """The tests that the prompt shows; all tests where it shows none.

    Sources differ in their hidden tests and in layout, not in a problem's samples: blanks do
    not count, nor the order of the tests.
    """
    if not isinstance(problem.reference, Tests):
        return None
    tests = {_parts(case) for case in problem.reference.cases}
    telling = sorted(filter(_telling, tests))
    prompt = _squeezed(text_of(problem, "prompt"))
    shown = [test for test in telling if all(part in prompt for part in test)]
    for name, chosen in (("shown", shown), ("all", telling)):
        if sum(len(part) for test in chosen for part in test) >= LEAST_TESTS:
            return json.dumps([name, chosen])
    return None


def _parts(case: StdioTest | CallTest | AssertTest) -> tuple[str, ...]:
    match case:
        case StdioTest():
            return _squeezed(case.input), _squeezed(case.output)
        case CallTest():
            values = (*case.args, case.expected)
            return tuple(_squeezed(json.dumps(v, ensure_ascii=False, default=str)) for v in values)
        case AssertTest():
            return (_squeezed(case.code),)


def _telling(parts: tuple[str, ...]) -> bool:
    given = sum(map(len, parts[:-1] or parts))  # an assert is one part
    return given >= LEAST_INPUT and sum(map(len, parts)) >= LEAST_TEST


def _squeezed(text: str) -> str:
    return "".join(text.split())


_READERS: Mapping[Key, Callable[[Problem], str | None]] = {
    "url": _url,
    "commit": _commit,
    "io": _io,
}
