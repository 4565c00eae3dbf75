"""The suite's protocols are the published ones, written here by hand; every entry plans."""

from __future__ import annotations

from pathlib import Path

import pytest

from cascade_rl.config import BenchmarkConfig
from cascade_rl.data.sources import SOURCES
from cascade_rl.errors import ConfigError
from cascade_rl.evaluation.benchmarks import verifier_of
from cascade_rl.evaluation.suite import SUITE, Entry, entry_named, table
from cascade_rl.evaluation.suite.entry import ACEREASON, CASCADE, OURS
from cascade_rl.presets.acereason import acereason_7b
from cascade_rl.presets.nemotron_cascade import nemotron_cascade_8b, nemotron_cascade_8b_thinking

ROOT = Path(__file__).resolve().parents[3]
SAMPLED = [entry for entry in SUITE.values() if entry.protocols]
DOCS = (ROOT / "docs" / "suite.md").read_text(encoding="utf-8")

# Appendix B: a budget of 64K with YaRN 2 where a model thinks, of which 4K are left to the prompt
B64K = (61_440, 2.0, 0.6, 0.95)
B32K = (32_768, 1.0, 0.6, 0.95)
AR = (32_768, 1.0, 0.6, 0.95)
PUBLISHED = {
    ("aime24", "nemotron-cascade"): ("think", 64, *B64K),
    ("aime25", "nemotron-cascade"): ("think", 64, *B64K),
    ("gpqa", "nemotron-cascade"): ("think", 8, *B64K),
    ("livecodebench_v5", "nemotron-cascade"): ("think", 8, *B64K),
    ("livecodebench_v6", "nemotron-cascade"): ("think", 8, *B64K),
    ("livecodebench_pro_25q1", "nemotron-cascade"): ("think", 8, *B64K),
    ("livecodebench_pro_25q2", "nemotron-cascade"): ("think", 8, *B64K),
    ("mmlu", "nemotron-cascade"): ("think", 1, *B64K),
    ("mmlu_pro", "nemotron-cascade"): ("think", 1, *B64K),
    ("ifeval", "nemotron-cascade"): ("no_think", 8, *B32K),
    ("ifeval", "nemotron-cascade-thinking"): ("think", 8, *B32K),
    ("ifbench", "nemotron-cascade"): ("think", 8, *B32K),
    ("arenahard", "nemotron-cascade"): ("think", 1, *B32K),
    ("swebench_verified", "nemotron-cascade-8b"): ("think", 4, 32_768, 2.0, 0.6, 0.95),
    ("swebench_verified", "nemotron-cascade-14b"): ("think", 4, 32_768, 3.0, 0.6, 0.95),
    # 2505.16400: temperature 0.6, top-p 0.95, 32,768 tokens, a template of its own
    ("aime24", "acereason"): (None, 64, *AR),
    ("aime25", "acereason"): (None, 64, *AR),
    ("math500", "acereason"): ("think", 4, *AR),
    ("livecodebench_v5", "acereason"): (None, 8, *AR),
    ("livecodebench_v6", "acereason"): (None, 8, *AR),
    ("humaneval", "acereason"): ("think", 4, *AR),
    ("mbpp", "acereason"): ("think", 4, *AR),
}
COUNTS = {
    "aime24": 30, "aime25": 30, "math500": 500, "gsm8k": 1319, "livecodebench_v5": 279,
    "livecodebench_v6": 454, "livecodebench_pro_25q1": 166, "livecodebench_pro_25q2": 167,
    "humaneval": 164, "mmlu": 14_079, "mmlu_pro": 12_032, "gpqa": 198, "ifeval": 541,
    "ifbench": 294, "arenahard": 500, "rewardbench": 2985, "swebench_verified": 500,
}  # fmt: skip


def values(config: BenchmarkConfig) -> tuple[object, ...]:
    return (config.mode, config.k, config.max_new_tokens, config.yarn_factor, config.temperature,
            config.top_p)  # fmt: skip


@pytest.mark.parametrize(("name", "protocol"), PUBLISHED, ids="-".join)
def test_a_protocol_has_the_published_values(name: str, protocol: str) -> None:
    config = SUITE[name].benchmark("rows.jsonl", protocol)
    assert values(config) == PUBLISHED[name, protocol]
    assert not config.greedy


def test_what_is_not_in_the_table_above_is_marked_as_ours() -> None:
    for entry in SAMPLED:
        for name in entry.protocols:
            assert (entry.name, name) in PUBLISHED or name == "ours"


@pytest.mark.parametrize("entry", SAMPLED, ids=lambda entry: entry.name)
def test_every_entry_plans_in_every_protocol(entry: Entry) -> None:
    found = entry_named(entry.name)
    for name, protocol in found.protocols.items():
        config = found.benchmark("rows.jsonl", name)
        assert config == BenchmarkConfig.model_validate(config.model_dump())
        assert callable(verifier_of(config))
        assert set(protocol.said.values()) <= {CASCADE, ACEREASON, OURS}
    default = next(iter(found.protocols))
    assert found.benchmark("rows.jsonl").name == found.name
    assert found.benchmark("rows.jsonl", default).name == found.name


def test_the_number_of_rows_is_the_published_one() -> None:
    assert {name: next(iter(SUITE[name].rows.counts)) for name in COUNTS} == COUNTS
    assert all(entry.rows.counts for entry in SUITE.values())


def test_the_lengths_of_swe_prompts_are_those_of_each_size() -> None:
    protocols = SUITE["swebench_verified"].protocols.values()
    assert [(p.max_prompt_tokens, p.yarn_factor) for p in protocols] == [(32768, 2.0), (65536, 3.0)]


def test_presets_and_suite_say_the_same() -> None:
    unified, thinking = nemotron_cascade_8b(), nemotron_cascade_8b_thinking()
    pairs = [
        (unified, "math", "aime25", "nemotron-cascade"),
        (unified, "code", "livecodebench_v6", "nemotron-cascade"),
        (unified, "instruction_following", "ifeval", "nemotron-cascade"),
        (thinking, "instruction_following", "ifeval", "nemotron-cascade-thinking"),
        (acereason_7b(), "math", "aime25", "acereason"),
        (acereason_7b(), "code", "livecodebench_v5", "acereason"),
    ]
    for config, benchmark, name, protocol in pairs:
        [preset] = [b for b in config.benchmarks if b.name == benchmark]
        found = SUITE[name].benchmark("rows.jsonl", protocol)
        assert values(preset) == values(found)
        assert preset.verifier_options == found.verifier_options


def test_ifeval_and_ifbench_are_judged_as_officially_and_strictly() -> None:
    for name in ("ifeval", "ifbench"):
        options = SUITE[name].verifier_options
        assert (options.instruction_policy, options.loose) == ("official", False)


def test_every_entry_is_read_by_a_source_that_exists() -> None:
    assert all(e.rows.source in (None, *SOURCES) and e.rows.shapes for e in SUITE.values())
    assert all(e.rows.get for e in SUITE.values())


def test_a_name_or_protocol_that_is_none_says_which_there_are() -> None:
    with pytest.raises(ConfigError, match="did you mean 'aime24'"):
        entry_named("aime2024")
    with pytest.raises(ConfigError, match="benchmarks: aime24, aime25"):
        entry_named("xyz")
    with pytest.raises(ConfigError, match="expected one of: nemotron-cascade, acereason"):
        SUITE["aime24"].benchmark("rows.jsonl", "greedy")


def test_what_is_no_benchmark_of_problems_says_what_reads_it() -> None:
    with pytest.raises(ConfigError, match="cascade eval-rm MODEL"):
        SUITE["rewardbench"].read("rows.jsonl")
    with pytest.raises(ConfigError, match="samples no answers"):
        SUITE["rewardbench"].benchmark("rows.jsonl")
    with pytest.raises(ConfigError, match="the SWE pipeline reads"):
        SUITE["swebench_verified"].read("rows.jsonl")
    with pytest.raises(ConfigError, match="holds problems, not pairs"):
        SUITE["mmlu"].pairs("rows.jsonl")


def test_what_the_hub_does_not_have_asks_for_a_file() -> None:
    with pytest.raises(ConfigError, match=r"test\.jsonl to test5\.jsonl"):
        SUITE["livecodebench_v5"].benchmark()
    assert SUITE["mmlu"].benchmark().file == "cais/mmlu"


def test_another_number_of_rows_is_said() -> None:
    mmlu, live = SUITE["mmlu"], SUITE["livecodebench_v6"]
    assert mmlu.remarks(14_079, {}) == []
    [line] = mmlu.remarks(14_042, {})
    assert "the hub's test split" in line and "14,079" in line
    [line] = mmlu.remarks(100, {})
    assert line.startswith("100 rows; expected are 14,079 (as the papers count), or 14,042")
    assert "hf download" in line
    assert live.remarks(175, {}, "acereason") == [] and live.remarks(454, {}) == []
    assert len(live.remarks(454, {}, "acereason")) == len(live.remarks(175, {})) == 1


def test_rows_that_are_left_out_are_said_and_count() -> None:
    pro = SUITE["livecodebench_pro_25q2"]
    assert pro.remarks(160, {"special judge": 7}) == ["7 rows are left out: special judge"]
    assert len(pro.remarks(150, {"special judge": 7})) == 2


def test_the_documentation_has_this_table() -> None:
    assert table() in DOCS
    for entry in SUITE.values():
        assert f"`{entry.name}`" in DOCS
