"""`cascade data check`: rows whose reference fails its own verifier are named, and only they."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.data.step import report_path
from tests.cli.conftest import Done
from tests.data import public_rows as public

Cascade = Callable[..., Done]
Find = Callable[[str], Path]

CODE = {"asserts": ["assert f(1) == 2", "assert f(3) == 4"]}
SWE = {
    "files": {"a.py": "x = 1\n"},
    "patch": "--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n",
    "shown": ["a.py"],
    "format": "search_replace",
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "add",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "required": ["a", "b"],
            },
        },
    }
]


def instructions(*pairs: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {"instruction_id_list": [p[0] for p in pairs], "kwargs": [p[1] for p in pairs]}


def words(relation: str, count: int) -> tuple[str, dict[str, Any]]:
    return "length_constraints:number_words", {"relation": relation, "num_words": count}


def follow(*pairs: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return public.row("t", "if", "instruction_following", "Write.", instructions(*pairs))


def math(reference: str) -> dict[str, Any]:
    return public.row("t", "math", "math", "1 + 1?", reference)


def code(solution: str | None, tests: dict[str, Any] = CODE) -> dict[str, Any]:
    extra = {} if solution is None else {"solution": solution}
    return public.row("t", "code", "code", "Write f.", tests, extra)


def calls(arguments: dict[str, Any], name: str = "add") -> dict[str, Any]:
    turn = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"name": name, "arguments": arguments}],
    }
    result = {"role": "tool", "content": "3"}
    messages = [{"role": "user", "content": "1+2"}, turn, result, turned("3")]
    return {"source": "t", "messages": messages, "tools": TOOLS}


def fetching() -> dict[str, Any]:
    """A tool whose schema lies elsewhere."""
    found = calls({"a": 1, "b": 2})
    schema = {"$ref": "http://127.0.0.1:9/schema.json"}
    found["tools"] = [{"function": {"name": "add", "parameters": schema}}]
    return found


def turned(content: str, role: str = "assistant") -> dict[str, Any]:
    return {"role": role, "content": content}


def talk(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"source": "t", "messages": list(messages)}


def pair(chosen: str, rejected: str, prompt: str = "Hi") -> dict[str, Any]:
    return {"source": "t", "prompt": prompt, "chosen": chosen, "rejected": rejected}


GOOD = {
    "math": math("\\frac{1}{2}"),
    "code": code("def f(x):\n    return x + 1"),
    "code with a fence in a string": code('"""```"""\ndef f(x):\n    return x + 1'),
    "code without a solution": code(None),
    "code by stdio": code(
        "print(int(input()) + 1)", {"tests": [{"input": "1\n", "output": "2\n"}]}
    ),
    "instructions": follow(words("at least", 5), words("less than", 7)),
    "swe": public.row("t", "swe", "swe", "Fix it.", SWE),
    "chat": public.row("t", "chat", "chat", "Hello", ""),
    "tools": calls({"a": 1, "b": 2}),
    "talk": talk(turned("a", "user"), turned("b")),
    "pair": pair("yes", "no"),
}
BAD = {
    "a reference that is no answer": (math("nan"), "reference fails"),
    "a wrong solution": (code("def f(x):\n    return x"), "reference fails"),
    "a solution that hangs": (
        code("def f(x):\n    while True: pass", {**CODE, "time_limit_s": 0.2}), "reference fails",
    ),
    "tests that test nothing": (code(None, {"asserts": ["x = 1"]}), "unreadable reference"),
    "tests that are no code": (code(None, {"asserts": ["assert f("]}), "unreadable reference"),
    "an unknown id": (follow(("length:nothing", {})), "unreadable reference"),
    "an argument that is missing": (
        follow(("length_constraints:number_words", {"relation": "at least"})),
        "unreadable reference",
    ),
    "an empty range": (follow(words("at least", 7), words("less than", 7)), "contradict"),
    "two cases": (
        follow(("change_case:english_capital", {}), ("change_case:english_lowercase", {})),
        "contradict",
    ),
    "a wanted word that is forbidden": (
        follow(
            ("keywords:existence", {"keywords": ["cat"]}),
            ("keywords:forbidden_words", {"forbidden_words": ["cat"]}),
        ),
        "contradict",
    ),
    "capitals in German": (
        follow(
            ("change_case:english_capital", {}), ("language:response_language", {"language": "de"})
        ),
        "contradict",
    ),
    "a patch of another file": (
        public.row("t", "swe", "swe", "Fix it.", {**SWE, "files": {"a.py": "y = 1\n"}}),
        "reference fails",
    ),
    "a patch that changes nothing": (
        public.row("t", "swe", "swe", "Fix it.", {**SWE, "patch": ""}), "reference fails",
    ),
    "an empty prompt": (public.row("t", "chat", "chat", " ", ""), "empty turn"),
    "a lone surrogate": (public.row("t", "chat", "chat", "\ud800", ""), "cannot be rendered"),
    "an empty answer": (talk(turned("a", "user"), turned(" ")), "empty turn"),
    "a result without a call": (
        talk(turned("a", "user"), turned("3", "tool"), turned("b")), "impossible order",
    ),
    "an argument of a wrong type": (calls({"a": 1, "b": "2"}), "its schema"),
    "an argument that a call lacks": (calls({"a": 1}), "its schema"),
    "an unknown tool": (calls({"a": 1, "b": 2}, "subtract"), "its schema"),
    "a schema that lies elsewhere": (fetching(), "its schema"),
    "a pair of blanks": (pair("yes  it is", "yes it is"), "chosen equals rejected"),
    "an empty chosen text": (pair(" ", "no"), "empty turn"),
    "equal answers": (pair("yes", "yes"), "unreadable"),
    "no row": ({"a": 1}, "unreadable"),
}  # fmt: skip


def test_good_rows_of_every_kind_pass(cascade: Cascade, tmp_path: Path) -> None:
    path = public.write(tmp_path / "rows.jsonl", list(GOOD.values()))
    out = tmp_path / "out.jsonl"
    done = cascade("data", "check", path, "--out", out)
    assert done.status == 0, done.out
    report = json.loads(report_path(out).read_text())
    assert report["kept"] == len(GOOD) and report["dropped"] == {}
    assert report["checked"]["code"] == {"rows": 4, "failed": 0, "no solution to check": 1}


@pytest.mark.parametrize("name", BAD)
def test_a_planted_fault_fails_with_its_reason(name: str, cascade: Cascade, tmp_path: Path) -> None:
    bad, reason = BAD[name]
    path = public.write(tmp_path / "rows.jsonl", [GOOD["math"], bad])
    out = tmp_path / "out.jsonl"
    done = cascade("data", "check", path, "--out", out)
    assert done.status == 1
    report = json.loads(report_path(out).read_text())
    assert report["kept"] == 1 and len(report["dropped"]) == 1
    assert reason in next(iter(report["dropped"])), done.out


def test_without_out_nothing_is_written_and_the_status_is_the_same(
    cascade: Cascade, tmp_path: Path
) -> None:
    path = public.write(tmp_path / "rows.jsonl", [GOOD["math"], math("nan")])
    assert cascade("data", "check", path).status == 1
    assert cascade("data", "check", public.write(path, [GOOD["math"]])).status == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.jsonl"]


KNOWN: dict[str, dict[str, str]] = {
    "ifeval": {
        "ifeval/1627": "wants a prompt repeated that has commas, and no commas",
        "ifeval/3369": "wants a prompt repeated that has a word more often than allowed",
        "ifeval/3371": "wants a prompt repeated that has a forbidden word",
        "ifeval/3718": "wants a prompt repeated that has commas, and no commas",
        "ifeval/374": "wants a prompt repeated that has a forbidden word",
    },
}
"""Public rows that are truly at fault, and why; no other row of these sets fails."""


@pytest.mark.parametrize("name", public.ALL)
def test_public_sets_pass_but_for_the_rows_known_to_be_wrong(
    name: str, cascade: Cascade, tmp_path: Path, shared_data: Find
) -> None:
    path = public.write(tmp_path / "rows.jsonl", public.ALL[name](shared_data))
    out = tmp_path / "out.jsonl"
    cascade("data", "check", path, "--out", out)
    rejects = (tmp_path / "out.jsonl.rejects.jsonl").read_text().splitlines()
    found = {json.loads(line)["row"]["extra_info"]["id"] for line in rejects}
    assert found == set(KNOWN.get(name, {}))


def test_the_mini_files_pass(cascade: Cascade, tmp_path: Path) -> None:
    assert cascade("data", "mini", tmp_path, "--jsonl").status == 0
    done = cascade("data", "check", *sorted(tmp_path.rglob("*.jsonl")))
    assert done.status == 0, done.out
