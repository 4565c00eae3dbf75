from __future__ import annotations

from pathlib import Path

import pytest

from cascade_rl.data.sft.journal import Journal
from cascade_rl.engines.generate import Prompt, Sampling
from cascade_rl.errors import EndpointError, EvaluationError
from cascade_rl.evaluation.swe.answers import Answers
from cascade_rl.types import Message
from tests.evaluation.swe.answering import CUT, Scripted


def prompts(*counts: int) -> list[Prompt]:
    return [
        Prompt(f"p{n}/x", (Message("user", f"question {n}"),), "think", tuple(range(count)))
        for n, count in enumerate(counts)
    ]


def echo(issue: str, task: str, sample: int) -> str:
    return f"{CUT if sample == 2 else ''}{issue} {task} {sample} \ud800"


def asked(path: Path, model: Scripted, wanted: list[Prompt], sampling: Sampling) -> list[list[str]]:
    with Journal(path) as journal:
        found = Answers(model, sampling, journal).ask(wanted)
    assert [[(r.prompt, r.sample) for r in row] for row in found] == [
        [(n, sample) for sample in prompt.samples] for n, prompt in enumerate(wanted)
    ]
    return [[r.text for r in row] for row in found]


def test_answers_come_in_order_and_are_asked_for_once(tmp_path: Path) -> None:
    model = Scripted(echo)
    first = asked(tmp_path / "a", model, prompts(3, 0, 2), Sampling())
    assert first[0][1] == "p0 x 1 \ud800" and first[1] == []
    assert len(model.given) == 5
    again = asked(tmp_path / "a", model, prompts(4, 1, 2), Sampling())
    assert again[0][:3] == first[0] and again[2] == first[2]
    assert sorted(model.given[5:]) == [("p0/x", 3), ("p1/x", 0)]


def test_another_model_sampling_or_prompt_finds_nothing(tmp_path: Path) -> None:
    model = Scripted(echo)
    asked(tmp_path / "a", model, prompts(1), Sampling())
    asked(tmp_path / "a", model, prompts(1), Sampling(seed=1))
    asked(tmp_path / "a", model, [Prompt("p0/x", (Message("user", "else"),), "think")], Sampling())
    asked(tmp_path / "a", Scripted(echo, digest="scripted-2"), prompts(1), Sampling())
    assert len(model.given) == 3


def test_what_a_dying_server_answered_is_kept(tmp_path: Path) -> None:
    def dies(given: int) -> None:
        if given == 4:
            raise EndpointError("it is gone")

    model = Scripted(echo, before=dies)
    with pytest.raises(EndpointError, match="it is gone"):
        asked(tmp_path / "a", model, prompts(3, 3), Sampling())
    model.before = lambda given: None
    found = asked(tmp_path / "a", model, prompts(3, 3), Sampling())
    assert found == asked(tmp_path / "b", Scripted(echo), prompts(3, 3), Sampling())
    assert len(model.given) == len(set(model.given)) == 6


def test_an_answer_that_never_comes_is_said(tmp_path: Path) -> None:
    class Silent(Scripted):
        def generate(self, prompts: object, sampling: object) -> object:  # type: ignore[override]
            return iter(())

    with pytest.raises(EvaluationError, match="scripted gave no answer 0 to p0/x"):
        asked(tmp_path / "a", Silent(echo), prompts(1), Sampling())
