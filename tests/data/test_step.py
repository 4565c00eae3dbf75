"""Every row that goes into a data command is kept, or dropped with its reason."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from cascade_rl.data.files import MAX_LINE, RowFile, Unreadable, raw_rows
from cascade_rl.data.rows import read_rows, rejects_path
from cascade_rl.data.step import Step, report_path
from cascade_rl.errors import DataError, OutputError
from cascade_rl.types import Conversation, Message

ROW = Conversation("a", (Message("user", "hi"), Message("assistant", "yes")), "t")


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_kept_and_dropped_rows_add_up_to_what_was_read(tmp_path: Path, ending: str) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "new" / f"out.{ending}"
    lines = [{"id": str(n), "source": "t", "messages": ROW_MESSAGES} for n in range(5)]
    source.write_text("\n".join(map(json.dumps, lines)) + "\n{broken\n")
    with Step("test", out, {"chosen": 3}) as step:
        for n, row in enumerate(step.rows(source)):
            step.drop(row, "odd", n) if n % 2 else step.keep(row)
    assert [row.id for row in read_rows(out, "conversation")] == ["0", "2", "4"]
    rejects = [json.loads(line) for line in rejects_path(out).read_text().splitlines()]
    assert [(r["index"], r["reason"], r["detail"]) for r in rejects[:2]] == [
        (1, "odd", 1), (3, "odd", 3),
    ]  # fmt: skip
    assert rejects[2]["row"] == "{broken"
    report = json.loads(report_path(out).read_text())
    assert (report["read"], report["kept"]) == (6, 3)
    assert report["dropped"] == {"odd": 2, "unreadable": 1}
    assert report["parameters"] == {"chosen": 3} and report["inputs"] == [str(source)]


ROW_MESSAGES = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]


def test_nothing_is_left_of_a_step_that_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Step("test", tmp_path / "out.parquet", {}) as step:
        step.keep(ROW)
        step.drop(ROW, "odd")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_rows_that_parquet_cannot_hold_leave_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match="write JSON lines instead"),
        Step("test", tmp_path / "out.parquet", {}) as step,
    ):
        step.keep(Conversation("a", (*ROW.messages[:1], Message("assistant", "\ud800")), "t"))
    assert list(tmp_path.iterdir()) == []


def test_columns_that_only_late_rows_have_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    with RowFile(path) as file:
        for n in range(10_000):
            file.write({"n": n} if n < 9_000 else {"n": n, "late": {"deep": str(n)}})
    rows = list(raw_rows(path))
    assert rows[0] == {"n": 0, "late": None} and rows[-1]["late"] == {"deep": "9999"}
    assert len(rows) == 10_000


def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path) -> None:
    rows = [{"a": "1", "b": 'x,\n"y"'}, {"a": "2", "b": "ü\0"}]
    lines = "\ufeff" + "\n".join(map(json.dumps, rows))
    (tmp_path / "1.jsonl").write_text(lines)
    (tmp_path / "2.json").write_text(json.dumps(rows))
    (tmp_path / "3.json").write_text(json.dumps({"data": rows}))
    (tmp_path / "4.json").write_text(lines)
    (tmp_path / "5.csv").write_text('\ufeffa,b\n1,"x,\n""y"""\n2,ü\0\n')
    with gzip.open(tmp_path / "6.jsonl.gz", "wt") as file:
        file.write(lines)
    with RowFile(tmp_path / "7.parquet") as table:
        for row in rows:
            table.write(row)
    for path in sorted(tmp_path.iterdir()):
        assert list(raw_rows(path)) == rows, path.name
    assert list(raw_rows(tmp_path)) == rows * 7


def test_what_is_no_row_comes_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with path.open("wb") as file:
        file.write(b'{"a": 1}\n\n{"a"\n"')
        file.write(b"x" * (MAX_LINE + 5) + b'"\n{"a": 2}')
    first, broken, long, last = raw_rows(path)
    assert first == {"a": 1} and last == {"a": 2}
    assert isinstance(broken, Unreadable) and broken.reason.startswith("not JSON")
    assert isinstance(long, Unreadable) and "longer than 64 MB" in long.reason
    (tmp_path / "x.csv").write_text("a,b\n1\n1,2,3\n1,2\n")
    assert [isinstance(row, Unreadable) for row in raw_rows(tmp_path / "x.csv")] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.parquet", b"PAR1 and no more", "not readable as Parquet"),
        ("x.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 1000, mtime=0)[:-20], "cannot be read"),
        ("x.json", b"{", "is not JSON"),
        ("x.txt", b"", "ends in '.txt'"),
        ("x.parquet.gz", b"", "ends in '.gz'"),
    ],
)
def test_a_file_that_is_cut_off_or_unknown_is_one_error(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        list(raw_rows(tmp_path / name))


def test_an_empty_directory_and_an_absent_file_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no file"):
        list(raw_rows(tmp_path))
    with pytest.raises(DataError, match="does not exist"):
        list(raw_rows(tmp_path / "x.jsonl"))


def test_a_directory_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl.lines").mkdir()
    with (
        pytest.raises(OutputError, match=r"cannot write .*out\.jsonl"),
        RowFile(tmp_path / "out.jsonl"),
    ):
        pass
