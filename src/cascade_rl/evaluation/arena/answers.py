"""The answers of a model to an arena's questions, asked once and kept in a file.

One rule: an answer is found by the key of its whole question, since ids come again in other files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from cascade_rl.config import BenchmarkConfig
from cascade_rl.data.growing import growing, whole_lines
from cascade_rl.engines.generate import Generator, Prompt, Sampling
from cascade_rl.errors import OutputError
from cascade_rl.evaluation.benchmarks import key_of
from cascade_rl.types import Problem

Progress = Callable[[int, int], None]


def answers_to(
    generator: Generator,
    problems: Sequence[Problem],
    protocol: BenchmarkConfig,
    path: Path,
    progress: Progress = lambda questions, done: None,
) -> dict[str, str]:
    """One sampled answer to every question, by id; what the file has is not asked for again.

    A truncated answer counts as it stands: the judge sees what a user would have got. A line
    without a key, as earlier versions wrote, answers nobody knows which question: it is asked anew.
    """
    busy = OutputError(f"{path} is in use by another command; expected one at a time")
    with growing(path, busy) as file:
        found: dict[str, str] = {}
        end = 0
        for fields, size in whole_lines(path):
            if "key" in fields:
                found[fields["key"]] = fields["messages"][-1]["content"]
            end += size
        os.truncate(path, end)
        keys = {problem.id: key_of(problem) for problem in problems}
        left = [problem for problem in problems if keys[problem.id] not in found]
        prompts = [Prompt(problem.id, problem.prompt, protocol.mode) for problem in left]
        p = protocol
        sampling = Sampling(p.temperature, p.top_p, p.top_k, p.max_new_tokens, p.seed)
        done = len(problems) - len(left)
        progress(done, done)
        for response in generator.generate(prompts, sampling) if prompts else ():
            uid = left[response.prompt].id
            found[keys[uid]] = response.text
            message = {"role": "assistant", "content": response.text}
            line = {"uid": uid, "key": keys[uid], "finish": response.finish, "messages": [message]}
            file.write(json.dumps(line).encode("ascii") + b"\n")
            file.flush()
            done += 1
            progress(done, done)
    return {uid: found[key] for uid, key in keys.items()}
