"""MMLU, MMLU-Pro and GPQA Diamond: the letter of an option.

One surprise: the paper counts 14,079 questions of MMLU, as MMLU's own does; the hub has 14,042.
"""

from __future__ import annotations

from cascade_rl.evaluation.suite.entry import CASCADE, Entry, K, Protocol, said
from cascade_rl.evaluation.suite.rows import Rows

ONCE = Protocol("think", 1, 60 * K, said(CASCADE), yarn_factor=2.0)

MMLU = Entry(
    name="mmlu",
    title="MMLU",
    rows=Rows(
        source="mmlu",
        shapes=(("question", "choices", "answer"), ("question", "A", "B", "C", "D", "answer")),
        hub="cais/mmlu",
        subset="all",
        split="test",
        get="get it:  hf download --repo-type dataset cais/mmlu  (all/test-*.parquet)",
        counts={14_079: "as the papers count", 14_042: "the hub's test split"},
    ),
    verifier="choice",
    protocols={"nemotron-cascade": ONCE},
)
MMLU_PRO = Entry(
    name="mmlu_pro",
    title="MMLU-Pro",
    rows=Rows(
        source="mmlu-pro",
        shapes=(("question", "options", "answer"),),
        hub="TIGER-Lab/MMLU-Pro",
        split="test",
        get="get it:  hf download --repo-type dataset TIGER-Lab/MMLU-Pro  (data/test-*.parquet)",
        counts={12_032: "the test split; the paper says 12K"},
    ),
    verifier="choice",
    protocols={"nemotron-cascade": ONCE},
)
GPQA = Entry(
    name="gpqa",
    title="GPQA Diamond",
    rows=Rows(
        source="gpqa",
        shapes=(("Question", "Correct Answer", "Incorrect Answer 1"),),
        hub="Idavidrein/gpqa",
        subset="gpqa_diamond",
        split="train",
        get="get gpqa_diamond.csv:  hf download --repo-type dataset Idavidrein/gpqa  (it asks for "
        "consent)",
        counts={198: "Diamond", 448: "main", 546: "extended"},
    ),
    verifier="choice",
    protocols={"nemotron-cascade": Protocol("think", 8, 60 * K, said(CASCADE), yarn_factor=2.0)},
)
