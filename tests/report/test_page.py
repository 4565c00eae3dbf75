"""The report says what the run directory holds, escapes it, and needs nothing from outside."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cascade_rl.errors import OutputError
from cascade_rl.evaluation.ledger import build_ledger
from cascade_rl.report import render
from cascade_rl.store import Run, Store
from tests.report import showcase


@pytest.fixture(scope="module")
def text(run_directory: Path) -> str:
    return render(run_directory).read_text(encoding="utf-8")


def test_every_stage_its_key_and_its_weights_are_on_the_page(
    text: str, run_directory: Path
) -> None:
    for record in Run(run_directory).stages():
        assert record.name in text and record.key[:12] in text
        if record.contract:
            assert record.contract["weights_digest"][:16] in text


def test_every_score_of_the_ledger_is_on_the_page(text: str, run_directory: Path) -> None:
    cells = re.findall(r'<div class="mean">(.*?)</div>', text)
    ledger = build_ledger(Run(run_directory).scores())
    means = [f"{s['mean']:.2f}" for row in ledger["stages"] for s in row["scores"].values()]
    assert cells == means and len(cells) == 8 * 5


def test_forgetting_is_flagged_where_the_ledger_sees_it(text: str) -> None:
    assert text.count('<div class="flag">') == 2
    assert re.search(r"chat fell by 0\.\d\d \[.*?\] from rlhf to code_rl", text)


def test_each_rl_stage_has_its_six_curves(text: str) -> None:
    for title in ("Reward", "Response length", "Entropy", "Clip ratio"):
        assert text.count(f"<figcaption>{title}</figcaption>") == 5


def test_what_a_model_wrote_is_text_and_never_markup(text: str) -> None:
    assert "<script>throw" not in text and "<img" not in text
    assert "&lt;script&gt;throw" in text


def test_the_page_refers_to_nothing_outside_itself(text: str) -> None:
    assert not re.search(r"""(?:src|href)=["'](?!#|data:)""", text)
    assert "@import" not in text and "url(" not in text.replace("url(#arrow)", "")


def test_a_run_that_has_only_begun_has_a_page(tmp_path: Path) -> None:
    def stop(name: str) -> None:
        if name == "sample":
            raise KeyboardInterrupt

    from cascade_rl.loop import run_cascade

    with Store(tmp_path / "run") as store, pytest.raises(KeyboardInterrupt):
        engine = showcase.ArithmeticEngine(stop)
        run_cascade(showcase.config(tmp_path), store, {"local": engine})
    page = render(tmp_path / "run").read_text(encoding="utf-8")
    assert "Nothing was evaluated yet" in page and "0 of 9 stages done" in page


def test_a_directory_that_is_no_run_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not a cascade's output directory"):
        render(tmp_path)
