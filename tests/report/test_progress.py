"""The cascade over all its steps, its parts and its costs, and what others have published."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from cascade_rl.evaluation.ledger import build_ledger
from cascade_rl.evaluation.metrics import mean_interval
from cascade_rl.report import render
from cascade_rl.report.answers import answer_tables, part_tables
from cascade_rl.report.progress import benchmark_points, curve_points, lineage
from cascade_rl.report.published import published, published_for
from cascade_rl.store import Run
from tests.report.showcase import DOMAINS


@pytest.fixture(scope="module")
def run(run_directory: Path) -> Run:
    return Run(run_directory)


def test_the_line_counts_the_steps_of_every_policy_stage(run: Run) -> None:
    spans = lineage(run)
    assert [span.record.name for span in spans][:3] == ["start", "sft/1", "sft/2"]
    assert [span.begin for span in spans] == [
        sum(before.steps for before in spans[:i]) for i in range(len(spans))
    ]
    assert "reward_model" not in {span.record.name for span in spans}


def test_every_benchmark_has_the_ledgers_mean_at_the_end_of_each_stage(run: Run) -> None:
    spans = lineage(run)
    points = benchmark_points(run, spans)
    ledger = build_ledger(run.scores())
    assert set(points) == set(DOMAINS)
    for name, found in points.items():
        means = [row["scores"][name]["mean"] for row in ledger["stages"]]
        assert [mean for _, mean in found] == pytest.approx(means)
        assert [at for at, _ in found] == [span.begin + span.steps for span in spans]


def test_an_evaluation_midway_is_a_point_inside_its_stage(
    run_directory: Path, run: Run, tmp_path: Path
) -> None:
    span = next(span for span in lineage(run) if span.record.name == "math_rl")
    [final] = run_directory.glob("stages/math_rl-*/evaluations/math-*.jsonl")
    midway = final.parent / "step-000010" / final.name
    midway.parent.mkdir()
    midway.write_bytes(final.read_bytes())
    try:
        assert float(span.begin + 10) in dict(benchmark_points(run, [span])["math"])
    finally:
        midway.unlink()
        midway.parent.rmdir()


def test_training_metrics_of_all_stages_make_one_curve(run: Run) -> None:
    spans = lineage(run)
    points = curve_points(run, spans, "response_length/mean")
    steps = [at for at, _ in points]
    assert steps == sorted(steps) and len(set(steps)) == len(steps)
    rl = [span for span in spans if span.record.kind == "rl"]
    assert len(points) == sum(span.steps for span in rl)


def test_a_table_says_what_a_right_answer_costs(run: Run) -> None:
    spans = lineage(run)
    tables = {table.benchmark: table for table in answer_tables(run, spans, {})}
    assert set(tables) == set(DOMAINS)
    ledger = build_ledger(run.scores())
    for (name, told), row in zip(tables["math"].rows, ledger["stages"], strict=True):
        mean = row["scores"]["math"]["mean"]
        assert name == row["name"]
        assert told.tokens_per_right == (pytest.approx(12 / mean) if mean else None)


def test_problems_that_say_their_difficulty_make_a_table_of_it(run: Run) -> None:
    spans = lineage(run)
    [table] = [t for t in part_tables(run, spans) if t.benchmark == "math"]
    assert (table.field, set(table.sizes)) == ("difficulty", {"easy", "hard"})
    assert sum(table.sizes.values()) == 64
    last = next(s for s in run.scores() if s.name == spans[-1].record.name)
    means: dict[str, list[float]] = {}
    for sample in last.evaluations["math"].samples:
        if not sample.greedy and sample.signals.verdict is not None:
            score = sample.signals.verdict.score or 0.0
            means.setdefault(sample.problem_id, []).append(score)
    parts = run.parts(spans[-1].record, "math")["difficulty"]
    hard = [sum(v) / len(v) for p, v in sorted(means.items()) if parts[p] == "hard"]
    cell = table.cells["hard"][-1]
    assert cell is not None and cell[0] == pytest.approx(sum(hard) / len(hard))
    low, high = mean_interval(np.array(hard))
    assert cell[1] == pytest.approx((high - low) / 2)


def test_the_page_draws_all_of_it(run_directory: Path) -> None:
    text = render(run_directory).read_text(encoding="utf-8")
    for title in (*DOMAINS, "Response length over the cascade", "Entropy over the cascade"):
        assert f"<figcaption>{title}</figcaption>" in text
    assert text.count('class="border"') >= 2 * 7
    assert "math by difficulty" in text
    assert re.search(r"<td>hard</td><td>\d+</td>", text)


def test_published_numbers_name_their_source_and_stand_apart() -> None:
    tables = published()
    for table in tables:
        assert re.match(r"arXiv \d{4}\.\d{5} \(", table.source), table.source
        assert all(len(values) == len(table.models) for values in table.scores.values())
    [after_sft, final, ours] = published_for(["aime25", "not-published"])
    assert final.scores == {"aime25": (81.4, 80.1, 83.3)}
    assert (after_sft.scores["aime25"][0], ours.scores["aime25"][1]) == (71.6, 67.4)
    assert published_for(["math"]) == []


def test_the_documentation_has_the_same_table() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "published.yaml"
    assert len(yaml.safe_load(page.read_text())) == len(published())
