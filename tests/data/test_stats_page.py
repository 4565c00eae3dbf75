"""The page of `cascade data stats` says what was counted, escapes it and needs nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cascade_rl.data.rows import write_rows
from cascade_rl.data.stats import Stats, collect
from cascade_rl.data.stats.page import page, write_page
from cascade_rl.pages.charts import Bar, histogram, short
from cascade_rl.types import Answer, Message, Problem
from tests.data.test_stats import ROWS
from tests.report.test_browser import CHROMIUM, browse

EVIL = "<script>throw 1</script>&\"'\x00\ud800"


@pytest.fixture
def stats(tmp_path: Path) -> Stats:
    path = tmp_path / "<b>rows.jsonl"
    evil = Problem("e", "math", (Message("user", EVIL),), Answer(EVIL), EVIL, {"split": EVIL})
    write_rows(path, [*ROWS, evil])
    with path.open("a") as file:
        file.write('{"prompt": "x", "ability": "<img src=x onerror=throw>"}\n')
    (tmp_path / "a.report.json").write_text(
        '{"command": "<i>", "read": 3, "kept": 1, "dropped": {"<u>odd</u>": 2}}'
    )
    return collect([path])


def test_what_was_counted_is_on_the_page(stats: Stats) -> None:
    text = page(stats)
    for said in ("12 rows", "instruction_following", "helpsteer", "no_think and think"):
        assert said in text
    assert re.search(
        r"<td>prompt</td><td>math</td><td>words</td>\s*<td class=\"number\">4</td>", text
    )
    assert "pass rate 0.1 to 0.2: 1" in text
    # prompts of seven groups, responses, thoughts, two of pairs; then six references and the rates
    assert text.count("<figure>") == text.count("<svg") == 7 + 4 + 6 + 1


def test_what_a_row_or_a_name_says_is_text_and_never_markup(stats: Stats) -> None:
    text = page(stats)
    for tag in ("<script", "<img", "<i>", "<u>", "<b>"):
        assert tag not in text
    assert "&lt;script&gt;throw" in text and "&lt;u&gt;odd" in text


def test_the_page_refers_to_nothing_outside_itself(stats: Stats) -> None:
    text = page(stats)
    assert not re.search(r"""(?:src|href)=["'](?!#|data:)""", text)
    assert "@import" not in text and "url(" not in text and "http" not in text


def test_no_rows_have_a_page(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").touch()
    text = page(collect([tmp_path / "rows.jsonl"]))
    assert "There is no row." in text and "<svg" not in text


def test_a_page_of_many_rows_is_as_small_as_one_of_few() -> None:
    sizes = []
    for count in (100, 20_000):
        stats = Stats()
        for i in range(count):
            text = "word " * (i % 97)
            stats.add(Problem(str(i), "math", (Message("user", text),), Answer("1"), f"s{i}"))
        sizes.append(len(page(stats)))
    assert sizes[1] < 1.2 * sizes[0]


@pytest.mark.parametrize("count", [0, 1, 3, 10, 999, 1_234_567])
def test_a_histogram_is_as_high_as_its_highest_bar(count: int) -> None:
    svg = histogram("A <title>", "x & y", [Bar("0", "0 <b>", count), Bar("1", "1", 0)])
    assert "<title>0 &lt;b&gt;: " in svg and "x &amp; y" in svg
    heights = [float(h) for h in re.findall(r'height="([\d.]+)"/>', svg)]
    assert max(heights) <= 124.0 and (count == 0) == (heights[1] == 0.0)


@pytest.mark.parametrize(
    ("value", "said"), [(0, "0"), (950, "950"), (1536, "1.54k"), (24_000, "24k"), (3e6, "3M")]
)
def test_numbers_on_an_axis_are_short(value: float, said: str) -> None:
    assert short(value) == said


@pytest.mark.chromium
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_page_opens_from_disk_without_a_console_message(stats: Stats, tmp_path: Path) -> None:
    path = tmp_path / "stats.html"
    write_page(path, stats)
    dom, console = browse(path, tmp_path / "profile", "--dump-dom")
    assert console == []
    assert dom.count('class="bar"') > 30


@pytest.mark.chromium
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screenshot_can_be_taken_in_both_colour_schemes(
    stats: Stats, tmp_path: Path, scheme: str
) -> None:
    path, shot = tmp_path / "stats.html", tmp_path / f"{scheme}.png"
    write_page(path, stats)
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    browse(path, tmp_path / "profile", f"--screenshot={shot}", "--window-size=1240,2400", *dark)
    assert shot.stat().st_size > 50_000
