"""The report in headless Chromium, from disk, with every host name unresolvable."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cascade_rl.report import render

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr",
    "--virtual-time-budget=2000",
]  # fmt: skip

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


def browse(page: Path, profile: Path, *flags: str) -> tuple[str, list[str]]:
    """The page's text after its script ran, and what it wrote to the console."""
    assert CHROMIUM
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


def test_the_report_opens_from_disk_without_a_console_message(
    run_directory: Path, tmp_path: Path
) -> None:
    dom, console = browse(render(run_directory), tmp_path / "profile", "--dump-dom")
    assert console == []
    assert "The ledger" in dom and dom.count("<polyline") > 30


def test_a_console_error_would_have_been_seen(tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text("<script>undefined_name()</script>")
    _, console = browse(broken, tmp_path / "profile", "--dump-dom")
    assert len(console) == 1 and "undefined_name" in console[0]


def test_hovering_a_chart_says_its_step_and_value(run_directory: Path, tmp_path: Path) -> None:
    page = tmp_path / "hover.html"
    hover = """<script>
      const chart = document.querySelector("#curves .chart"), box = chart.getBoundingClientRect();
      chart.dispatchEvent(new MouseEvent("mousemove", {clientX: box.right - 1, clientY: box.top}));
    </script></body>"""
    page.write_text(render(run_directory).read_text(encoding="utf-8").replace("</body>", hover))
    dom, console = browse(page, tmp_path / "profile", "--dump-dom")
    assert console == []
    assert 'role="status"' in dom and "step 150:" in dom


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screenshot_can_be_taken_in_both_colour_schemes(
    run_directory: Path, tmp_path: Path, scheme: str
) -> None:
    shot = tmp_path / f"{scheme}.png"
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    browse(
        render(run_directory), tmp_path / "profile",
        f"--screenshot={shot}", "--window-size=1240,2000", *dark,
    )  # fmt: skip
    assert shot.stat().st_size > 50_000
