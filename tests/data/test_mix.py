"""A mixture is what was configured, to the row; one seed gives one file; memory stays flat."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.data.files import raw_rows
from cascade_rl.data.lengths import estimate
from cascade_rl.data.mix import mix, packs_path
from cascade_rl.data.mix.mixture import (
    PRESETS,
    Mixture,
    SourceConfig,
    StageMixture,
    load_mixture,
    mixture_yaml,
    parse_mixture,
)
from cascade_rl.data.rows import Reject, iter_rows, rejects_path, write_rows
from cascade_rl.data.step import report_path
from cascade_rl.errors import ConfigError, DataError
from cascade_rl.types import Answer, Conversation, Message, Pair, Problem, Row


def talk(name: str, source: str, size: int = 5) -> Conversation:
    turns = (Message("user", f"{name}?", mode="think"), Message("assistant", "x" * size, "why"))
    return Conversation(name, turns, source)


def written(folder: Path, name: str, count: int, ending: str = "jsonl") -> Path:
    path = folder / f"{name}.{ending}"
    write_rows(path, [talk(f"{name}-{n}", name) for n in range(count)])
    return path


def rows_of(path: Path) -> list[Row]:
    rows = list(iter_rows(path))
    assert not [row for row in rows if isinstance(row, Reject)]
    return [row for row in rows if not isinstance(row, Reject)]


def stage(*sources: SourceConfig, max_tokens: int | None = None) -> StageMixture:
    return StageMixture(sources=sources, max_tokens=max_tokens)


def composition(out: Path) -> dict[str, dict[str, Any]]:
    report = json.loads(report_path(out).read_text())
    return {line["source"]: line for line in report["composition"]}


# --- multiplicities ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "rows", "times"),
    [
        (None, 7, {1: 7}), (1.0, 7, {1: 7}), (2.0, 7, {2: 7}), (3.0, 7, {3: 7}),
        (1.5, 8, {1: 4, 2: 4}), (1.5, 7, {1: 4, 2: 3}), (2.1, 30, {2: 27, 3: 3}),
        (0.25, 100, {1: 25}), (0.1, 1000, {1: 100}), (0.29, 100, {1: 29}),
    ],
)  # fmt: skip
def test_every_row_is_there_as_often_as_its_weight_says(
    tmp_path: Path, factor: float | None, rows: int, times: dict[int, int]
) -> None:
    out = tmp_path / "out.jsonl"
    mix(
        stage(SourceConfig(file=str(written(tmp_path, "a", rows)), upsample=factor)),
        0,
        out,
        estimate,
    )
    found = Counter(Counter(row.id for row in rows_of(out)).values())
    assert found == times
    line = composition(out)["a"]
    assert line["copies"] == line["configured"] == sum(k * n for k, n in times.items())
    assert line["not_drawn"] == rows - sum(times.values())


@pytest.mark.parametrize(
    ("wanted", "times"), [(4, {1: 4}), (10, {1: 10}), (13, {1: 7, 2: 3}), (20, {2: 10})]
)
def test_an_exact_number_of_rows_is_whole_repeats_and_a_draw(
    tmp_path: Path, wanted: int, times: dict[int, int]
) -> None:
    out = tmp_path / "out.jsonl"
    mix(stage(SourceConfig(file=str(written(tmp_path, "a", 10)), rows=wanted)), 3, out, estimate)
    assert Counter(Counter(row.id for row in rows_of(out)).values()) == times


def test_the_composition_table_is_the_configured_one_and_the_files(tmp_path: Path) -> None:
    sizes = {"general": 501, "math": 300, "science": 77, "swe": 40}
    weights = {"general": 1.0, "math": 1.5, "science": 2.0, "swe": 3.0}
    sources = [
        SourceConfig(file=str(written(tmp_path, name, size, "parquet")), upsample=weights[name])
        for name, size in sizes.items()
    ]
    out = tmp_path / "out.parquet"
    step = mix(stage(*sources), 1, out, estimate)
    rows = rows_of(out)
    counted = Counter(row.source for row in rows)
    assert counted == {"general": 501, "math": 450, "science": 154, "swe": 120}
    table = composition(out)
    assert {name: line["copies"] for name, line in table.items()} == counted
    assert {name: line["configured"] for name, line in table.items()} == counted
    tokens: Counter[str] = Counter()
    for row in rows:
        tokens[row.source] += estimate(row)
    assert {name: line["tokens"] for name, line in table.items()} == tokens
    assert sum(line["share_of_rows"] for line in table.values()) == pytest.approx(1, abs=1e-5)
    assert step.kept == len(rows) == 1225 and step.dropped.total() == 0


def test_rows_are_shuffled_across_sources(tmp_path: Path) -> None:
    sources = [SourceConfig(file=str(written(tmp_path, name, 500))) for name in "ab"]
    out = tmp_path / "out.jsonl"
    mix(stage(*sources), 0, out, estimate)
    first = Counter(row.source for row in rows_of(out)[:500])
    assert 200 < first["a"] < 300


def test_another_source_changes_nothing_in_what_is_drawn_of_one(tmp_path: Path) -> None:
    a = SourceConfig(file=str(written(tmp_path, "a", 100)), upsample=0.3)
    b = SourceConfig(file=str(written(tmp_path, "b", 50)))
    drawn = []
    for name, sources in (("one", [a]), ("two", [b, a])):
        out = tmp_path / f"{name}.jsonl"
        mix(stage(*sources), 5, out, estimate)
        drawn.append({row.id for row in rows_of(out) if row.source == "a"})
    assert drawn[0] == drawn[1] and len(drawn[0]) == 30


# --- the same bytes ---------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_one_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path, ending: str) -> None:
    source = SourceConfig(file=str(written(tmp_path, "a", 300)), upsample=1.5)
    found = []
    for name, seed in (("x", 1), ("y", 1), ("z", 2)):
        out = tmp_path / f"{name}.{ending}"
        mix(stage(source), seed, out, estimate, 200)
        found.append((out.read_bytes(), packs_path(out).read_bytes()))
    assert found[0] == found[1] and found[0][0] != found[2][0]


def test_rows_come_out_as_they_went_in(tmp_path: Path) -> None:
    problem = Problem("p", "math", (Message("user", "1+1?"),), Answer("2"), "s", {"index": 41})
    bare = Problem("q", "math", (Message("user", "1+2?"),), Answer("3"), "s")
    write_rows(tmp_path / "p.jsonl", [problem])
    lines = [{**next(raw_rows(tmp_path / "p.jsonl")), "extra_info": {"id": "q"}}]
    (tmp_path / "q.jsonl").write_text(json.dumps(lines[0]) + "\n")
    out = tmp_path / "out.jsonl"
    sources = [SourceConfig(file=str(tmp_path / f"{name}.jsonl")) for name in "pq"]
    mix(stage(*sources), 0, out, estimate)
    rows = {row.id: (place, row) for place, row in enumerate(rows_of(out))}
    assert rows["p"][1] == Problem(**{**_fields(problem), "extra": {"index": 41, "id": "p"}})
    place, found = rows["q"]
    assert isinstance(found, Problem) and found.extra["index"] == place
    assert bare.prompt != found.prompt == problem.prompt


def _fields(problem: Problem) -> dict[str, Any]:
    return {name: getattr(problem, name) for name in Problem.__dataclass_fields__}


# --- what is dropped or refused ---------------------------------------------------------------


def test_rows_over_the_limit_are_dropped_with_their_length(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_rows(path, [talk("short", "a"), talk("long", "a", 400), talk("longer", "a", 4000)])
    path.write_text(path.read_text() + "{broken\n")
    out = tmp_path / "out.jsonl"
    source = SourceConfig(file=str(path), upsample=2)
    step = mix(stage(source, max_tokens=1000), 0, out, estimate, 100)
    rejects = [json.loads(line) for line in rejects_path(out).read_text().splitlines()]
    found = {(r["reason"], r["detail"]) for r in rejects if r["reason"] != "unreadable"}
    lengths = {row.id: estimate(row) for row in rows_of(path_without_last(path))}
    assert found == {
        ("longer than a pack", lengths["long"]),
        ("longer than max_tokens", lengths["longer"]),
    }
    assert [row.id for row in rows_of(out)] == ["short", "short"]
    assert step.dropped["unreadable"] == 1 and composition(out)["a"]["read"] == 4


def path_without_last(path: Path) -> Path:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    return path


def test_a_source_without_usable_rows_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    source = SourceConfig(file=str(written(tmp_path, "a", 3)))
    with pytest.raises(DataError, match="source a has no row to mix"):
        mix(stage(source, max_tokens=3), 0, tmp_path / "out.parquet", estimate, 100)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_rows_of_two_kinds_do_not_mix(tmp_path: Path) -> None:
    write_rows(tmp_path / "b.jsonl", [Pair("p", (Message("user", "x"),), "y", "z", "s")])
    sources = [SourceConfig(file=str(f)) for f in (written(tmp_path, "a", 3), tmp_path / "b.jsonl")]
    with pytest.raises(DataError, match="row p is a pair, the rows before it are conversations"):
        mix(stage(*sources), 0, tmp_path / "out.jsonl", estimate)


def test_packs_of_an_earlier_mixture_do_not_stay(tmp_path: Path) -> None:
    source = SourceConfig(file=str(written(tmp_path, "a", 10)))
    out = tmp_path / "out.jsonl"
    mix(stage(source), 0, out, estimate, 100)
    assert packs_path(out).exists()
    mix(stage(source), 0, out, estimate)
    assert not packs_path(out).exists()


# --- mixture files ----------------------------------------------------------------------------


def test_a_preset_reads_back_from_its_yaml_with_files_beside_it(tmp_path: Path) -> None:
    for name, preset in PRESETS.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(mixture_yaml(preset()))
        found = load_mixture(path)
        assert parse_mixture(found.model_dump(), "x") == found
        for mine, theirs in zip(found.stages, preset().stages, strict=True):
            for one, other in zip(mine.sources, theirs.sources, strict=True):
                assert one.file == str(tmp_path / other.file)
                assert (one.upsample, one.rows, one.label) == (other.upsample, None, other.label)


def test_the_nemotron_preset_is_the_papers() -> None:
    first, second = PRESETS["nemotron-cascade"]().stages
    assert (first.max_tokens, second.max_tokens) == (16384, 32768)
    weights = {source.label: source.upsample or 1 for source in second.sources}
    assert {name for name, weight in weights.items() if weight == 3} == {
        "swe-repair", "swe-localization", "swe-tests",
    }  # fmt: skip
    assert weights["science-2"] == 2 and weights["general"] == weights["tool-calling"] == 1
    assert not {"tool-calling", "swe-repair"} & {source.label for source in first.sources}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stages": []}, "stages"),
        ({"stages": [{"sources": [{"file": "a", "upsampel": 2}]}]}, "upsampel: unknown key"),
        ({"stages": [{"sources": [{"file": "a", "upsample": 0}]}]}, "greater than 0"),
        ({"stages": [{"sources": [{"file": "a", "upsample": float("inf")}]}]}, "finite"),
        ({"stages": [{"sources": [{"file": "a", "upsample": 2, "rows": 3}]}]}, "one of them"),
        ({"stages": [{"sources": [{"file": "x/a"}, {"file": "y/a"}]}]}, "two sources are called"),
        ({"sources": [{"file": "a"}]}, "sources: unknown key"),
        ("text", "mixture"),
    ],
)
def test_a_wrong_mixture_is_a_sentence_about_its_key(values: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_mixture(values, "mixture.yaml")


def test_a_stage_must_be_chosen_where_there_are_two() -> None:
    mixture = PRESETS["nemotron-cascade"]()
    with pytest.raises(ConfigError, match="no stage is chosen"):
        mixture.stage(None)
    with pytest.raises(ConfigError, match="no stage 'three'"):
        mixture.stage("three")
    only = Mixture(stages=mixture.stages[:1])
    assert only.stage(None) is only.stages[0]


# --- memory -----------------------------------------------------------------------------------


def test_memory_holds_places_and_no_rows(tmp_path: Path) -> None:
    peaks, counts = [], (500, 2500)
    for count in counts:
        path = tmp_path / f"{count}.jsonl"
        write_rows(path, [talk(f"{n}", "s", 6000) for n in range(count)])
        tracemalloc.start()
        source = SourceConfig(file=str(path), upsample=1.5)
        mix(stage(source), 0, tmp_path / "out.jsonl", estimate)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / (counts[1] - counts[0]) < 100  # bytes a row; a row has 6,000
