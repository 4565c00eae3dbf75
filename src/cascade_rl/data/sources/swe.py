"""Repairs of repositories: an issue, the files it is about, and the golden patch.

One rule: the files must be in the row, and the golden patch must apply to them and change them.
SWE-bench's own rows name a repository and a commit only; nothing is checked out here, so they
are rejects until a column `relevant_file_contents` is added.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from cascade_rl.data.fields import parse_json, shown
from cascade_rl.data.sources.common import (
    Raw,
    Unfit,
    maybe_text,
    problem,
    prompt_of,
    provenance,
    text_of,
)
from cascade_rl.errors import DataError
from cascade_rl.types import Message, Patch, Problem
from cascade_rl.verifiers.patches import Unparsable, apply_diff

CONTENTS = ("relevant_file_contents", "file_contents", "files")
PATCHES = ("patch", "golden_patch", "gold_patch")

REPAIR = """\
A repository has an issue. Read it and the files it is about, find what is wrong and repair it.

--- BEGIN ISSUE
{issue}
--- END ISSUE

{files}

Answer with SEARCH/REPLACE edits inside <solution> and </solution>, each in a block of its own:
```diff
### path/of/the/file
<<<<<<< SEARCH
lines as they are, blanks included
=======
lines as they should be
>>>>>>> REPLACE
```"""
"""What is asked where the row has no prompt (2512.13607, appendix C.2, in our words)."""


def swe_bench(raw: Raw, source: str) -> Problem:
    """`instance_id`, `repo`, `base_commit`, `problem_statement`, `patch`, the files' contents."""
    issue = text_of(raw, "problem_statement")
    files = _files(raw)
    prompt = prompt_of(repair_prompt(issue, files), "problem_statement")
    return _repair(raw, source, prompt, files, issue)


def nemotron_swe(raw: Raw, source: str) -> Problem:
    """Nemotron-Cascade's RL set: the prompt is given; the repository is in `instance_id`."""
    prompt = prompt_of(raw.get("prompt"), "prompt")
    issue = maybe_text(raw, "problem_statement") or _issue(raw, prompt)
    return _repair(raw, source, prompt, _files(raw), issue)


def nemo_gym_swe(raw: Raw, source: str) -> Problem:
    """NeMo Gym's repair rows: SWE-Gym's `instance` beside a prompt and the files."""
    asked, metadata, instance = (
        raw.get(key) for key in ("responses_create_params", "metadata", "instance")
    )
    if not (isinstance(asked, Mapping) and isinstance(metadata, Mapping)):
        raise DataError("responses_create_params and metadata; expected objects")
    if not isinstance(instance, Mapping):
        raise DataError(f"instance is {shown(instance)}; expected an object")
    if raw.get("mode") not in (None, "eval", "repair"):
        raise Unfit("another task", f"mode is {shown(raw['mode'])}: the row asks for no repair")
    turns = prompt_of(asked.get("input"), "responses_create_params.input")
    prompt = tuple(_without_open_thought(turn) for turn in turns)
    row = {**provenance(raw), **instance, "source": raw.get("dataset_name")}
    files = _files({**instance, **metadata})
    return _repair(row, source, prompt, files, text_of(instance, "problem_statement"))


def repair_prompt(issue: str, files: Mapping[str, str]) -> str:
    """The prompt of a repair, files in their order."""
    shown_files = "\n\n".join(file_block(path, text) for path, text in files.items())
    return REPAIR.format(issue=issue.strip(), files=shown_files)


def file_block(path: str, text: str) -> str:
    """One file as prompts show it."""
    return f"--- BEGIN FILE {path}\n{text.rstrip(chr(10))}\n--- END FILE"


def _repair(
    raw: Raw, source: str, prompt: tuple[Message, ...], files: Mapping[str, str], issue: str
) -> Problem:
    patch = text_of(raw, *PATCHES)
    try:
        after = apply_diff(files, patch)
    except Unparsable as error:
        raise Unfit("golden patch does not apply", str(error)) from None
    if all(files.get(path, "") == text for path, text in after.items()):
        raise Unfit("golden patch changes nothing", "the files are the same after it")
    shown_paths = tuple(files)
    reference = Patch(files, patch, shown_paths, _format(prompt), issue)
    extra = {} if raw.get("repo") else _repository(maybe_text(raw, "instance_id"))
    return problem(raw, source, "swe", prompt, reference, extra)


def _files(raw: Raw) -> dict[str, str]:
    """Path to text: an object, a list of objects with path and content, or either as JSON."""
    key = next((key for key in CONTENTS if raw.get(key)), None)
    if key is None:
        message = f"no file contents; expected {CONTENTS[0]}, from path to text"
        raise Unfit("no file contents", message)
    found = parse_json(raw[key], key) if isinstance(raw[key], str) else raw[key]
    if isinstance(found, list | tuple):
        found = dict(_entry(item, key) for item in found)
    if not isinstance(found, Mapping):
        raise DataError(f"{key} is {shown(found)}; expected an object from path to text")
    files = {path: text for path, text in found.items() if text is not None}
    if not files or not all(isinstance(t, str) and isinstance(p, str) for p, t in files.items()):
        raise Unfit("no file contents", f"{key} holds {shown(found)}; expected texts by path")
    return files


def _entry(item: Any, key: str) -> tuple[Any, Any]:
    """Parquet keeps an object of many keys as a list: of pairs, or of path and content."""
    if isinstance(item, list | tuple) and len(item) == 2 and isinstance(item[0], str):
        return item[0], item[1]
    if isinstance(item, Mapping):
        path = next((item[k] for k in ("path", "file", "name", "key") if item.get(k)), None)
        text = next((item[k] for k in ("content", "text", "value") if k in item), None)
        if isinstance(path, str):
            return path, text
    raise DataError(f"{key} holds {shown(item)}; expected path and content")


def _format(prompt: tuple[Message, ...]) -> Literal["search_replace", "diff", "either"]:
    """What form of edit the prompt asks for."""
    text = "\n".join(turn.content for turn in prompt)
    if "<<<<<<< SEARCH" in text:
        return "search_replace"
    return "diff" if "diff --git" in text or "unified diff" in text.lower() else "either"


_ISSUE = re.compile(r"--- BEGIN ISSUE\n(.*?)\n--- END ISSUE|<issue>\n?(.*?)\n?</issue>", re.DOTALL)
_INSTANCE = re.compile(r"([\w.-]+?)__([\w.-]+)-\d+")


def _issue(raw: Raw, prompt: tuple[Message, ...]) -> str:
    """The issue as it is marked in a prompt; empty where it is not."""
    for text in (maybe_text(raw, "original_prompt"), *(turn.content for turn in prompt)):
        if match := _ISSUE.search(text):
            return (match[1] or match[2] or "").strip()
    return ""


def _repository(instance: str) -> dict[str, str]:
    """`owner__name-123` is of the repository owner/name."""
    match = _INSTANCE.fullmatch(instance)
    return {"repo": f"{match[1]}/{match[2]}"} if match else {}


def _without_open_thought(turn: Message) -> Message:
    """Some prompts end with an opened thought, which our chat template writes itself."""
    return Message(turn.role, turn.content.rstrip().removesuffix("<think>").rstrip())
