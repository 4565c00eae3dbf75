"""Rounds over all problems of a contest until each is solved or has used up what it may.

All problems that are not over generate together, a round at a time; what is submitted is then
judged. Every step is in the journal of its problem before it counts, so the same command after
any kill goes on from there and ends with the same result, byte for byte where the generator and
the verdicts are the same again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cascade_rl.data.files import write_json
from cascade_rl.engines.generate import Generator, Prompt, Response, Sampling
from cascade_rl.errors import EvaluationError
from cascade_rl.evaluation.ioi.candidates import choose
from cascade_rl.evaluation.ioi.journal import Answered, Begun, Journal, Passed, Settled, journal
from cascade_rl.evaluation.ioi.judge import Judge, judged, passes_samples
from cascade_rl.evaluation.ioi.medals import Thresholds
from cascade_rl.evaluation.ioi.prompts import round_prompt
from cascade_rl.evaluation.ioi.results import results_of
from cascade_rl.evaluation.ioi.strategy import Options, State, history_of, next_subtask
from cascade_rl.evaluation.ioi.task import Task
from cascade_rl.sandbox.base import Language
from cascade_rl.types import Mode

RESULTS = "ioi.json"
PAPER = Sampling(temperature=0.6, top_p=0.95, max_new_tokens=131072)
"""How candidates are drawn: the evaluations' temperature and top-p, and 128K tokens."""

Report = Callable[[Task, State], None]
"""Called after every round with the problem and where it stands."""


@dataclass(frozen=True, slots=True)
class Setup:
    """All that decides a run beside the problems and the model.

    `yarn_factor` is how the generator was made, and here so that it is not made otherwise later.
    """

    language: Language = "cpp"
    mode: Mode | None = "think"
    options: Options = field(default_factory=Options)
    sampling: Sampling = PAPER
    yarn_factor: float = 1.0

    def head(self, task: Task, generator: Generator) -> dict[str, Any]:
        """What the journal of a problem begins with."""
        said = {"problem": task.name, "files": task.digest, "language": self.language}
        model = {"model": generator.name, "weights": generator.digest, "mode": self.mode}
        drawn = {**asdict(self.sampling), "yarn_factor": self.yarn_factor}
        return {**said, **model, **asdict(self.options), **drawn}


def run_ioi(
    tasks: Sequence[Task],
    generator: Generator,
    judge: Judge,
    setup: Setup,
    out: Path,
    thresholds: Thresholds,
    report: Report = lambda task, state: None,
) -> dict[str, Any]:
    """Play every problem to its end; the results, which are written to `out/ioi.json` too.

    Raises EvaluationError or EndpointError where a program cannot be judged or no answers come;
    the same call then goes on. Raises OutputError where `out` holds a run of other settings.
    """
    with ExitStack() as stack:
        attempts = []
        for task in tasks:
            opened = journal(out / f"{task.name}.jsonl", setup.head(task, generator))
            attempts.append(Attempt(task, judge, setup, stack.enter_context(opened), report))
        for attempt in attempts:
            attempt.judge_begun()
        while active := [attempt for attempt in attempts if not attempt.over]:
            _generate(active, generator, setup.sampling)
            for attempt in active:
                attempt.submit()
        states = [attempt.state for attempt in attempts]
    found = results_of(tasks, states, setup.head(tasks[0], generator), thresholds)
    write_json(out / RESULTS, found)
    return found


def _generate(attempts: Sequence[Attempt], generator: Generator, sampling: Sampling) -> None:
    """Every answer that the open rounds still lack, into their journals as it comes."""
    asking = [(attempt, attempt.prompt()) for attempt in attempts]
    asking = [(attempt, prompt) for attempt, prompt in asking if prompt.samples]
    if not asking:
        return
    for response in generator.generate([prompt for _, prompt in asking], sampling):
        asking[response.prompt][0].keep(response)


@dataclass(slots=True)
class Attempt:
    """One problem on its way: what the journal says, and the next step."""

    task: Task
    judge: Judge
    setup: Setup
    journal: Journal
    report: Report

    @property
    def state(self) -> State:
        """The finished rounds."""
        return self.journal.standing.state

    @property
    def over(self) -> bool:
        """Whether no round is to come."""
        return self._subtask() is None

    def _subtask(self) -> int | None:
        return next_subtask(self.task, self.state, self.setup.options)

    def prompt(self) -> Prompt:
        """The open round's, asking for the answers that are not there yet.

        Answers are numbered through all rounds: a round that submitted nothing may be followed by
        one with the same prompt, and a server knows an answer by prompt and number.
        """
        subtask, state, options = self._subtask(), self.state, self.setup.options
        assert subtask is not None
        history = history_of(self.task, state, subtask, options)
        messages = round_prompt(self.task, subtask, self.setup.language, state, history)
        missing = [n for n in self._numbers if n not in self._answers]
        name = f"ioi/{self.task.name}/{self.task.digest[:12]}/round {len(state.rounds) + 1}"
        return Prompt(name, messages, self.setup.mode, tuple(missing))

    @property
    def _numbers(self) -> range:
        """Of the open round's answers."""
        first = len(self.state.rounds) * self.setup.options.candidates
        return range(first, first + self.setup.options.candidates)

    @property
    def _answers(self) -> dict[int, Response]:
        return dict(self.journal.standing.answers)

    def keep(self, response: Response) -> None:
        """An answer to the open round's prompt."""
        assert response.sample in self._numbers
        self.journal.add(Answered(len(self.state.rounds), replace(response, prompt=0)))

    def submit(self) -> None:
        """Choose among the open round's answers, submit and judge; or pass."""
        number, subtask, options = len(self.state.rounds), self._subtask(), self.setup.options
        assert subtask is not None
        answers = self._answers
        if len(answers) < options.candidates:
            raise EvaluationError(
                f"{self.task.name}, round {number + 1}: {len(answers)} of {options.candidates} "
                "answers came",
                hint="run the same command again: it asks for the rest",
            )
        language = self.setup.language
        choice = choose(
            answers.values(),
            language,
            self.state,
            options,
            lambda source: passes_samples(self.task, source, language, self.judge),
        )
        if choice.candidate is None:
            self.journal.add(Passed(number, subtask, len(answers), choice.rejected))
            self.report(self.task, self.state)
            return
        sample, source = choice.candidate.sample, choice.candidate.source
        made = (number, subtask, sample, source, choice.selector, len(answers), choice.rejected)
        self.journal.add(Begun(*made))
        self.judge_begun()

    def judge_begun(self) -> None:
        """Judge what was submitted and has no verdict yet; nothing where all have one."""
        begun = self.journal.standing.begun
        if begun is None:
            return
        verdict = judged(self.task, begun.source, self.setup.language, self.judge)
        self.journal.add(Settled(begun.round, verdict))
        self.report(self.task, self.state)
