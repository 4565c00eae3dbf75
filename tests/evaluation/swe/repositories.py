"""Ten small git repositories, each with a bug, its fix, its tests and an issue.

The files below are right; the commit that the issue is about has `right` replaced by `wrong`. The
golden patch and the test patch are what git itself says between the two.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from cascade_rl.evaluation.swe.execute import OTHER, REPRODUCED, RESOLVED


@dataclass(frozen=True)
class Spec:
    """One repository. `bugs` are (path, right, wrong); `worse` is what a bad patch writes."""

    name: str
    files: dict[str, str]
    bugs: tuple[tuple[str, str, str], ...]
    worse: str
    issue: str
    tests: str
    new_test: str
    fail: tuple[str, ...]
    keep: tuple[str, ...]
    script: str

    @property
    def id(self) -> str:
        return f"small__{self.name}-1"

    @property
    def path(self) -> str:
        """The file of the first bug."""
        return self.bugs[0][0]

    @property
    def sources(self) -> list[str]:
        return sorted(path for path in self.files if path.endswith(".py"))

    def before(self) -> dict[str, str]:
        """The files as the issue finds them."""
        found = dict(self.files)
        for path, right, wrong in self.bugs:
            assert found[path].count(right) == 1, (self.name, path, right)
            found[path] = found[path].replace(right, wrong)
        return found

    def edit(self, replacement: str = "", note: str = "") -> str:
        """A SEARCH/REPLACE answer: the fix of every bug, or another text for the first one."""
        bugs = self.bugs[:1] if replacement else self.bugs
        return "\n".join(
            ["I looked at it.", "<solution>"]
            + [block(path, wrong, note + (replacement or right)) for path, right, wrong in bugs]
            + ["</solution>"]
        )

    def reproduction(self) -> str:
        """A script that tells the three cases apart; to fail with ValueError is the issue too."""
        body = (
            f"try:\n    fixed = ({self.script})\n"
            "except ValueError:\n    fixed = False\nexcept Exception:\n    fixed = None\n"
        )
        names = f"{{True: {RESOLVED!r}, False: {REPRODUCED!r}}}"
        return fenced(f"{self.head()}{body}print({names}.get(fixed, {OTHER!r}))\n")

    def head(self) -> str:
        """The import that the script needs."""
        module = self.path.removesuffix(".py").removeprefix("src/").replace("/", ".")
        return f"from {module} import *\n"


def block(path: str, search: str, replace: str) -> str:
    """One edit; both texts are whole lines, or empty."""
    rows = ["### " + path, "<<<<<<< SEARCH", *([search] if search else []), "======="]
    rows += [*([replace] if replace else []), ">>>>>>> REPLACE"]
    return "\n".join(["```diff", *rows, "```"])


def fenced(source: str) -> str:
    return f"```python\n{source}```"


def lines(text: str) -> str:
    return dedent(text).lstrip("\n")


LOG = lines('''
    """Messages about what is going on."""


    def warn(text):
        return f"warning: {text}"


    def info(text):
        return f"info: {text}"
''')

SPECS = (
    Spec(
        "spans",
        {
            "spans/__init__.py": "",
            "spans/merge.py": lines('''
                """Intervals on a line."""


                def merge(spans):
                    found = []
                    for low, high in sorted(spans):
                        if found and low <= found[-1][1]:
                            found[-1] = (found[-1][0], max(high, found[-1][1]))
                        else:
                            found.append((low, high))
                    return found
            '''),
            "spans/length.py": lines('''
                """How long intervals are, touching or not."""


                def total(spans):
                    return sum(high - low for low, high in spans)
            '''),
            "spans/log.py": LOG,
        },
        (("spans/merge.py", "        if found and low <= found[-1][1]:",
          "        if found and low < found[-1][1]:"),),
        "        if found:",
        "merge keeps intervals apart that touch: merge([(1, 2), (2, 3)]) gives two of them.",
        "from spans.merge import merge\n\n\ndef test_apart():\n"
        "    assert merge([(4, 5), (1, 2)]) == [(1, 2), (4, 5)]\n",
        "\n\ndef test_touching():\n    assert merge([(1, 2), (2, 3)]) == [(1, 3)]\n",
        ("tests/test_spans.py::test_touching",),
        ("tests/test_spans.py::test_apart",),
        "merge([(1, 2), (2, 3)]) == [(1, 3)]",
    ),
    Spec(
        "slugs",
        {
            "slugs.py": lines('''
                """Addresses made of titles."""

                import re


                def slugify(title):
                    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
            '''),
            "titles.py": lines('''
                """Titles as they are shown."""


                def shorten(title, width):
                    return title if len(title) <= width else title[: width - 1] + "~"
            '''),
            "log.py": LOG,
        },
        (("slugs.py", '    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")',
          '    return re.sub(r"[^a-z0-9]", "-", title.lower()).strip("-")'),),
        '    return re.sub(r"[^a-z0-9]+", "", title.lower()).strip("-")',
        "Addresses have runs of dashes in them where a title has several signs: slugify('a, b').",
        "from slugs import slugify\n\n\ndef test_words():\n"
        "    assert slugify('Two Words') == 'two-words'\n",
        "\n\ndef test_signs():\n    assert slugify('a, b') == 'a-b'\n",
        ("tests/test_slugs.py::test_signs",),
        ("tests/test_slugs.py::test_words",),
        "slugify('a, b') == 'a-b'",
    ),
    Spec(
        "cache",
        {
            "src/store/__init__.py": "",
            "src/store/recent.py": lines('''
                """A store that keeps what was used last."""


                class Recent:
                    def __init__(self, size):
                        self.size = size
                        self.items = {}

                    def put(self, key, value):
                        self.items.pop(key, None)
                        self.items[key] = value
                        while len(self.items) > self.size:
                            del self.items[next(iter(self.items))]

                    def get(self, key):
                        value = self.items.pop(key)
                        self.items[key] = value
                        return value
            '''),
            "src/store/keys.py": lines('''
                """Keys of a store."""


                def key_of(*parts):
                    return "/".join(map(str, parts))
            '''),
            "src/store/log.py": LOG,
        },
        (("src/store/recent.py",
          "        value = self.items.pop(key)\n        self.items[key] = value",
          "        value = self.items[key]"),),
        "        value = self.items.pop(key)",
        "What I have just read is thrown out first when the thing is full.",
        "from store.recent import Recent\n\n\ndef test_reads_twice():\n"
        "    found = Recent(2)\n    found.put(1, 'a')\n"
        "    assert [found.get(1), found.get(1)] == ['a', 'a']\n",
        "\n\ndef test_read_is_use():\n    found = Recent(2)\n    found.put(1, 'a')\n"
        "    found.put(2, 'b')\n    found.get(1)\n    found.put(3, 'c')\n"
        "    assert sorted(found.items) == [1, 3]\n",
        ("tests/test_cache.py::test_read_is_use",),
        ("tests/test_cache.py::test_reads_twice",),
        "(lambda r: [r.put(1, 1), r.put(2, 2), r.get(1), r.put(3, 3), sorted(r.items)][-1])"
        "(Recent(2)) == [1, 3]",
    ),
    Spec(
        "ini",
        {
            "ini/__init__.py": "",
            "ini/read.py": lines('''
                """Settings from lines of `name = value`."""


                def read_settings(text):
                    found = {}
                    for line in text.splitlines():
                        if "=" in line and not line.startswith("#"):
                            name, value = line.split("=", 1)
                            found[name.strip()] = value.strip()
                    return found
            '''),
            "ini/write.py": lines('''
                """Settings to lines of `name = value`."""


                def write_settings(settings):
                    return "".join(f"{name} = {value}\\n" for name, value in settings.items())
            '''),
            "ini/log.py": LOG,
        },
        (("ini/read.py", '            name, value = line.split("=", 1)',
          '            name, value = line.split("=")'),),
        '            name, value = line.split("=", 1)[0], ""',
        "read_settings fails with too many values to unpack for `query = a=b`.",
        "from ini.read import read_settings\n\n\ndef test_plain():\n"
        "    assert read_settings('a = 1\\n# b = 2') == {'a': '1'}\n",
        "\n\ndef test_equal_sign_in_value():\n"
        "    assert read_settings('query = a=b') == {'query': 'a=b'}\n",
        ("tests/test_ini.py::test_equal_sign_in_value",),
        ("tests/test_ini.py::test_plain",),
        "read_settings('q = a=b') == {'q': 'a=b'}",
    ),
    Spec(
        "roman",
        {
            "numerals/__init__.py": "",
            "numerals/table.py": lines('''
                """Values of Roman digits."""

                VALUES = (
                    (10, "X"),
                    (9, "IX"),
                    (5, "V"),
                    (4, "IV"),
                    (1, "I"),
                )
            '''),
            "numerals/roman.py": lines('''
                """Numbers in Roman digits."""

                from numerals.table import VALUES


                def roman(number):
                    if number < 1:
                        raise ValueError(number)
                    text = ""
                    for value, digits in VALUES:
                        while number >= value:
                            text += digits
                            number -= value
                    return text
            '''),
            "numerals/log.py": LOG,
        },
        (("numerals/table.py", '    (4, "IV"),\n    (1, "I"),', '    (1, "I"),'),
         ("numerals/roman.py", "    if number < 1:", "    if number < 0:")),
        '    (4, "IV"),\n    (1, "J"),',
        "roman writes 4 as IIII, which no table of values has, and takes 0 for a number.",
        "import unittest\n\nfrom numerals.roman import roman\n\n\nclass Roman(unittest.TestCase):\n"
        "    def test_sums(self):\n        self.assertEqual(roman(13), 'XIII')\n",
        "\n    def test_four(self):\n        self.assertEqual(roman(4), 'IV')\n"
        "\n    def test_zero(self):\n        self.assertRaises(ValueError, roman, 0)\n",
        ("tests/test_roman.py::Roman::test_four", "tests/test_roman.py::Roman::test_zero"),
        ("tests/test_roman.py::Roman::test_sums",),
        "'IV' in dict(VALUES).values()",
    ),
    Spec(
        "money",
        {
            "money/__init__.py": "",
            "money/round.py": lines('''
                """Amounts in cents."""


                def cents(amount):
                    return int(amount * 100 + 0.5)
            '''),
            "money/show.py": lines('''
                """Amounts of cents as text."""


                def show(amount):
                    return f"{amount // 100}.{amount % 100:02d}"
            '''),
            "money/log.py": LOG,
        },
        (("money/round.py", "    return int(amount * 100 + 0.5)",
          "    return round(amount * 100)"),),
        "    return int(amount * 100) + 1",
        "cents(0.125) is 12; half a cent has to go up, it rounds to the even one.",
        "import unittest\n\nfrom money.round import cents\n\n\nclass Cents(unittest.TestCase):\n"
        "    def test_whole(self):\n        self.assertEqual(cents(2), 200)\n",
        "\n    def test_half(self):\n        self.assertEqual(cents(0.125), 13)\n",
        ("tests/test_money.py::Cents::test_half",),
        ("tests/test_money.py::Cents::test_whole",),
        "cents(0.125) == 13",
    ),
    Spec(
        "grid",
        {
            "grid/__init__.py": "",
            "grid/turn.py": lines('''
                """Tables of numbers, by rows."""


                def transpose(rows):
                    return [[row[n] for row in rows] for n in range(len(rows[0]))]
            '''),
            "grid/sums.py": lines('''
                """Sums of tables that need not be square."""


                def row_sums(rows):
                    return [sum(row) for row in rows]
            '''),
            "grid/log.py": LOG,
        },
        (("grid/turn.py", "    return [[row[n] for row in rows] for n in range(len(rows[0]))]",
          "    return [[row[n] for row in rows] for n in range(len(rows))]"),),
        "    return [[row[n] for row in rows] for n in range(1)]",
        "Tables that are not square lose columns when they are turned.",
        "import unittest\n\nfrom grid.turn import transpose\n\n\nclass Turn(unittest.TestCase):\n"
        "    def test_square(self):\n"
        "        self.assertEqual(transpose([[1, 2], [3, 4]]), [[1, 3], [2, 4]])\n",
        "\n    def test_wide(self):\n"
        "        self.assertEqual(transpose([[1, 2, 3]]), [[1], [2], [3]])\n",
        ("test_wide (tests.test_grid.Turn)",),
        ("test_square (tests.test_grid.Turn)",),
        "transpose([[1, 2, 3]]) == [[1], [2], [3]]",
    ),
    Spec(
        "query",
        {
            "query/__init__.py": "",
            "query/decode.py": lines('''
                """Queries of addresses."""

                from query.escape import unescape


                def decode(text):
                    pairs = [part.split("=", 1) for part in text.split("&") if part]
                    return {unescape(name): unescape(value) for name, value in pairs}
            '''),
            "query/escape.py": lines('''
                """Signs written as %20 and the like."""


                def unescape(text):
                    head, *parts = text.replace("+", " ").split("%")
                    return head + "".join(chr(int(part[:2], 16)) + part[2:] for part in parts)
            '''),
            "query/log.py": LOG,
        },
        (("query/escape.py", '    head, *parts = text.replace("+", " ").split("%")',
          '    head, *parts = text.split("%")'),),
        '    head, *parts = text.replace("%", " ").split("%")',
        "decode leaves plus signs in queries where blanks were: decode('q=a+b').",
        "import unittest\n\nfrom query.decode import decode\n\n\nclass Decode(unittest.TestCase):\n"
        "    def test_escape(self):\n        self.assertEqual(decode('a=%41'), {'a': 'A'})\n",
        "\n    def test_plus(self):\n        self.assertEqual(decode('q=a+b'), {'q': 'a b'})\n",
        ("test_plus (tests.test_query.Decode)",),
        ("tests.test_query.Decode.test_escape",),
        "unescape('a+b') == 'a b'",
    ),
    Spec(
        "wrap",
        {
            "wrap/__init__.py": "",
            "wrap/fold.py": lines('''
                """Text in lines of a width."""


                def fold(text, width):
                    found = [""]
                    for word in text.split():
                        longer = f"{found[-1]} {word}".strip()
                        if len(longer) <= width:
                            found[-1] = longer
                        else:
                            found.append(word)
                    return found
            '''),
            "wrap/indent.py": lines('''
                """Lines moved to the right by a width."""


                def indent(rows, width):
                    return [" " * width + row for row in rows]
            '''),
            "wrap/log.py": LOG,
        },
        (("wrap/fold.py", "        if len(longer) <= width:", "        if len(longer) < width:"),),
        "        if len(longer) > width:",
        "Lines are one sign shorter than the width I ask for.",
        "from wrap.fold import fold\n\n\ndef test_short():\n"
        "    assert fold('a b', 10) == ['a b']\n",
        "\n\ndef test_exact():\n    assert fold('aa bb', 5) == ['aa bb']\n",
        ("tests/test_wrap.py::test_exact",),
        ("tests/test_wrap.py::test_short",),
        "fold('aa bb', 5) == ['aa bb']",
    ),
    Spec(
        "dates",
        {
            "dates/__init__.py": "",
            "dates/leap.py": lines('''
                """Which years are leap years."""


                def is_leap(year):
                    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
            '''),
            "dates/months.py": lines('''
                """Days of months."""

                from dates.leap import is_leap


                def days(year, month):
                    if month == 2:
                        return 29 if is_leap(year) else 28
                    return 30 if month in (4, 6, 9, 11) else 31
            '''),
            "dates/log.py": LOG,
        },
        (("dates/leap.py", "    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)",
          "    return year % 4 == 0"),),
        "    return year % 4 == 1",
        "February of 1900 has 29 days: days(1900, 2). A century is a leap year every 400 only.",
        "from dates.months import days\n\n\ndef test_leap():\n    assert days(2024, 2) == 29\n",
        "\n\ndef test_century():\n    assert days(1900, 2) == 28\n",
        ("tests/test_dates.py::test_century",),
        ("tests/test_dates.py::test_leap",),
        "is_leap(1900) is False",
    ),
)  # fmt: skip


# --- as git and SWE-bench have them ---------------------------------------------------------------

_ENV = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t", "GIT_AUTHOR_DATE": "2024-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t",
    "GIT_COMMITTER_DATE": "2024-01-01T00:00:00Z",
}  # fmt: skip


def git(repo: Path, *arguments: str, given: str | None = None) -> str:
    done = subprocess.run(
        ["git", "-C", str(repo), *arguments],
        input=given, env=_ENV, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def write(repo: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        with (repo / path).open("w", encoding="utf-8", newline="") as file:
            file.write(text)


def commit(repo: Path, files: dict[str, str]) -> str:
    """All of these files in a new commit; its name."""
    if not repo.exists():
        repo.mkdir(parents=True)
        git(repo, "init", "-q")
    write(repo, files)
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "--allow-empty", "-m", "a state")
    return git(repo, "rev-parse", "HEAD").strip()


def make(spec: Spec, repos: Path) -> dict[str, object]:
    """The repository, and the issue as SWE-bench's row."""
    repo = repos / f"small__{spec.name}"
    test = f"tests/test_{spec.name}.py"
    base = commit(repo, {**spec.before(), "tests/__init__.py": "", test: spec.tests})
    write(repo, spec.files)
    patch = git(repo, "diff")
    git(repo, "checkout", "-q", ".")
    write(repo, {test: spec.tests + spec.new_test})
    test_patch = git(repo, "diff")
    git(repo, "checkout", "-q", ".")
    return {
        "instance_id": spec.id, "repo": f"small/{spec.name}", "base_commit": base,
        "problem_statement": spec.issue, "patch": patch, "test_patch": test_patch,
        "FAIL_TO_PASS": json.dumps(spec.fail), "PASS_TO_PASS": json.dumps(spec.keep),
    }  # fmt: skip


def write_rows(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
