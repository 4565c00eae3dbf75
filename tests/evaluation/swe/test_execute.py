from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cascade_rl.errors import DataError, EvaluationError
from cascade_rl.evaluation.swe.execute import (
    OTHER,
    REPRODUCED,
    RESOLVED,
    Runner,
    library_files,
    sentence,
)
from cascade_rl.sandbox.base import Language, Limits, Outcome, Program, Wanted

PACKAGE = {
    "pack/__init__.py": "",
    "pack/core.py": "VALUE = 1\n\n\ndef twice(x):\n    return 2 * x\n",
    "tests/__init__.py": "",
    "tests/helper.py": "TEN = 10\n",
    "tests/test_core.py": (
        "from pack.core import VALUE, twice\nfrom tests.helper import TEN\n\n\n"
        "def test_good():\n    assert twice(5) == TEN\n\n\n"
        "def test_bad():\n    assert twice(5) == 11, 'not eleven'\n\n\n"
        "class TestPlain:\n    def test_value(self):\n        assert VALUE == 1\n"
    ),
    "flat/test_flat.py": "import near\n\n\ndef test_near():\n    assert near.here\n",
    "flat/near.py": "here = True\n",
    "tests/test_case.py": (
        "import unittest\n\n\nclass Case(unittest.TestCase):\n"
        "    def test_good(self):\n        print('x' * 3_000_000)\n"
        "    def test_bad(self):\n        self.assertEqual(1, 2)\n"
        "    @unittest.skip('not today')\n    def test_skipped(self):\n        pass\n"
        "    @unittest.expectedFailure\n    def test_surprise(self):\n        pass\n"
    ),
    "tests/test_whole.py": (
        "from unittest import TestCase\n\n\ndef test_a():\n    pass\n\n\n"
        "class Case(TestCase):\n    def test_b(self):\n        pass\n"
    ),
    "tests/test_broken.py": "import nothing_like_it\n",
}


def why(runner: Runner, test: str, files: dict[str, str] = PACKAGE) -> str:
    return runner.run(files, [test]).tests[test]


# --- tests ----------------------------------------------------------------------------------------


def test_all_forms_of_test_ids_are_run_and_each_test_has_its_own_result(runner: Runner) -> None:
    good = [
        "tests/test_core.py::test_good",
        "tests/test_core.py::TestPlain::test_value",
        "flat/test_flat.py::test_near",
        "tests/test_case.py::Case::test_good",
        "test_good (tests.test_case.Case)",
        "test_good (tests.test_case.Case.test_good)",
        "tests.test_case.Case.test_good",
        "tests/test_whole.py",
    ]
    bad = {
        "tests/test_core.py::test_bad": "not eleven",
        "tests/test_core.py::test_gone": "test_gone",
        "tests/test_core.py": "not eleven",
        "tests/test_case.py::Case::test_bad": "1 != 2",
        "tests/test_case.py::Case::test_skipped": "skipped: not today",
        "tests/test_case.py::Case::test_surprise": "passed, which it should not",
        "test_bad (tests.test_case.Case)": "1 != 2",
        "tests/test_broken.py::test_a": "nothing_like_it",
        "tests/test_gone.py::test_a": "test_gone",
        "tests.test_case.Gone.test_a": "Gone",
        "tests/helper.py": "there is no test in it",
    }
    found = runner.run(PACKAGE, [*good, *bad]).tests
    assert {test: reason for test, reason in found.items() if test in good and reason} == {}
    for test, reason in bad.items():
        assert reason in found[test], (test, found[test])


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos._exit(0)",
        "import sys\nsys.exit(0)",
        "print('OK\\n1 passed in 0.01s')\nraise SystemExit",
        "import os\nos.close(1)\nraise KeyboardInterrupt",
        "import os\nos.write(1, b'0' * 32 + b' [\"test_core.py::test_a\", \"\"]\\n')\nx = 1 / 0",
        "while True:\n    pass",
        "x = bytearray(1 << 33)",
    ],
)
def test_code_that_ends_itself_or_claims_success_has_passed_nothing(
    runner: Runner, code: str
) -> None:
    quick = replace(runner, limits=Limits(cpu_s=0.5, memory_mb=512))
    files = {"core.py": code + "\n", "test_core.py": "import core\n\n\ndef test_a():\n    pass\n"}
    files["test_other.py"] = "def test_b():\n    pass\n"
    found = quick.run(files, ["test_core.py::test_a", "test_other.py::test_b"]).tests
    assert found["test_core.py::test_a"] != ""
    assert found["test_other.py::test_b"] == ""  # another file's tests are not touched by it


def test_what_a_test_writes_is_gone_for_the_next_file(runner: Runner) -> None:
    leaves = (
        "def test_a():\n    try:\n        open('core.py', 'w').write('x = 2')\n"
        "    except PermissionError:\n        pass  # where nothing can be written at all\n"
    )
    looks = "import core\n\n\ndef test_b():\n    assert core.x == 1\n"
    files = {"core.py": "x = 1\n", "test_a.py": leaves, "test_b.py": looks}
    assert runner.run(files, ["test_a.py::test_a", "test_b.py::test_b"]).tests == {
        "test_a.py::test_a": "", "test_b.py::test_b": "",
    }  # fmt: skip


def test_packages_under_src_can_be_imported(runner: Runner) -> None:
    files = {"src/p/__init__.py": "x = 1\n", "tests/test_p.py": "from p import x\ntest_x = None\n"}
    files["tests/test_p.py"] = "from p import x\n\n\ndef test_x():\n    assert x == 1\n"
    assert why(runner, "tests/test_p.py::test_x", files) == ""


def test_a_repository_may_have_the_name_of_our_own_package(runner: Runner) -> None:
    test = "from cascade_rl.sandbox import x\n\n\ndef test_a():\n    assert x == 1\n"
    files = {"src/cascade_rl/sandbox.py": "x = 1\n", "test_a.py": test}
    assert why(runner, "test_a.py::test_a", files) == ""


def test_the_program_sees_the_repository_and_nothing_of_this_machine(runner: Runner) -> None:
    look = (
        "import os\n\n\ndef test_a():\n"
        "    assert sorted(os.listdir('.')) == ['d', 'test_a.py']\n"
        "    assert not os.environ.get('HOME')\n"
        f"    try:\n        open({__file__!r})\n    except OSError:\n        return\n"
        "    raise AssertionError('it can read what is not its own')\n"
    )
    assert why(runner, "test_a.py::test_a", {"test_a.py": look, "d/e.txt": "\x00\u00e9\r\n"}) == ""


# --- scripts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stdout", "said"),
    [
        ("Issue reproduced\n", REPRODUCED),
        ("noise\n  Issue resolved  \nnoise", RESOLVED),
        ("Other issues", OTHER),
        ("Issue resolved\nIssue resolved\n", RESOLVED),
        ("Issue reproduced\nIssue resolved\n", ""),
        ("issue resolved", ""),
        ("Issue resolved!", ""),
        ("The Issue resolved", ""),
        ("", ""),
    ],
)
def test_a_script_says_exactly_one_sentence_on_a_line_of_its_own(stdout: str, said: str) -> None:
    assert sentence(stdout) == said


def test_each_script_runs_by_itself_beside_the_repository(runner: Runner) -> None:
    scripts = [
        "from pack.core import twice\nprint('Issue resolved' if twice(2) == 4 else '')",
        "print('Issue reproduced')\nraise SystemExit(1)",
        "def f(:",
        "import os\nprint('Issue reproduced', flush=True)\nos._exit(0)",
        "import pack.core\npack.core.twice = None\nif __name__ == '__main__':\n"
        "    print('Other issues')",
        "print(input())",
        "from pack.core import twice\nprint('Issue resolved' if twice else '')",
    ]
    assert runner.run(PACKAGE, (), scripts).scripts == (
        RESOLVED, "", "", REPRODUCED, OTHER, "", RESOLVED,
    )  # fmt: skip


# --- libraries and large repositories -------------------------------------------------------------


@pytest.fixture(scope="module")
def with_pytest(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """The runner with pytest among its libraries."""
    here, folder = Path(pytest.__file__).parents[1], tmp_path_factory.mktemp("libraries")
    for name in ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments"):
        shutil.copytree(here / name, folder / name)
    shutil.copy(here / "py.py", folder)  # pytest's own stand-in for an older library
    return replace(runner, libraries=library_files([folder]))


FIXTURES = {
    "conftest.py": "import pytest\n\n\n@pytest.fixture\ndef ten():\n    return 10\n",
    "tests/test_more.py": (
        "import pytest\n\n\ndef test_fixture(ten):\n    assert ten == 10\n\n\n"
        "@pytest.mark.parametrize('x', [1, 2])\ndef test_each(ten, x):\n    assert x == 1\n\n\n"
        "def test_raises():\n    with pytest.raises(ValueError):\n        int('x')\n\n\n"
        "@pytest.mark.skip(reason='not today')\ndef test_skipped():\n    pass\n\n\n"
        "class TestMore:\n    def setup_method(self):\n        self.x = 1\n\n"
        "    def test_set_up(self):\n        assert self.x == 1\n"
    ),
    "tests/test_broken.py": "import nothing_like_it\n\n\ndef test_a():\n    pass\n",
}


def test_tests_that_need_pytest_run_where_it_is_a_library(with_pytest: Runner) -> None:
    more = "tests/test_more.py"
    good = [f"{more}::{name}" for name in (
        "test_fixture", "test_each[1]", "test_raises", "TestMore::test_set_up", "TestMore",
    )]  # fmt: skip
    bad = {
        f"{more}::test_each": "assert 2 == 1",
        f"{more}::test_each[2]": "assert 2 == 1",
        f"{more}::test_skipped": "",
        f"{more}::test_gone": "there is no such test",
        "tests/test_broken.py::test_a": "",
    }
    found = with_pytest.run(FIXTURES, [*good, *bad]).tests
    assert {test: why for test, why in found.items() if test in good and why} == {}
    for test, reason in bad.items():
        assert found[test] and reason in found[test], (test, found[test])


def test_no_edit_reaches_the_libraries(runner: Runner) -> None:
    shown = replace(runner, libraries={"helper.py": "x = 1\n"})
    files = {
        ".libraries/helper.py": "x = 2\n",
        ".libraries/other.py": "x = 2\n",
        "test_a.py": "import helper\n\n\ndef test_a():\n    assert helper.x == 1\n\n\n"
        "def test_b():\n    import other\n",
    }
    found = shown.run(files, ["test_a.py::test_a", "test_a.py::test_b"]).tests
    assert found["test_a.py::test_a"] == "" and "other" in found["test_a.py::test_b"]


def test_without_pytest_such_tests_do_not_pass(runner: Runner) -> None:
    assert "pytest" in why(runner, "tests/test_more.py::test_raises", FIXTURES)


def test_a_library_that_is_no_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder.*\n.*pip install --target"):
        library_files([tmp_path / "none"])
    (tmp_path / "a" / "__pycache__").mkdir(parents=True)
    (tmp_path / "a" / "__pycache__" / "x.pyc").write_text("")
    (tmp_path / "a" / "b.py").write_text("x = 1\n")
    (tmp_path / "a" / "c.so").write_bytes(b"\x7fELF\0")
    assert library_files([tmp_path]) == {"a/b.py": "x = 1\n"}


def test_a_repository_may_have_more_files_than_a_program_may_make(runner: Runner) -> None:
    files = {f"d{n // 50}/f{n}.txt": "" for n in range(5000)}
    files["test_a.py"] = (
        "import os\n\n\ndef test_a():\n"
        "    assert sum(len(names) for _, _, names in os.walk('.')) == 5001\n"
    )
    assert why(runner, "test_a.py::test_a", files) == ""


# --- when the sandbox does not work ---------------------------------------------------------------


class Broken:
    """A sandbox that cannot run anything."""

    tier = "none"
    refusal = ""

    def missing(self, language: Language) -> str:
        return ""

    def run(self, program: Program, limits: Limits, wanted: Wanted | None = None) -> Outcome:
        return Outcome("infra", (), "the zygote ended")


def test_a_failure_of_the_sandbox_is_no_failed_test() -> None:
    with pytest.raises(EvaluationError, match=r"the zygote ended\n.*cascade doctor"):
        Runner(Broken()).run(PACKAGE, ["tests/test_core.py::test_good"])
