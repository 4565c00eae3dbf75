"""ArenaHard: a judge compares each answer with a baseline's, in both orders.

Two rules. Every question is judged twice, with the answers swapped, and counts only where both
games have a verdict, so that a judge's liking for a place cancels. And a verdict is one of five
labels, once, in a reply that came to its end: what a thought says is none, and neither is what
was cut off. A reply without one is asked for again, and then is *not judged*: left out and counted,
never a loss. The judge is any OpenAI-compatible server, and what it said is in the journal.

Source: arXiv 2406.11939; the judge's prompt is in our words, its labels and steps are theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cascade_rl.chat import answer_part, has_open_thought
from cascade_rl.data.fields import shown
from cascade_rl.data.files import Unreadable, raw_rows
from cascade_rl.data.sft.endpoint import Ask, Endpoint, Reply, Report
from cascade_rl.errors import DataError, EvaluationError
from cascade_rl.types import Message, Problem

Label = Literal["A>>B", "A>B", "A=B", "B>A", "B>>A"]
Place = Literal["A", "B"]
LABELS: tuple[Label, ...] = ("A>>B", "A>B", "A=B", "B>A", "B>>A")
PLACES: tuple[Place, ...] = ("B", "A")
"""Where the model's answer stands in the first game and in the second."""
UNJUDGED_LIMIT = 0.05
"""Share of questions without a verdict above which there is no result."""
_VERDICT = re.compile(r"\[\[\s*(A>>B|A>B|A=B|B>A|B>>A)\s*\]\]")

SYSTEM = """\
You are an impartial judge of the answers that two assistants, A and B, gave to a user's prompt.
First write your own answer to the prompt; you must do so before you judge. Then compare both
answers with yours. Point out and correct what is wrong in them. Consider whether each is helpful:
does it do what was asked, and where the prompt is open, does it ask or say what it assumes. Then
consider whether it is to the point, without what is not needed, and whether it is creative where
that is wanted. Name what is missing and would have helped. The order of the answers and their
length say nothing about which is better.

End with exactly one of these verdicts:
[[A>>B]] A is far better
[[A>B]] A is slightly better
[[A=B]] both are about as good
[[B>A]] B is slightly better
[[B>>A]] B is far better"""
QUESTION = """\
--- BEGIN PROMPT
{prompt}
--- END PROMPT

--- BEGIN ANSWER OF A
{a}
--- END ANSWER OF A

--- BEGIN ANSWER OF B
{b}
--- END ANSWER OF B"""


@dataclass(frozen=True, slots=True)
class Battle:
    """A question with the model's answer and the baseline's, as generated, thoughts included."""

    question: str
    prompt: str
    answer: str
    baseline: str


@dataclass(frozen=True, slots=True)
class Judge:
    """Who judges, and how often it is asked for a verdict that it does not give."""

    model: str
    system: str = SYSTEM
    sampling: Mapping[str, Any] = field(
        default_factory=lambda: {"temperature": 0.0, "max_tokens": 4096}
    )
    tries: int = 3


@dataclass(frozen=True, slots=True)
class Game:
    """One comparison: where the model's answer stood, and the verdict; None is not judged."""

    place: Place
    verdict: Label | None
    detail: str = ""

    @property
    def outcome(self) -> float | None:
        """1 where the model's answer is better, 0.5 for a tie, 0 where the baseline's is."""
        if self.verdict is None:
            return None
        if self.verdict == "A=B":
            return 0.5
        return float(self.verdict.startswith(self.place))

    @property
    def decisive(self) -> bool:
        """Whether one answer was far better."""
        return self.verdict is not None and ">>" in self.verdict


@dataclass(frozen=True, slots=True)
class Judged:
    """Both games of a question."""

    battle: Battle
    games: tuple[Game, Game]

    @property
    def complete(self) -> bool:
        """Whether both games have a verdict: only then the question counts."""
        return all(game.verdict is not None for game in self.games)


def judge_battles(
    battles: Sequence[Battle],
    judge: Judge,
    endpoint: Endpoint,
    report: Report = lambda rows, end: None,
) -> list[Judged]:
    """Both games of every battle, in order; answers that the journal has cost nothing.

    Raises EndpointError and InputError as `Endpoint.fetch`, and EvaluationError where more than
    5 % of the questions have no verdict: a number over the others would be a number of another set.
    """
    pending = [(battle, place) for battle in battles for place in PLACES]
    for attempt in range(judge.tries):
        endpoint.fetch((_ask(judge, *game, attempt) for game in pending), report)
        pending = [g for g in pending if _verdict(endpoint, judge, *g, attempt).verdict is None]
        if not pending:
            break
    judged = [
        Judged(battle, (_last(endpoint, judge, battle, "B"), _last(endpoint, judge, battle, "A")))
        for battle in battles
    ]
    _refuse_many(judged)
    return judged


def verdict_in(text: str) -> Label | None:
    """The one verdict a judge gave; None for none, or for two that differ."""
    found = set(_VERDICT.findall(text))
    return next((label for label in LABELS if found == {label}), None)


def messages_for(battle: Battle, place: Place, system: str = SYSTEM) -> tuple[Message, ...]:
    """What the judge is shown: answers without their thoughts, the model's in its place."""
    model, baseline = answer_part(battle.answer), answer_part(battle.baseline)
    a, b = (model, baseline) if place == "A" else (baseline, model)
    asked = QUESTION.format(prompt=battle.prompt, a=a, b=b)
    return Message("system", system), Message("user", asked)


def _ask(judge: Judge, battle: Battle, place: Place, attempt: int) -> Ask:
    return Ask(judge.model, messages_for(battle, place, judge.system), judge.sampling, attempt)


def _verdict(endpoint: Endpoint, judge: Judge, battle: Battle, place: Place, attempt: int) -> Game:
    """The verdict of one attempt."""
    found = endpoint.answer(_ask(judge, battle, place, attempt))
    if not isinstance(found, Reply):
        return Game(place, None, f"{found.reason}: {found.detail}"[:300])
    if found.finish == "length" or has_open_thought(found.content):
        return Game(place, None, f"cut off before its verdict: ...{found.content[-200:]}")
    verdict = verdict_in(answer_part(found.content))
    return Game(place, verdict, "" if verdict else f"no verdict: ...{found.content[-200:]}")


def _last(endpoint: Endpoint, judge: Judge, battle: Battle, place: Place) -> Game:
    """The first verdict that any attempt brought, or why the last brought none."""
    game = Game(place, None)
    for attempt in range(judge.tries):
        game = _verdict(endpoint, judge, battle, place, attempt)
        if game.verdict is not None:
            break
    return game


def _refuse_many(judged: Sequence[Judged]) -> None:
    missing = [one for one in judged if not one.complete]
    if len(missing) <= UNJUDGED_LIMIT * len(judged):
        return
    [why, *_] = [game.detail for game in missing[0].games if game.verdict is None]
    raise EvaluationError(
        f"{len(missing)} of {len(judged)} questions have no verdict; the first, "
        f"{missing[0].battle.question}: {why}",
        hint="a judge has to end with one verdict, such as [[A>B]]; what it said is kept: name "
        "another judge, or ask more often for what it does not say",
    )


# --- a baseline's answers ---------------------------------------------------------------------


def read_answers(path: Path) -> dict[str, str]:
    """A model's answers by question id, as ArenaHard publishes them: `model_answer/NAME.jsonl`.

    `question_id` and `choices[0].turns[0].content`, or, in its newer layout, `uid` and `messages`.
    Raises DataError for a row of another shape.
    """
    found: dict[str, str] = {}
    for index, raw in enumerate(raw_rows(path)):
        answer = None if isinstance(raw, Unreadable) else _answer(raw)
        if answer is None:
            raise DataError(
                f"{path}: row {index} is {shown(raw)}; expected question_id and choices, or uid "
                "and messages",
                hint="the baseline of ArenaHard 1.0 is model_answer/gpt-4-0314.jsonl of  "
                "lmarena-ai/arena-hard-auto",
            )
        found[answer[0]] = answer[1]
    return found


def _answer(raw: Any) -> tuple[str, str] | None:
    match raw:
        case {"question_id": str(name), "choices": [{"turns": [turn, *_]}, *_]}:
            text = turn.get("content") if isinstance(turn, Mapping) else turn
        case {"uid": str(name), "messages": [*_, {"content": content}]}:
            text = content.get("answer") if isinstance(content, Mapping) else content
        case _:
            return None
    return (name, text) if isinstance(text, str) else None


def named_as_published(problems: Iterable[Problem], path: Path) -> dict[str, Problem]:
    """The questions by the id that the baseline's answers have, too.

    Raises DataError for a question without one, as rows of our own shape may be.
    """
    found: dict[str, Problem] = {}
    for problem in problems:
        name = problem.extra.get("source_id")
        if name is None:
            raise DataError(
                f"{path}: {problem.id} has no id of its source; expected the question_id or uid by "
                "which the baseline's answers are found",
                hint="give the question.jsonl that ArenaHard publishes, or add source_id to "
                "each row's extra_info",
            )
        found[str(name)] = problem
    return found


def battles_of(
    prompts: Mapping[str, str], answers: Mapping[str, str], baseline: Mapping[str, str]
) -> Iterator[Battle]:
    """A battle for every question. Raises DataError where an answer or a baseline's is missing."""
    for what, given in (("answer", answers), ("answer of the baseline", baseline)):
        missing: Iterable[str] = [name for name in prompts if name not in given]
        for name in missing:
            raise DataError(
                f"question {name} has no {what}; expected one for each of {len(prompts)} questions",
                hint="the ids are those of question.jsonl",
            )
    for name, prompt in prompts.items():
        yield Battle(name, prompt, answers[name], baseline[name])
