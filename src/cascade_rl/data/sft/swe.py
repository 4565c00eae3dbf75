"""SWE rows with recorded responses: which teach a repair in SFT, which are left to RL.

Rules (Nemotron-Cascade, section 3.3.2). A response counts from a `swe_rl` similarity of 0.5 to
the golden patch on, the boundary included; an edit that changes nothing has similarity 0, and so
has one that cannot be applied. A row is an SFT instance where at least 4 of 8 of its responses
count, and goes to RL where it is none and at least one response is not 0. A repository of the
benchmark is never trained on, and of one (repository, commit) in several sources one source's
rows stay, the same whatever the order of the rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade_rl.chat import split_thought
from cascade_rl.data.files import Unreadable, raw_rows
from cascade_rl.data.sft.responses import readable
from cascade_rl.data.step import Step
from cascade_rl.digests import digest_text
from cascade_rl.errors import DataError
from cascade_rl.types import Conversation, Message, Patch, Problem, Row
from cascade_rl.verifiers.patches import Unparsable, apply_diff
from cascade_rl.verifiers.similarity import THRESHOLDS, swe_rl_similarity
from cascade_rl.verifiers.swe import edited_files

THRESHOLD = THRESHOLDS["swe_rl"]
LEAST, OF = 4, 8
"""At least so many of so many responses make a row an SFT instance; another number of
responses is held to the same share."""

NOT_SWE = "no swe problem"
NO_RESPONSES = "no recorded responses"
BENCHMARK_REPO = "a repository of the benchmark"
OTHER_SOURCE = "same repository and commit in another source"
BAD_PATCH = "the golden patch does not apply"
FOR_RL = "reserved for RL"
NOT_SIMILAR = "no similar response"
BELOW = "similarity below 0.5"

RESPONSES = ("responses", "outputs")
"""Keys of extra_info under which recorded responses are looked for, in this order."""


# --- what a row says of itself ------------------------------------------------------------------


def responses_of(row: Problem) -> tuple[str | None, ...]:
    """The recorded responses as text; None for one that was cut off."""
    for key in RESPONSES:
        found = row.extra.get(key)
        if isinstance(found, list) and found:
            return tuple(text if isinstance(text, str) else None for text in found)
    return ()


def repository(values: Mapping[str, Any]) -> str:
    """`owner/name` in small letters, from `repo` or an instance id; empty where neither says.

    Read as `https://github.com/owner/name.git`, `owner__name-123` (SWE-bench) and
    `swesmith/owner__name.1a2b3c4d` (SWE-Smith's mirrors of other people's repositories).
    """
    for key in ("repo", "repo_name", "instance_id"):
        found = values.get(key)
        if not isinstance(found, str) or not found.strip():
            continue
        text = re.sub(r"^(https?://|git@)?(www\.)?github\.com[/:]", "", found.strip().lower())
        text = text.removesuffix("/").removesuffix(".git")
        if re.fullmatch(r"(?!swesmith/)[^/\s]+/[^/\s]+", text):
            return text
        if mirrored := re.search(r"([^/]+?)__(.+?)(?:-\d+|\.[0-9a-f]{7,40}(?:\..*)?)?$", text):
            return f"{mirrored[1]}/{mirrored[2]}"
    return ""


def commit_of(row: Problem) -> str:
    """`owner/name` and the commit as one key; empty where one of them is not known."""
    commit = row.extra.get("base_commit")
    repo = repository(row.extra)
    return digest_text(repo, commit.lower()) if repo and isinstance(commit, str) and commit else ""


def repositories(path: Path) -> frozenset[str]:
    """The repositories that a benchmark's file names, one way or another.

    Rows with `repo` or `instance_id` (also inside `extra_info`), or a `.txt` of one a line.
    Raises DataError where none is found.
    """
    found: set[str] = set()
    if path.suffix == ".txt":
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read {path}: {error}") from None
        found = {repository({"repo": line}) for line in lines}
    else:
        for raw in raw_rows(path):
            if isinstance(raw, Mapping) and not isinstance(raw, Unreadable):
                extra = raw.get("extra_info")
                inner = extra if isinstance(extra, Mapping) else {}
                found.add(repository(raw) or repository(inner))
    found.discard("")
    if not found:
        raise DataError(f"{path} names no repository; expected rows with repo or instance_id")
    return frozenset(found)


# --- which rows are looked at -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Selection:
    """Repositories to leave out, and which source keeps a commit that several have."""

    excluded: frozenset[str]
    keeper: Mapping[str, str]

    def refuses(self, row: Problem) -> tuple[str, str] | None:
        """(reason, detail) where the row is left out."""
        repo = repository(row.extra)
        if repo in self.excluded:
            return BENCHMARK_REPO, repo
        keeper = self.keeper.get(commit_of(row), row.source)
        return None if keeper == row.source else (OTHER_SOURCE, f"{repo}, kept for {keeper}")


def select(
    paths: Sequence[Path], excluded: frozenset[str] = frozenset(), order: Sequence[str] = ()
) -> Selection:
    """One pass over all rows. Of several sources the first in `order` keeps a commit, then the
    first by name; rows of one source may share a commit, as SWE-Smith's do."""
    rank = {source: place for place, source in enumerate(order)}
    keeper: dict[str, str] = {}
    for row in (row for path in paths for row in readable(path)):
        useful = isinstance(row, Problem) and isinstance(row.reference, Patch)
        if isinstance(row, Problem) and useful and responses_of(row) and (commit := commit_of(row)):
            rival = keeper.setdefault(commit, row.source)
            keeper[commit] = min(rival, row.source, key=lambda s: (rank.get(s, len(rank)), s))
    return Selection(excluded, keeper)


# --- repair ---------------------------------------------------------------------------------------


def repair_similarity(patch: Patch, golden: Mapping[str, str], text: str | None) -> float:
    """`swe_rl` similarity, without a bound on its work, of a response to the golden patch.

    `golden` are the files that the golden patch changed. 0 for a response that was cut off,
    cannot be applied, or leaves every file as it was (equation 2).
    """
    if text is None:
        return 0.0
    try:
        changed = edited_files(patch, text)
    except Unparsable:
        return 0.0
    if all(patch.files.get(path, "") == after for path, after in changed.items()):
        return 0.0
    return swe_rl_similarity(patch.files, changed, golden, exact=True)


def is_sft(similarities: Sequence[float]) -> bool:
    """At least 4 of 8 count, or as large a share of another number."""
    near = sum(s >= THRESHOLD for s in similarities)
    return near > 0 and near * OF >= LEAST * len(similarities)


def is_rl(similarities: Sequence[float]) -> bool:
    """No SFT instance, and at least one response is not 0."""
    return not is_sft(similarities) and any(s > 0 for s in similarities)


def as_conversation(row: Problem, number: int, text: str) -> Conversation:
    """The prompt and one response, thought apart, with the mode that it shows."""
    thought, answer = split_thought(text)
    turns = tuple(
        Message("user", m.content, mode=m.mode or ("no_think" if thought is None else "think"))
        if m.role == "user"
        else m
        for m in row.prompt
    )
    reply = Message("assistant", answer, thought=thought)
    return Conversation(f"{row.id}/{number}", (*turns, reply), row.source)


@dataclass(frozen=True, slots=True)
class Split:
    """How rows of one kind are split; `pairs` are the sources of which every pair that counts
    is kept and none goes to RL, as the paper does with SWE-Fixer's."""

    selection: Selection
    pairs: frozenset[str] = frozenset()


def repair(sft: Step, rl: Step, paths: Sequence[Path], split: Split) -> None:
    """Write SFT conversations, one a response that counts, and the problems that RL gets.

    Every row and every response of an SFT instance is accounted for in `sft`; a row that went
    to `rl` is among its rejects as reserved.
    """
    instances = reserved = 0
    for row in (row for path in paths for row in sft.rows(path)):
        found = _swe(row, split.selection)
        if not isinstance(found, Patch) or not isinstance(row, Problem):
            assert not isinstance(found, Patch)
            sft.drop(row, *found)
            continue
        try:
            golden = apply_diff(found.files, found.patch)
        except Unparsable as error:
            sft.drop(row, BAD_PATCH, str(error))
            continue
        texts = responses_of(row)
        near = [repair_similarity(found, golden, text) for text in texts]
        shown = [round(s, 4) for s in near]
        if is_sft(near) or (row.source in split.pairs and max(near) >= THRESHOLD):
            instances += 1
            _keep_pairs(sft, row, texts, near)
        elif is_rl(near) and row.source not in split.pairs:
            reserved += 1
            rl.keep(row)
            sft.drop(row, FOR_RL, shown)
        else:
            sft.drop(row, NOT_SIMILAR, shown)
    sft.details |= {"sft_instances": instances, "rl_instances": reserved}
    rl.inputs = sft.inputs


def _keep_pairs(
    sft: Step, row: Problem, texts: Sequence[str | None], near: Sequence[float]
) -> None:
    for number, (text, similarity) in enumerate(zip(texts, near, strict=True)):
        conversation = as_conversation(row, number, text or "")
        if similarity >= THRESHOLD:
            sft.keep(conversation)
        else:
            sft.drop(conversation, BELOW, round(similarity, 4))


def _swe(row: Row, selection: Selection) -> Patch | tuple[str, str]:
    """The reference of a row that is looked at, or (reason, detail)."""
    if not isinstance(row, Problem) or not isinstance(row.reference, Patch):
        return NOT_SWE, "expected ability swe"
    if refused := selection.refuses(row):
        return refused
    if not responses_of(row):
        return NO_RESPONSES, f"expected a list under extra_info.{RESPONSES[0]}"
    return row.reference


def swe_problems(
    step: Step, paths: Iterable[Path], selection: Selection
) -> Iterator[tuple[Problem, Patch]]:
    """The problems that are looked at; the others are dropped with their reason."""
    for row in (row for path in paths for row in step.rows(path)):
        found = _swe(row, selection)
        if isinstance(found, Patch) and isinstance(row, Problem):
            yield row, found
        elif not isinstance(found, Patch):
            step.drop(row, *found)
