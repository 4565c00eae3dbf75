"""Public problems as our rows, for tests: prompt, reference and, where there is one, a solution."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

Find = Callable[[str], Path]
RawRow = dict[str, Any]


def row(
    source: str, name: object, ability: str, prompt: str, truth: object, extra: RawRow | None = None
) -> RawRow:
    """One row as it lies in a file."""
    text = truth if isinstance(truth, str) else json.dumps(truth)
    return {
        "data_source": source,
        "prompt": [{"role": "user", "content": prompt}],
        "ability": ability,
        "reward_model": {"style": "rule", "ground_truth": text},
        "extra_info": {"id": f"{source}/{name}", **(extra or {})},
    }


def lines(path: Path) -> list[RawRow]:
    text = path.read_bytes()
    text = gzip.decompress(text) if path.suffix == ".gz" else text
    return [json.loads(line) for line in text.splitlines()]


def math500(find: Find) -> Iterator[RawRow]:
    for n, item in enumerate(json.loads(find("math/deepscaler_math500.json").read_text())):
        yield row("math500", n, "math", item["problem"], item["answer"])


def aime(find: Find) -> Iterator[RawRow]:
    for name in ("deepscaler_aime", "deepscaler_train_aime"):
        for n, item in enumerate(json.loads(find(f"math/{name}.json").read_text())):
            yield row(name, n, "math", item["problem"], str(item["answer"]))
    for n, item in enumerate(lines(find("math/aime25.jsonl"))):
        yield row("aime25", n, "math", item["problem"], str(item["expected_answer"]))


def gsm8k(find: Find) -> Iterator[RawRow]:
    for n, item in enumerate(lines(find("math/gsm8k_test.jsonl"))):
        answer = item["answer"].rpartition("####")[2].strip()
        yield row("gsm8k", n, "math", item["question"], answer)


def humaneval(find: Find) -> Iterator[RawRow]:
    for item in lines(find("code/HumanEval.jsonl.gz")):
        tests = {key: item[key] for key in ("test", "entry_point", "prompt")}
        solution = item["prompt"] + item["canonical_solution"]
        name = item["task_id"].split("/")[1]
        yield row("humaneval", name, "code", item["prompt"], tests, {"solution": solution})


def mbpp(find: Find, seconds: float | None = None) -> Iterator[RawRow]:
    for item in json.loads(find("code/mbpp_sanitized.json").read_text()):
        tests = {key: item[key] for key in ("test_list", "test_imports")}
        tests |= {"time_limit_s": seconds} if seconds else {}
        solution = {"solution": item["code"]}
        yield row("mbpp", item["task_id"], "code", item["prompt"], tests, solution)


def code_contests(find: Find) -> Iterator[RawRow]:
    for item in lines(find("code/sf_code_contests.jsonl")):
        yield row("code_contests", item["id"], "code", item["content"], {"test": item["test"]})


def ifeval(find: Find) -> Iterator[RawRow]:
    yield from _instructions("ifeval", lines(find("if/ifeval_input_data.jsonl")))


def ifbench(find: Find) -> Iterator[RawRow]:
    yield from _instructions("ifbench", lines(find("if/ifbench_test.jsonl")))


def _instructions(source: str, items: list[RawRow]) -> Iterator[RawRow]:
    for item in items:
        truth = {key: item[key] for key in ("instruction_id_list", "kwargs")}
        yield row(source, item["key"], "instruction_following", item["prompt"], truth)


ALL: Mapping[str, Callable[[Find], Iterator[RawRow]]] = {
    "math500": math500,
    "aime": aime,
    "gsm8k": gsm8k,
    "humaneval": humaneval,
    "mbpp": partial(mbpp, seconds=20.0),  # the solution of 123 computes about five
    "code_contests": code_contests,
    "ifeval": ifeval,
    "ifbench": ifbench,
}


def write(path: Path, rows: Iterator[RawRow] | list[RawRow]) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in rows))
    return path
