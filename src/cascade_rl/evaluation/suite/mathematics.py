"""AIME 2024 and 2025, MATH-500 and GSM8K: one final answer, in a box.

One surprise: appendix B of 2512.13607 has AIME only; MATH-500 is sampled as 2505.16400 says.
"""

from __future__ import annotations

from cascade_rl.evaluation.suite.entry import (
    ACEREASON,
    CASCADE,
    OURS,
    Entry,
    K,
    Protocol,
    said,
)
from cascade_rl.evaluation.suite.rows import Rows

SHAPES = (
    ("problem", "answer"), ("problem", "expected_answer"), ("question", "answer"),
    ("Problem", "Answer"),
)  # fmt: skip

AIME = {
    "nemotron-cascade": Protocol("think", 64, 60 * K, said(CASCADE), yarn_factor=2.0),
    "acereason": Protocol(None, 64, 32_768, said(ACEREASON)),
}
"""AceReason's models have a template of their own and no modes."""

AIME24 = Entry(
    name="aime24",
    title="AIME 2024",
    rows=Rows(
        source="aime",
        shapes=SHAPES,
        hub="HuggingFaceH4/aime_2024",
        split="train",
        get="get it:  hf download --repo-type dataset HuggingFaceH4/aime_2024",
        counts={30: "AIME I and II"},
    ),
    verifier="math",
    protocols=AIME,
)
AIME25 = Entry(
    name="aime25",
    title="AIME 2025",
    rows=Rows(
        source="aime",
        shapes=SHAPES,
        hub="math-ai/aime25",
        split="test",
        get="get it:  hf download --repo-type dataset math-ai/aime25",
        counts={30: "AIME I and II"},
    ),
    verifier="math",
    protocols=AIME,
)
MATH500 = Entry(
    name="math500",
    title="MATH-500",
    rows=Rows(
        source="math-500",
        shapes=SHAPES,
        hub="HuggingFaceH4/MATH-500",
        split="test",
        get="get it:  hf download --repo-type dataset HuggingFaceH4/MATH-500",
        counts={500: "the 500 of MATH's test problems"},
    ),
    verifier="math",
    protocols={"acereason": Protocol("think", 4, 32_768, said(ACEREASON, {"mode": OURS}))},
)
GSM8K = Entry(
    name="gsm8k",
    title="GSM8K",
    rows=Rows(
        source="gsm8k",
        shapes=(("question", "answer"),),
        hub="openai/gsm8k",
        subset="main",
        split="test",
        get="get it:  hf download --repo-type dataset openai/gsm8k",
        counts={1319: "the test split"},
    ),
    verifier="math",
    protocols={"ours": Protocol("think", 4, 32_768, said(OURS))},
    note="no paper here reports it; sampled like MATH-500",
)
