"""Which rules each paper's data went through, by name.

One rule: a preset holds what is published. Where a paper names a filter without its threshold,
the rule's own default stands and `source` says so. Deduplication, decontamination and weak tests
are other commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CASCADE = "arXiv 2512.13607"
ACEREASON = "arXiv 2505.16400"
ACEREASON_1_1 = "arXiv 2506.13284"
ASKED_WELL = (
    "multiple_choice", "true_false", "proof", "sub_questions", "several_questions", "figure",
    "non_english",
)  # fmt: skip
"""What both papers ask of a math problem's text."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Rules in order, where they are published, and whether rows become pairs first."""

    meaning: str
    source: str
    rules: tuple[str, ...]
    makes_pairs: bool = False


PRESETS: Mapping[str, Preset] = {
    "nemotron_cascade_math": Preset(
        "Math RL: 49K problems to 14K; 12 of 16 solved is too easy",
        f"{CASCADE} section 4.5",
        (*ASKED_WELL, "majority_vote", "solved_from=75%"),
    ),
    "acereason_math": Preset(
        "AceReason-Math: text, answer, majority vote, response length",
        f"{ACEREASON}, math data; the share kept of 2,000 to 4,000 tokens and the lengths of "
        "prompts and answers are not published",
        (
            *ASKED_WELL,
            "too_short",
            "long_answer",
            "complex_answer",
            "majority_vote",
            "response_short=2000",
            "response_thinned=2000-4000@50%",
        ),
    ),
    "acereason_math_easy": Preset(
        "the easy set of Table 3: more than 14 of 16 goes",
        f"{ACEREASON} Table 3",
        ("solved_above=14/16",),
    ),
    "acereason_math_medium": Preset(
        "the medium set: more than 10 of 16 goes",
        f"{ACEREASON} Table 3",
        ("solved_above=10/16",),
    ),
    "acereason_math_hard": Preset(
        "the hard set, for 24K and 32K: more than 6 of 16 goes",
        f"{ACEREASON} Table 3",
        ("solved_above=6/16",),
    ),
    "nemotron_cascade_code": Preset(
        "Code RL: 8 of 8 by the policy, sampled last, goes; and 0 of 8 by every model",
        f"{CASCADE} section 4.6",
        ("solved_from=8/8", "never_solved"),
    ),
    "acereason_code": Preset(
        "code, 7B: levels 0 to 5 of the failures of 8",
        f"{ACEREASON}, code data",
        ("figure", "released_from=2024-08-01", "level_above=5"),
    ),
    "acereason_code_14b": Preset(
        "code, 14B and the second stage: levels 0 to 7, so all but the never solved",
        f"{ACEREASON}, code data",
        ("figure", "released_from=2024-08-01", "level_above=7"),
    ),
    "acereason_1_1_math": Preset(
        "hard prompts only, for 24K and after",
        f"{ACEREASON_1_1}; about 2,500 prompts are published, the limit is that of 1.0",
        ("solved_above=6/16",),
    ),
    "acereason_1_1_code": Preset(
        "code after the first epoch: what was solved in every rollout goes",
        ACEREASON_1_1,
        ("solved_from=100%",),
    ),
    "acereason_1_1_sft": Preset(
        "SFT: short responses go", f"{ACEREASON_1_1}, SFT data", ("response_short=2001",)
    ),
    "olmo3": Preset(
        "Olmo 3 Think RL: more than 5 of 8 goes",
        "Olmo 3 Think RL, offline filter of 62.5 % over 8",
        ("solved_above=62.5%",),
    ),
    "rlhf_prompts": Preset(
        "RLHF: no math and no competitive programming",
        f"{CASCADE} section 4.3",
        ("no_math_or_code",),
    ),
    "rm_pairs": Preset(
        "reward model: no ties; recorded off-topic rewrites become pairs",
        f"{CASCADE} section 4.2",
        ("pair_empty", "pair_identical", "pair_tie"),
        makes_pairs=True,
    ),
    "sft_stage1": Preset(
        "SFT 1: at most 16,384 tokens", f"{CASCADE} section 3.2", ("response_long=16384",)
    ),
    "sft_stage2": Preset(
        "SFT 2: at most 32,768 tokens", f"{CASCADE} section 3.2", ("response_long=32768",)
    ),
    "sft_stage2_math": Preset(
        "SFT 2, math: 2,000 to 32,768 tokens",
        f"{CASCADE} section 3.2",
        ("response_short=2000", "response_long=32768"),
    ),
    "science": Preset(
        "science SFT: no answers that only go through the options",
        f"{CASCADE} section 3.2; the measure is ours",
        ("option_analysis",),
    ),
}
