"""Protocols are told apart, and samples come back as they were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.config import BenchmarkConfig, ChatConfig, VerifierConfig
from cascade_rl.errors import ConfigError
from cascade_rl.evaluation.benchmarks import (
    NAMES,
    protocol_digest,
    sample_from_json,
    sample_to_json,
    verifier_of,
)
from cascade_rl.types import Sample, Signals, Verdict

BASE = BenchmarkConfig(name="math", file="math.parquet")
CHAT = ChatConfig()


def test_an_unknown_verifier_is_a_sentence_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="no verifier is called 'nope'") as caught:
        verifier_of(BASE.model_copy(update={"verifier": "nope"}))
    assert all(name in caught.value.hint for name in NAMES)


@pytest.mark.parametrize(
    "update",
    [
        {"limit": 3}, {"verifier": "swe_resolved"}, {"mode": "think"}, {"k": 16},
        {"greedy": False}, {"temperature": 0.6}, {"top_p": 0.95}, {"top_k": 20},
        {"max_new_tokens": 40}, {"yarn_factor": 2.0}, {"seed": 1},
        {"verifier_options": VerifierConfig(loose=True)},
    ],
)  # fmt: skip
def test_whatever_changes_a_result_changes_the_protocol(update: dict[str, object]) -> None:
    other = BASE.model_copy(update=update)
    assert protocol_digest(other, "r", "v", CHAT) != protocol_digest(BASE, "r", "v", CHAT)


def test_every_setting_is_in_the_protocol_or_is_a_name() -> None:
    covered = {"limit", "verifier", "verifier_options", "mode", "k", "greedy", "temperature",
               "top_p", "top_k", "max_new_tokens", "yarn_factor", "seed"}  # fmt: skip
    assert set(BenchmarkConfig.model_fields) - covered == {
        "name",
        "file",
        "test_file",
        "test_limit",
    }


def test_rows_verifier_and_template_are_in_the_protocol() -> None:
    own = ChatConfig(template="own")
    found = {
        protocol_digest(BASE, "r", "v", CHAT),
        protocol_digest(BASE, "other rows", "v", CHAT),
        protocol_digest(BASE, "r", "other version", CHAT),
        protocol_digest(BASE, "r", "v", own),
    }
    assert len(found) == 4


def test_a_name_is_no_part_of_the_protocol() -> None:
    renamed = BASE.model_copy(update={"name": "maths", "file": "elsewhere.jsonl"})
    assert protocol_digest(renamed, "r", "v", CHAT) == protocol_digest(BASE, "r", "v", CHAT)


scores = st.none() | st.floats(allow_nan=False)
texts = st.text(st.characters(), max_size=30)  # lone surrogates and NUL among them
verdicts = st.builds(
    Verdict, scores, st.sampled_from(["right", "infra", "partial"]), texts, st.none() | texts
)
signals = st.builds(Signals, st.none() | verdicts, scores, scores, st.booleans(), st.booleans())


@given(
    st.builds(
        Sample,
        texts,
        st.integers(-1, 99),
        texts,
        st.sampled_from(["stop", "length"]),
        st.integers(0, 10**6),
        signals,
    )
)
def test_a_sample_survives_its_json_line_exactly(sample: Sample) -> None:
    line = sample_to_json(sample)
    assert "\n" not in line and line.isascii()
    assert sample_from_json(line) == sample
