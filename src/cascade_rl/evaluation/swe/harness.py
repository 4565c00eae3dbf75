"""What runs in the sandbox beside a repository: its tests one after another, or one script.

This file is never imported by us: its text is sent as the program, so it needs the standard
library only. One rule: a test has passed when a line says so that begins with the number given on
the first line of the input, which is read before any code of the repository runs. A program that
ends itself early, or prints what a test runner prints, has passed nothing. (Code that looks for
that number in this process's memory finds it: tests and code share a process here, as they do in
every test runner.)
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

SOURCES = ("src", "lib")
"""Folders that hold packages in many repositories, beside the repository itself."""
OURS = "cascade_rl"
"""The sandbox's own package in this process; a repository may have one of that name."""
USAGE = 4
"""pytest's exit status where it does not know a test: it has run none at all then."""


def main() -> None:
    """Read the request, one line of JSON, and do it."""
    request = json.loads(sys.stdin.readline())
    sys.path[1:1] = [os.path.abspath(name) for name in SOURCES if os.path.isdir(name)]
    sys.path += [os.path.abspath(name) for name in request["libraries"] if os.path.isdir(name)]
    sys.dont_write_bytecode = True
    for name in [name for name in sys.modules if name.partition(".")[0] == OURS]:
        del sys.modules[name]
    if "script" in request:
        run_script(request["script"])
        return
    report = os.dup(1)  # what the tests print themselves is nobody's
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for test, why in run_tests(request["tests"]).items():
        os.write(report, f"{request['number']} {json.dumps([test, why])}\n".encode())


def run_script(source: str) -> None:
    """Run it as a program of its own."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    exec(compile(source, "reproduce.py", "exec"), module.__dict__)


def run_tests(tests: Sequence[str]) -> dict[str, str]:
    """Why each test did not pass; empty where it did."""
    found = {}
    paths = [test for test in tests if is_path(test)]
    if paths and (pytest := find_pytest()) is not None:
        found = run_pytest(pytest, paths)
    return {test: found[test] if test in found else run_one(test) for test in tests}


def is_path(test: str) -> bool:
    """Whether a test is named by its file, as pytest does."""
    return test.partition("::")[0].endswith(".py")


def run_one(test: str) -> str:
    """Run a test without pytest; why it did not pass."""
    try:
        if is_path(test):
            path, *names = test.split("::")
            return run_names(load(path), names)
        name, _, where = test.partition(" (")
        if not where:
            return run_suite(name)
        where = where.rstrip(")")
        return run_suite(where if where.endswith("." + name) else f"{where}.{name}")
    except BaseException as error:  # the repository's own, whatever it is
        return describe(error)


def describe(error: BaseException) -> str:
    """The error in a line."""
    return f"{type(error).__name__}: {error}"[:300] or "failed"


# --- without pytest -------------------------------------------------------------------------------


def load(path: str) -> types.ModuleType:
    """Import a file as pytest does: by its name under the first folder that is no package."""
    parts = path.removesuffix(".py").split("/")
    start = len(parts) - 1
    while start > 0 and os.path.isfile("/".join([*parts[:start], "__init__.py"])):
        start -= 1
    folder = os.path.abspath("/".join(parts[:start]) or ".")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(".".join(parts[start:]))


def run_names(module: types.ModuleType, names: Sequence[str]) -> str:
    """Run one test of a module, or all of them."""
    if not names:
        return run_module(module)
    target: Any = module
    for name in names:
        if isinstance(target, type) and not is_case(target):
            target = target()
        if is_case(target):
            return run_suite(".".join(names), module)
        target = getattr(target, name)
    if is_case(target):
        return run_suite(".".join(names), module)
    return run_call(target)


def run_module(module: types.ModuleType) -> str:
    """Every test case and every function called test of a module."""
    own = [value for value in vars(module).values() if is_case(value)]
    own = [case for case in own if not case.__module__.startswith("unittest")]
    reasons = [run_suite(case.__name__, module) for case in own]
    for name, value in list(vars(module).items()):
        if name.startswith("test") and isinstance(value, types.FunctionType):
            reasons.append(run_call(value))
    return next(filter(None, reasons), "") if reasons else "there is no test in it"


def is_case(value: object) -> bool:
    """Whether it is a TestCase class; unittest is not imported to find out."""
    unittest = sys.modules.get("unittest")
    return unittest is not None and isinstance(value, type) and issubclass(value, unittest.TestCase)


def run_call(function: Callable[[], object]) -> str:
    """Call a plain test function."""
    try:
        function()
    except BaseException as error:
        return describe(error)
    return ""


def run_suite(name: str, module: types.ModuleType | None = None) -> str:
    """Run what unittest finds under a dotted name."""
    import unittest

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromName(name, module).run(result)
    bad = [text for _, text in [*result.errors, *result.failures]]
    bad += ["passed, which it should not" for _ in result.unexpectedSuccesses]
    bad += [f"skipped: {why}" for _, why in result.skipped]
    if bad:
        return bad[0].strip().splitlines()[-1][:300]
    return "" if result.testsRun else "there is no such test"


# --- with pytest ----------------------------------------------------------------------------------


def find_pytest() -> Any:
    """pytest, where a library that is shown holds it."""
    try:
        return importlib.import_module("pytest")
    except ImportError:
        return None


class Recorder:
    """A plugin of pytest: how every test ended, by its id."""

    def __init__(self) -> None:
        self.failed: dict[str, str] = {}
        self.passed: set[str] = set()

    def pytest_runtest_logreport(self, report: Any) -> None:
        """One phase of one test; it has passed when its call has and no other phase failed."""
        if report.outcome == "passed" and report.when == "call":
            self.passed.add(report.nodeid)
        elif report.outcome != "passed":
            self.failed[report.nodeid] = _said(report)

    def pytest_collectreport(self, report: Any) -> None:
        """A file that cannot be imported."""
        if report.outcome == "failed":
            self.failed[report.nodeid] = _said(report)

    def why(self, test: str) -> str:
        """Why a test, or one of a file's or a class's or a parametrised one's, did not pass."""
        own = [name for name in self.passed | self.failed.keys() if _belongs(name, test)]
        bad = [self.failed[name] for name in sorted(own) if name in self.failed]
        return bad[0] if bad else "" if own else "there is no such test"


def _said(report: Any) -> str:
    """The error of a report in a line; never empty."""
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = str(crash.message if crash else report.longrepr).strip().splitlines()
    return f"{report.outcome}: {lines[0] if crash and lines else ' '.join(lines[-1:])}"[:300]


def _belongs(name: str, test: str) -> bool:
    return name == test or name.startswith((test + "::", test + "["))


def run_pytest(pytest: Any, tests: Sequence[str]) -> dict[str, str]:
    """Run tests by their ids; one by one where pytest does not know one of them."""
    recorder = Recorder()
    options = ["-q", "--capture=sys", "--rootdir=."]
    options += ["-p", "no:cacheprovider", "-p", "no:faulthandler"]
    try:
        status = pytest.main([*options, *tests], plugins=[recorder])
    except BaseException as error:
        return {test: describe(error) for test in tests}
    if status == USAGE and len(tests) > 1:
        return {test: run_pytest(pytest, [test])[test] for test in tests}
    return {test: recorder.why(test) for test in tests}


if __name__ == "__main__":
    main()
