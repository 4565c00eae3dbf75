"""Options of a config reach the verifiers they are for, and only those."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from typing import Any

import pytest

from cascade_rl.config import BenchmarkConfig, VerifierConfig
from cascade_rl.configfile import parse_config
from cascade_rl.errors import ConfigError
from cascade_rl.evaluation.benchmarks import verifier_of
from cascade_rl.plan import make_plan
from cascade_rl.presets import PRESETS
from cascade_rl.types import Answer, Constraints, Problem
from cascade_rl.verifiers import OPTIONS, VERIFIERS, verifier_for, verify, verify_many
from tests.support import make_config

SUM = Problem("p", "math", (), Answer("2"), "t")
NO_COMMA = Constraints(("punctuation:no_comma",), ({},))
PLAIN = Problem("i", "instruction_following", (), NO_COMMA, "t")


def test_every_option_is_an_argument_of_its_verifier_with_the_same_default() -> None:
    taken = set()
    for name, options in OPTIONS.items():
        parameters = inspect.signature(VERIFIERS[name]).parameters
        for argument, field in options.items():
            assert parameters[argument].kind == inspect.Parameter.KEYWORD_ONLY
            assert parameters[argument].default == VerifierConfig.model_fields[field].default
            taken.add(field)
    assert taken == set(VerifierConfig.model_fields)


@pytest.mark.parametrize("name", ["auto", *VERIFIERS])
@pytest.mark.parametrize("options", [None, VerifierConfig(answer_pattern="last_number")])
def test_a_verifier_with_options_survives_pickling(
    name: str, options: VerifierConfig | None
) -> None:
    judge = pickle.loads(pickle.dumps(verifier_for(name, options)))
    wanted = "right" if options and name in ("auto", "math") else None
    found = judge(SUM, "it is 2").status
    assert found == (wanted or ("wrong" if name in ("auto", "math") else "invalid"))


def test_auto_gives_each_domain_its_own_options() -> None:
    judge = verifier_for("auto", VerifierConfig(answer_pattern="last_number", loose=True))
    assert judge(SUM, "it is 2").outcome is True
    assert judge(PLAIN, "a, b\nno comma").outcome is True
    assert verify(SUM, "it is 2").outcome is False
    assert verify(PLAIN, "a, b\nno comma").outcome is False


def test_a_domain_without_a_verifier_is_invalid_whatever_the_options() -> None:
    judge = verifier_for("auto", VerifierConfig())
    assert judge(Problem("p", "chat", (), Answer("x"), "t"), "hi").status == "invalid"


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'maths'") as caught:
        verifier_for("maths")
    assert all(name in caught.value.hint for name in ("auto", *VERIFIERS))


def test_many_pairs_are_judged_in_order_by_name_and_with_options() -> None:
    pairs = [(SUM, f"it is {i}") for i in range(4)]
    options = VerifierConfig(answer_pattern="last_number")
    assert [v.score for v in verify_many(pairs, options=options)] == [0, 0, 1, 0]
    assert [v.score for v in verify_many(pairs)] == [0, 0, 0, 0]
    assert {v.status for v in verify_many(pairs, "code")} == {"invalid"}


def test_a_pool_is_whatever_maps_in_order() -> None:
    class Backwards:
        def map(self, verifier: Any, pairs: Any) -> Any:
            return reversed([verifier(problem, text) for problem, text in pairs])

    found = verify_many([(SUM, "\\boxed{2}"), (SUM, "")], pool=Backwards())
    assert [verdict.score for verdict in found] == [0, 1]


def test_a_benchmark_is_judged_with_its_options() -> None:
    benchmark = BenchmarkConfig(
        name="gsm8k", file="x", verifier_options=VerifierConfig(answer_pattern="last_number")
    )
    assert verifier_of(benchmark)(SUM, "it is 2").outcome is True


def test_an_option_is_in_the_key_of_its_stage_and_of_all_after_it(tmp_path: Any) -> None:
    plain = make_config(tmp_path)
    said = parse_config(
        plain.model_dump(mode="json"), ["code_rl.verifier_options.answer_pattern=boxed_or_phrase"]
    )
    before, after = (make_plan(config).stages for config in (plain, said))
    assert before[0].key == after[0].key
    assert before[1].key != after[1].key


def test_a_wrong_option_is_a_sentence_with_what_was_expected(tmp_path: Any) -> None:
    plain = make_config(tmp_path).model_dump(mode="json")
    with pytest.raises(ConfigError, match=r"answer_pattern.*boxed_or_phrase"):
        parse_config(plain, ["math_rl.verifier_options.answer_pattern=boxd"])
    with pytest.raises(ConfigError, match="unknown key"):
        parse_config(plain, ["math_rl.verifier_options.answr_pattern=boxed"])


OFFICIAL = ("nemotron-cascade-8b", "nemotron-cascade-8b-thinking", "nemotron-cascade-14b-thinking")
"""Presets whose benchmark is IFEval as published."""
DEFAULT = VerifierConfig().instruction_policy


def test_only_the_founding_recipe_s_math_reads_answers_that_are_said() -> None:
    for name, preset in PRESETS.items():
        config = preset()
        for stage in (*config.stages, *config.benchmarks):
            options = getattr(stage, "verifier_options", VerifierConfig())
            math = name == "founding-recipe" and "math" in stage.name
            assert options.answer_pattern == ("boxed_or_phrase" if math else "boxed")
            official = stage.name == "instruction_following" and name in OFFICIAL
            assert options.instruction_policy == ("official" if official else DEFAULT)
            assert options == VerifierConfig(
                answer_pattern=options.answer_pattern,
                instruction_policy=options.instruction_policy,
            )


def test_a_worker_does_not_pay_for_pydantic() -> None:
    code = "import sys, cascade_rl.verifiers, cascade_rl.rewards.pool_worker\n" + (
        "print('pydantic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
