"""IFEval, IFBench, ArenaHard, BFCL and RewardBench: what is asked of an assistant.

Two surprises. IFBench's file has 300 prompts and the paper speaks of 294, without saying which.
And of BFCL only the single-turn questions in Python that an AST match judges are here, so that
its mean is not the leaderboard's overall score, which counts several turns as well.
"""

from __future__ import annotations

from cascade_rl.config import VerifierConfig
from cascade_rl.evaluation.suite.entry import CASCADE, OURS, Entry, K, Protocol, said
from cascade_rl.evaluation.suite.reading import with_answers
from cascade_rl.evaluation.suite.rows import Rows

OFFICIAL = VerifierConfig(instruction_policy="official")  # prompt-level, strict

IFEVAL = Entry(
    name="ifeval",
    title="IFEval",
    rows=Rows(
        source="ifeval",
        shapes=(("prompt", "instruction_id_list"),),
        hub="google/IFEval",
        split="train",
        get="get it:  hf download --repo-type dataset google/IFEval",
        counts={541: "all of it"},
    ),
    verifier="instruction_following",
    verifier_options=OFFICIAL,
    protocols={
        "nemotron-cascade": Protocol("no_think", 8, 32 * K, said(CASCADE)),
        "nemotron-cascade-thinking": Protocol("think", 8, 32 * K, said(CASCADE, {"mode": OURS})),
    },
    note="the unified model is evaluated without thinking, a thinking one thinks",
)
IFBENCH = Entry(
    name="ifbench",
    title="IFBench",
    rows=Rows(
        source="ifbench",
        shapes=(("prompt", "instruction_id_list"),),
        hub="allenai/IFBench_test",
        split="train",
        get="get it:  hf download --repo-type dataset allenai/IFBench_test",
        counts={294: "as the paper counts; which is not said", 300: "IFBench_test.jsonl"},
    ),
    verifier="instruction_following",
    verifier_options=OFFICIAL,
    protocols={"nemotron-cascade": Protocol("think", 8, 32 * K, said(CASCADE))},
)
ARENAHARD = Entry(
    name="arenahard",
    title="ArenaHard 1.0",
    rows=Rows(
        source="arena-hard",
        shapes=(("question_id", "turns"), ("uid", "category", "prompt")),
        get="get data/arena-hard-v0.1/question.jsonl, and model_answer/gpt-4-0314.jsonl, the "
        "baseline:\n  hf download --repo-type dataset lmarena-ai/arena-hard-auto",
        counts={500: "v0.1"},
    ),
    verifier="auto",
    protocols={
        "nemotron-cascade": Protocol("think", 1, 32 * K, said(CASCADE, {"k": OURS, "mode": OURS}))
    },
    scored_by="arena",
    note="the paper's judge is GPT-4-Turbo-2024-04-09, without style control",
)
BFCL = Entry(
    name="bfcl",
    title="BFCL, single turn, Python, AST",
    rows=Rows(
        source="bfcl",
        shapes=(("id", "question", "function"),),
        get="get BFCL_v3_*.json and possible_answer/ (or v4's):  hf download --repo-type dataset "
        "gorilla-llm/Berkeley-Function-Calling-Leaderboard --local-dir DIR\n  and give DIR",
        counts={3473: "those of v3", 3475: "those of v4"},
        opened=with_answers,
    ),
    verifier="tool_calls",
    protocols={"ours": Protocol("think", 1, 60 * K, said(CASCADE, {"k": OURS, "mode": OURS}), 2.0)},
    note="the paper's score is v3's overall one, several turns included, and is another",
)
REWARDBENCH = Entry(
    name="rewardbench",
    title="RewardBench",
    rows=Rows(
        source="rewardbench",
        shapes=(("prompt", "chosen", "rejected", "subset"),),
        hub="allenai/reward-bench",
        split="filtered",
        get="for a reward model:  cascade data prepare FILE --source rewardbench --out ROWS.jsonl"
        "\n  cascade eval-rm MODEL ROWS.jsonl\n"
        "  the file:  hf download --repo-type dataset allenai/reward-bench  (data/filtered-*)",
        counts={2985: "the split filtered"},
    ),
    verifier="auto",
    protocols={},
    scored_by="pairs",
    note="its rows are pairs, which a reward model orders",
)
