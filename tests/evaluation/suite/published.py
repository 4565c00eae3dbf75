"""One row of each benchmark in the shape in which it is published, made up for these tests."""

from __future__ import annotations

import base64
import io
import json
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any


def packed(tests: Any) -> str:
    """As LiveCodeBench packs its private tests."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


def live(name: str, day: str, **more: Any) -> dict[str, Any]:
    """A problem of LiveCodeBench on standard input: print the sum."""
    public = [{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]
    private = [{"input": "2 2\n", "output": "4\n", "testtype": "stdin"}]
    return {
        "question_title": name, "question_content": "Print the sum of two integers.",
        "platform": "atcoder", "question_id": name, "contest_id": "abc", "contest_date": day,
        "starter_code": "", "difficulty": "easy", "public_test_cases": json.dumps(public),
        "private_test_cases": packed(private), "metadata": "{}", **more,
    }  # fmt: skip


AREA = {
    "name": "area",
    "description": "Area of a rectangle.",
    "parameters": {
        "type": "dict",
        "properties": {"base": {"type": "integer"}, "height": {"type": "integer"}},
        "required": ["base", "height"],
    },
}
CALL = [{"id": "simple_0", "question": [[{"role": "user", "content": "Area of 10 by 5?"}]],
         "function": [AREA]}]  # fmt: skip
ANSWER = [{"id": "simple_0", "ground_truth": [{"area": {"base": [10], "height": [5]}}]}]

CONFIG = "type: default\ntime: 2s\nmemory: 256m\nsubtasks:\n  - score: 100\n    n_cases: 2\n"
TESTS = {"1.in": "1 2\n", "1.ans": "3\n", "2.in": "2 2\n", "2.ans": "4\n"}
PRO = {
    "problem_id": "2051A", "problem_title": "Sum", "difficulty": "easy", "platform": "codeforces",
    "problem_statement": "Print the sum of two integers.",
}  # fmt: skip

ROWS: dict[str, dict[str, Any]] = {
    "aime24": {"id": 60, "problem": "What is 2+2?", "solution": "4", "answer": "4",
               "url": "u", "year": "2024"},
    "aime25": {"id": "aime25-0", "problem": "What is 2+2?", "expected_answer": "4"},
    "math500": {"problem": "What is 2+2?", "solution": "\\boxed{4}", "answer": "4",
                "subject": "Algebra", "level": 1, "unique_id": "test/algebra/1.json"},
    "gsm8k": {"question": "What is 2+2?", "answer": "2+2=<<2+2=4>>4\n#### 4"},
    "livecodebench_v5": live("abc380_a", "2024-11-16T00:00:00"),
    "livecodebench_v6": live("abc390_a", "2025-03-16T00:00:00"),
    "humaneval": {"task_id": "HumanEval/0", "prompt": 'def add(a, b):\n    """Add."""\n',
                  "entry_point": "add", "canonical_solution": "    return a + b\n",
                  "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n"},
    "mbpp": {"task_id": 2, "prompt": "Add two numbers.", "code": "def add(a, b): return a + b",
             "test_imports": [], "test_list": ["assert add(1, 2) == 3"]},
    "code_contests": {"name": "1_A", "description": "Print the sum.",
                      "public_tests": {"input": ["1 2\n"], "output": ["3\n"]},
                      "private_tests": {"input": [], "output": []},
                      "generated_tests": {"input": [], "output": []}},
    "mmlu": {"question": "Capital of Norway?", "subject": "geography",
             "choices": ["Paris", "Rome", "Oslo", "Bern"], "answer": 2},
    "mmlu_pro": {"question_id": 70, "question": "Capital of Norway?", "category": "other",
                 "options": ["Paris", "Rome", "Oslo", "Bern", "Cork", "Kyiv", "Riga", "Nice",
                             "Lima", "Doha"], "answer": "C", "answer_index": 2},
    "gpqa": {"Record ID": "rec1", "Question": "Capital of Norway?", "Correct Answer": "Oslo",
             "Incorrect Answer 1": "Rome", "Incorrect Answer 2": "Paris",
             "Incorrect Answer 3": "Bern", "Subdomain": "Physics"},
    "ifeval": {"key": 1000, "prompt": "Write without commas.",
               "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
    "ifbench": {"key": "0", "prompt": "Say kaleidoscope once.",
                "instruction_id_list": ["count:word_count_range"],
                "kwargs": [{"min_words": 2, "max_words": 9, "keyword": None}]},
    "arenahard": {"question_id": "ab12", "category": "arena-hard-v0.1", "cluster": "X",
                  "turns": [{"content": "Write a poem."}]},
    "rewardbench": {"prompt": "Hi", "chosen": "Hello!", "chosen_model": "a", "rejected": "No.",
                    "rejected_model": "b", "subset": "alpacaeval-easy", "id": 1},
    "swebench_verified": {"instance_id": "a__b-1", "repo": "a/b", "base_commit": "0" * 40,
                          "problem_statement": "It breaks.", "patch": "diff", "test_patch": "d"},
}  # fmt: skip
RIGHT: dict[str, str] = {
    **dict.fromkeys(("aime24", "aime25", "math500", "gsm8k"), "So \\boxed{4}."),
    **dict.fromkeys(
        ("livecodebench_v5", "livecodebench_v6", "code_contests"),
        "```python\nprint(sum(map(int, input().split())))\n```",
    ),
    **dict.fromkeys(("humaneval", "mbpp"), "```python\ndef add(a, b):\n    return a + b\n```"),
    **dict.fromkeys(("mmlu", "mmlu_pro"), "The answer is (C)."),
    "ifeval": "No comma here.",
    "ifbench": "Three words here.",
}
"""An answer that the benchmark's own verifier must find right."""


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A file of JSON lines, its folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def archive(files: dict[str, str]) -> bytes:
    """A zip of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        for name, text in files.items():
            out.writestr(name, text)
    return buffer.getvalue()


def contest(files: dict[str, str], config: str | None = CONFIG) -> bytes:
    """A problem's archive as LiveCodeBench Pro has it."""
    head = {} if config is None else {"config.yaml": config}
    return archive(head | {f"testdata/{name}": text for name, text in files.items()})


def place(name: str, folder: Path) -> str:
    """A file, or directory, with the benchmark's one row; its path."""
    if name == "bfcl":
        lines(folder / "BFCL_v3_simple.json", CALL)
        lines(folder / "possible_answer" / "BFCL_v3_simple.json", ANSWER)
        return str(folder)
    if name.startswith("livecodebench_pro"):
        (folder / "testcases").mkdir()
        (folder / "testcases" / "2051A.zip").write_bytes(contest(TESTS))
        return str(lines(folder / "problems.jsonl", [PRO]))
    return str(lines(folder / f"{name}.jsonl", [ROWS[name]]))
