"""Every wrong input is a sentence with a way out, on stderr, with exit status 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cascade_rl.cli.verdicts import digest_of
from cascade_rl.config import VerifierConfig
from tests.cli.conftest import Done

Cascade = Callable[..., Done]

CASES = [
    (["rnu"], "no such command 'rnu'", "run"),
    (["run", "mini"], "missing option '--output'", "cascade run --help"),
    (["ledger", "--jsno", "x"], "no such option: --jsno", "--json"),
    (["init", "founding-recip"], "no preset is called", "founding-recipe"),
    (["plan", "founding-recip"], "neither a file nor a preset", "founding-recipe"),
    (["plan", "absent.yaml"], "does not exist", "cascade init mini"),
    (["plan", "founding-recipe", "--set", "math_rl"], "has no '='", "math_rl.rollout_n=8"),
    (["plan", "founding-recipe", "--set", "math_rl.rollout_n=1"], "rollout_n", "rollout_n=8"),
    (["plan", "founding-recipe", "--set", "math_rl.rolout_n=8"], "unknown key", "rollout_n"),
    (["plan", "founding-recipe", "--set", "maths.seed=1"], "'maths'", "math"),
    (["plan", "founding-recipe"], "does not exist", "cascade data"),
    (["run", "founding-recipe", "--output", "x", "--stages", "mth_rl"], "'mth_rl'", "math_rl"),
    (["ledger", "nowhere"], "not a cascade's output directory", "cascade run mini"),
    (["report", "nowhere"], "not a cascade's output directory", "cascade run mini"),
    (["eval", "nowhere"], "nothing to evaluate", "--benchmark"),
    (["eval", "nowhere", "--benchmark", "mini:math/val"], "nowhere", "Hugging Face"),
    (["verify", "absent.jsonl", "--out", "v.jsonl"], "absent.jsonl is not a file", ""),
    (["verify", "absent.jsonl", "--out", "v.jsonl", "--workers", "0"], "--workers", "1"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "said", "hint"), CASES, ids=lambda value: str(value)[:50])
def test_wrong_input_is_a_sentence_with_a_way_out(
    arguments: list[str], said: str, hint: str, cascade: Cascade, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    done = cascade(*arguments)
    assert done.status == 2
    assert done.err.startswith("error: ") and "Traceback" not in done.err
    assert said in done.err and hint in done.err
    assert list(tmp_path.iterdir()) == []


def test_an_output_directory_that_is_not_ours_is_refused(
    short_config: Path, cascade: Cascade, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    done = cascade("run", short_config, "--output", tmp_path)
    assert done.status == 2
    assert "not a cascade's output directory" in done.err and "--output" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_output_directory_with_a_live_lock_is_refused(
    finished: Path, short_config: Path, cascade: Cascade
) -> None:
    from cascade_rl.store import Store

    with Store(finished):
        done = cascade("run", short_config, "--output", finished)
    assert done.status == 2 and "in use" in done.err


def test_a_full_disk_is_a_sentence(cascade: Cascade, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("no row\n" * 20_000)
    out = tmp_path / "out.jsonl"
    part = f"out.jsonl.{digest_of(rows, 'auto', VerifierConfig())}.part"
    (tmp_path / part).symlink_to("/dev/full")
    done = cascade("verify", rows, "--out", out)
    assert done.status == 2
    assert done.err.startswith("error: no space left")
