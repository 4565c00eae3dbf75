"""Curation: which rows a stage should not train on, by rules, one line of a table each.

`RULES` names every rule and `PRESETS` what each paper used; `curate` runs them over a file.
"""

from __future__ import annotations

from cascade_rl.data.curate.pairs import off_topic_pair
from cascade_rl.data.curate.presets import PRESETS, Preset
from cascade_rl.data.curate.prompts import no_math_or_code
from cascade_rl.data.curate.rule import NOT_RECORDED, Given, Rule
from cascade_rl.data.curate.rules import RULES, Chosen, choose
from cascade_rl.data.curate.run import curate, rules_of
from cascade_rl.data.pass_rate import PassRate, pass_rates

__all__ = [
    "NOT_RECORDED", "PRESETS", "RULES", "Chosen", "Given", "PassRate", "Preset", "Rule", "choose",
    "curate", "no_math_or_code", "off_topic_pair", "pass_rates", "rules_of",
]  # fmt: skip
