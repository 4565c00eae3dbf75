"""Whether an issue is resolved: the hidden tests of its row, as SWE-bench runs them.

Two rules. The files that the test patch touches are put back before it is applied, so no edit of a
test changes a verdict. And an issue whose tests cannot tell the golden patch from no patch is named
before a model is asked, with what its tests said: it is not judged, and nobody's answer to it is
wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cascade_rl.data.sft.swe_parts import golden_files
from cascade_rl.evaluation.swe.execute import Runner
from cascade_rl.evaluation.swe.instances import Instance
from cascade_rl.evaluation.swe.repository import Files, after_patch, read_files, touched
from cascade_rl.verifiers.diffs import Unparsable

SHOWN = 3


def with_tests(instance: Instance, files: Files, changed: Files) -> dict[str, str]:
    """The repository after an edit, with the row's tests as its test patch leaves them.

    Raises Unparsable where the test patch does not apply to the repository.
    """
    after = {**files, **changed}
    if not instance.test_patch:
        return after
    tested = after_patch(files, instance.test_patch)
    for path in touched(instance.test_patch):
        if path in tested:
            after[path] = tested[path]
        else:
            after.pop(path, None)
    return after


def failures(runner: Runner, instance: Instance, files: Files, changed: Files) -> Mapping[str, str]:
    """The hidden tests that do not pass after an edit, with the reason; none: it is resolved."""
    tests = [*instance.fail_to_pass, *instance.pass_to_pass]
    found = runner.run(with_tests(instance, files, changed), tests)
    return {test: why for test, why in found.tests.items() if why}


def golden_of(instance: Instance, files: Files) -> tuple[str, ...]:
    """The files to find: those that the golden patch changes. Empty where none is known, or the
    patch cannot be read."""
    try:
        found = golden_files(instance.patch) if instance.patch else frozenset()
    except Unparsable:
        return ()
    return tuple(sorted(path for path in found if path in files))


def why_unfit(instance: Instance, runner: Runner | None) -> str:
    """Why an issue cannot be judged; empty where it can.

    Without a runner only its repository is looked at. Raises DataError where that cannot be read,
    EvaluationError where the sandbox does not work: neither says anything of the issue.
    """
    files = read_files(instance.repo, instance.base_commit)
    if runner is None:
        return ""
    try:
        golden = after_patch(files, instance.patch) if instance.patch else None
        with_tests(instance, files, {})
    except Unparsable as error:
        return f"its patch or test patch: {error}"
    if not instance.fail_to_pass:
        return "it names no test that has to pass: FAIL_TO_PASS is empty"
    before = failures(runner, instance, files, {})
    if broken := [test for test in instance.pass_to_pass if test in before]:
        return "tests that should pass do not run or fail as it is: " + _shown(broken, before)
    if passing := [test for test in instance.fail_to_pass if test not in before]:
        return f"tests that should fail pass as it is: {', '.join(passing[:SHOWN])}"
    if golden is None:
        return ""
    after = _after_golden(runner, instance, golden)
    return f"tests fail after the golden patch: {_shown(list(after), after)}" if after else ""


def _after_golden(runner: Runner, instance: Instance, golden: Files) -> Mapping[str, str]:
    """The hidden tests that do not pass after the golden patch."""
    return failures(runner, instance, golden, {})


def _shown(tests: Sequence[str], reasons: Mapping[str, str]) -> str:
    """The first tests with their reasons."""
    more = f" and {len(tests) - SHOWN} more" if len(tests) > SHOWN else ""
    return "; ".join(f"{test}: {reasons[test]}" for test in tests[:SHOWN]) + more
