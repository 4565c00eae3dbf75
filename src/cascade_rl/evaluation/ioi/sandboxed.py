"""The judge that is real: submissions and checkers both run in the sandbox.

One rule: of a test, a submission is given its input alone; the answer stays outside or goes to
the jury's checker, which runs apart and after it. A program is compiled once, the sandbox keeps
the binary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from cascade_rl.errors import ConfigError, DataError, EvaluationError
from cascade_rl.evaluation.ioi.judge import TestResult
from cascade_rl.evaluation.ioi.task import CheckerProgram, Comparison, Task, Test
from cascade_rl.sandbox.base import Language, Limits, Outcome, Program, Sandbox
from cascade_rl.verifiers.code import COMPILE_ERROR
from cascade_rl.verifiers.code.compare import same_output

CHECKER_S, CHECKER_MB = 10.0, 1024
TOTAL_S = 60.0
"""Of processor time for one test, its compiler's included; its own limit is the problem's."""


@dataclass(frozen=True, slots=True)
class SandboxJudge:
    """Judges in a sandbox; `pauses_s` are waited before each new try after a failure of ours."""

    sandbox: Sandbox
    pauses_s: tuple[float, ...] = (0.5, 5.0)

    def refuse(self, task: Task, language: Language) -> None:
        """Raise, before anything is generated, where this problem cannot be judged here.

        ConfigError for what the machine lacks or a language that the problem does not take,
        DataError for a checker that does not compile or does not give the jury's own answer, to a
        sample and to the first test of every subtask, the full score.
        """
        if language not in task.languages:
            raise ConfigError(
                f"{task.name} is not solved in {language}",
                hint=f"name one of its languages:  --language {task.languages[0]}",
            )
        if why := self.sandbox.refusal:
            raise ConfigError(
                f"submissions are to be judged, and no program is run here: {why}",
                hint="see what would raise the tier:  cascade doctor\n"
                "or accept the risk:  CASCADE_SANDBOX_ALLOW_UNSAFE=1",
            )
        checker = task.checker
        spoken = {language, checker.language if isinstance(checker, CheckerProgram) else language}
        for one in sorted(spoken):
            if why := self.sandbox.missing(one):
                raise ConfigError(f"{task.name} needs {one}, and {why}", hint="apt install g++")
        if isinstance(checker, CheckerProgram):
            tests = (*task.samples[:1], *(subtask.tests[0] for subtask in task.subtasks))
            for test in {test.name: test for test in tests}.values():
                self._refuse_checker(task, checker, test)

    def _refuse_checker(self, task: Task, checker: CheckerProgram, test: Test) -> None:
        try:
            score = self._checked(task, checker, test, test.answer.read_bytes())
        except EvaluationError as error:
            raise DataError(error.message, hint=error.hint) from None
        if score != 1:
            raise DataError(
                f"checker {checker.name} of {task.name} gives the jury's own answer to test "
                f"{test.name} {score:g}; expected 1",
                hint="see that it reads answer.txt and output.txt as docs/ioi.md says, and that "
                "the test's files belong together",
            )

    def results(
        self, task: Task, source: str, language: Language, tests: Sequence[Test]
    ) -> Sequence[TestResult]:
        """Of the tests in turn, up to and including the first that scores 0.

        Raises EvaluationError where the sandbox or the checker fails.
        """
        found: list[TestResult] = []
        for test in tests:
            found.append(self._result(task, source, language, test))
            if found[-1].score == 0:
                break
        return found

    def _result(self, task: Task, source: str, language: Language, test: Test) -> TestResult:
        text = test.input.read_bytes().decode("utf-8")
        program = Program(task.program(source, language), "stdio", (text,), language=language)
        limits = Limits(
            cpu_s=task.time_limits_s[language],
            total_cpu_s=TOTAL_S + task.time_limits_s[language],
            memory_mb=task.memory_limit_mb,
            output_bytes=task.output_limit_mb << 20,
        )
        outcome = self._run(program, limits, f"{task.name}, test {test.name}")
        if outcome.status == "runtime" and outcome.reason.startswith(COMPILE_ERROR):
            return TestResult(0.0, "compile", outcome.reason[:2000])
        if outcome.status != "ok":
            assert outcome.status != "infra"
            return TestResult(0.0, outcome.status)
        score = self._score(task, test, outcome.results[0])
        return TestResult(score, "right" if score == 1 else "partial" if score else "wrong")

    def _score(self, task: Task, test: Test, output: bytes) -> float:
        if isinstance(task.checker, CheckerProgram):
            return self._checked(task, task.checker, test, output)
        answer = test.answer.read_bytes().decode("utf-8")
        return float(_agrees(task.checker, output.decode("utf-8", "surrogateescape"), answer))

    def _checked(self, task: Task, checker: CheckerProgram, test: Test, output: bytes) -> float:
        """What the jury's program says of an output. Raises EvaluationError where it fails."""
        files = (
            ("input.txt", test.input.read_bytes().decode("utf-8")),
            ("output.txt", output.decode("utf-8", "replace")),
            ("answer.txt", test.answer.read_bytes().decode("utf-8")),
        )
        program = Program(checker.source, "stdio", ("",), files=files, language=checker.language)
        room = sum(len(text.encode()) for _, text in files) >> 20
        limits = Limits(CHECKER_S, TOTAL_S, CHECKER_MB, disk_mb=16 + room)
        where = f"checker {checker.name} of {task.name}"
        outcome = self._run(program, limits, where)
        hint = "its contract is in docs/ioi.md; it must hold for whatever a program prints"
        if outcome.status != "ok":
            why = f"{outcome.status}: {outcome.reason}"
            raise EvaluationError(f"{where} failed on test {test.name}: {why}", hint=hint)
        said = outcome.results[0].decode("utf-8", "replace")
        score = _number(said)
        if score is None:
            raise EvaluationError(
                f"{where} printed {said[:60]!r} on test {test.name}; expected a score from 0 to 1",
                hint=hint,
            )
        return score

    def _run(self, program: Program, limits: Limits, where: str) -> Outcome:
        """The outcome, after some tries where the sandbox itself failed."""
        outcome = self.sandbox.run(program, limits)
        for pause in self.pauses_s:
            if outcome.status != "infra":
                break
            time.sleep(pause)
            outcome = self.sandbox.run(program, limits)
        if outcome.status == "infra":
            raise EvaluationError(
                f"{where} could not be judged, {1 + len(self.pauses_s)} times: {outcome.reason}",
                hint="run the same command again: what was submitted is judged then, and no "
                "submission is lost\nsee what this machine allows:  cascade doctor",
            )
        return outcome


def _agrees(checker: Comparison, output: str, answer: str) -> bool:
    if checker.kind == "tokens":
        return output.split() == answer.split()
    return same_output(output, answer, checker.tolerance)


def _number(said: str) -> float | None:
    """The first word as a score; None for anything but a number from 0 to 1."""
    words = said.split(maxsplit=1)
    try:
        score = float(words[0]) if words else math.nan
    except ValueError:
        return None
    return score if 0 <= score <= 1 else None
