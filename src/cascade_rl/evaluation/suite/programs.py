"""LiveCodeBench v5, v6 and Pro, HumanEval, MBPP, CodeContests, SWE-bench Verified.

Two surprises. LiveCodeBench's versions are files and not dates alone: v5's 279 problems are those
of `test.jsonl` to `test5.jsonl` since August 2024, and `test6.jsonl` has more of the same months.
And LiveCodeBench Pro keeps its tests apart, one zip a problem, some of which only a program of
the problem's own can judge; those are left out, and said.
"""

from __future__ import annotations

from datetime import date

from cascade_rl.evaluation.suite.entry import (
    ACEREASON,
    CASCADE,
    OURS,
    Entry,
    K,
    Protocol,
    said,
)
from cascade_rl.evaluation.suite.reading import with_tests
from cascade_rl.evaluation.suite.rows import Rows, Window

LIVE = "livecodebench/code_generation_lite"
FILES = ("test.jsonl", "test2.jsonl", "test3.jsonl", "test4.jsonl", "test5.jsonl", "test6.jsonl")
CONTEST = Protocol("think", 8, 60 * K, said(CASCADE), yarn_factor=2.0)
ACEREASON_LIVE = Protocol(None, 8, 32_768, said(ACEREASON))
EVALPLUS = Protocol("think", 4, 32_768, said(ACEREASON, {"mode": OURS}))
"""2505.16400 reports EvalPlus, whose tests are these and more."""


def _live(version: str, last: date, only: tuple[str, ...], counts: dict[int, str]) -> Rows:
    return Rows(
        source="livecodebench",
        shapes=(("question_content", "public_test_cases", "contest_date"),),
        get=f"get {only[0]} to {only[-1]}:  hf download --repo-type dataset {LIVE} --local-dir DIR"
        f"\n  and give DIR; {version} is those files, from 2024-08-01 to {last}",
        counts=counts,
        window=Window(date(2024, 8, 1), last),
        only=only,
    )


LIVECODEBENCH_V5 = Entry(
    name="livecodebench_v5",
    title="LiveCodeBench v5",
    rows=_live(
        "release_v5", date(2025, 2, 1), FILES[:5], {279: "August 2024 to February 2025 of v5"}
    ),
    verifier="code",
    protocols={"nemotron-cascade": CONTEST, "acereason": ACEREASON_LIVE},
)
LIVECODEBENCH_V6 = Entry(
    name="livecodebench_v6",
    title="LiveCodeBench v6",
    rows=_live(
        "release_v6",
        date(2025, 5, 1),
        FILES,
        {454: "August 2024 to May 2025 of v6", 175: "test6.jsonl alone, as in 2505.16400"},
    ),
    verifier="code",
    protocols={
        "nemotron-cascade": CONTEST,
        "acereason": Protocol(None, 8, 32_768, said(ACEREASON), counts={175: "test6.jsonl alone"}),
    },
)


def _pro(quarter: str, split: str, count: int) -> Entry:
    return Entry(
        name=f"livecodebench_pro_{quarter.lower()}",
        title=f"LiveCodeBench Pro 20{quarter[:2]} {quarter[2:]}",
        rows=Rows(
            source="livecodebench-pro",
            shapes=(("problem_id", "problem_statement", "testcases"),),
            get=f"get the split {split} of QAQAQAQAQ/LiveCodeBench-Pro (it asks for consent), and"
            "\n  hf download --repo-type dataset QAQAQAQAQ/LiveCodeBench-Pro-Testcase --local-dir "
            "DIR/testcases\n  beside the file of problems in DIR",
            counts={count: f"the split {split}"},
            opened=with_tests("testcases"),
        ),
        verifier="code",
        protocols={"nemotron-cascade": CONTEST},
        note="answers are programs in C++ (ours: the paper does not say); easy, medium and hard "
        "are reported apart",
    )


LIVECODEBENCH_PRO_25Q1 = _pro("25Q1", "quater_2025_1_3", 166)
LIVECODEBENCH_PRO_25Q2 = _pro("25Q2", "quater_2025_4_6", 167)
HUMANEVAL = Entry(
    name="humaneval",
    title="HumanEval",
    rows=Rows(
        source="humaneval",
        shapes=(("prompt", "test", "entry_point"),),
        hub="openai/openai_humaneval",
        split="test",
        get="get it:  hf download --repo-type dataset openai/openai_humaneval",
        counts={164: "all of it"},
    ),
    verifier="code",
    protocols={"acereason": EVALPLUS},
    note="its own tests; EvalPlus has more",
)
MBPP = Entry(
    name="mbpp",
    title="MBPP, sanitized",
    rows=Rows(
        source="mbpp",
        shapes=(("prompt", "test_list"), ("text", "test_list")),
        hub="google-research-datasets/mbpp",
        subset="sanitized",
        split="test",
        get="get it:  hf download --repo-type dataset google-research-datasets/mbpp",
        counts={
            257: "the test split of sanitized",
            427: "all of sanitized",
            399: "those of sanitized that EvalPlus began with",
            378: "those of sanitized that EvalPlus keeps",
            500: "the test split of full",
        },
    ),
    verifier="code",
    protocols={"acereason": EVALPLUS},
    note="its own tests; EvalPlus has more",
)
CODE_CONTESTS = Entry(
    name="code_contests",
    title="CodeContests",
    rows=Rows(
        source=None,
        shapes=(("description", "public_tests"), ("content", "test")),
        hub="deepmind/code_contests",
        split="test",
        get="get it:  hf download --repo-type dataset deepmind/code_contests  (data/test-*)",
        counts={165: "the test split", 117: "the valid split"},
    ),
    verifier="code",
    protocols={"ours": Protocol("think", 8, 60 * K, said(OURS), yarn_factor=2.0)},
    note="no paper here reports it; sampled like LiveCodeBench; its tests are weaker",
)
SWEBENCH_VERIFIED = Entry(
    name="swebench_verified",
    title="SWE-bench Verified",
    rows=Rows(
        source="swe-bench",
        shapes=(("instance_id", "repo", "base_commit", "problem_statement", "patch"),),
        hub="princeton-nlp/SWE-bench_Verified",
        split="test",
        get="get it:  hf download --repo-type dataset princeton-nlp/SWE-bench_Verified",
        counts={500: "the test split"},
    ),
    verifier="swe_resolved",
    protocols={
        "nemotron-cascade-8b": Protocol(
            "think", 4, 32 * K, said(CASCADE, {"max_prompt_tokens": CASCADE}), 2.0,
            max_prompt_tokens=32 * K,
        ),
        "nemotron-cascade-14b": Protocol(
            "think", 4, 32 * K, said(CASCADE, {"max_prompt_tokens": CASCADE}), 3.0,
            max_prompt_tokens=64 * K,
        ),
    },
    scored_by="swe",
    note="its rows are instances of repositories, which the SWE pipeline reads",
)  # fmt: skip
