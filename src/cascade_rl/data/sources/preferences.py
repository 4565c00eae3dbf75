"""Two answers and which is better: HelpSteer2, HelpSteer3 and pairs of chosen and rejected.

One rule: a tie teaches a reward model nothing and is dropped as a tie, whether it is a score of
0, two equal scores, or one text twice (Nemotron-Cascade, section 4.2, drops HelpSteer3's zeros).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cascade_rl.data.fields import maybe_text_at, shown
from cascade_rl.data.sources.common import Raw, Unfit, prompt_of, text_of, turns_of
from cascade_rl.digests import digest_json
from cascade_rl.errors import DataError
from cascade_rl.types import Message, Pair

TIE = "tie"
RATINGS = ("prompt", "response", "helpfulness")
"""The keys of HelpSteer2's rated answers."""
OTHER = "second rating"
"""Where `joined` puts the second of two rated answers."""


def helpsteer3(raw: Raw, source: str) -> Pair:
    """`context`, `response1`, `response2`; `overall_preference` from -3 (the first) to 3."""
    answers = text_of(raw, "response1"), text_of(raw, "response2")
    category = maybe_text_at(raw, "domain")
    return _scored(raw, source, raw.get("context"), answers, "overall_preference", category)


def helpsteer2(raw: Raw, source: str) -> Pair:
    """`prompt`, `response_1`, `response_2`; `preference_strength` from -3 (the first) to 3."""
    answers = text_of(raw, "response_1"), text_of(raw, "response_2")
    prompt = _marked_turns(text_of(raw, "prompt"))
    return _scored(raw, source, prompt, answers, "preference_strength", None)


def helpsteer2_ratings(raw: Raw, source: str) -> Pair:
    """Two rated answers to one prompt, joined by `joined`; the more helpful one is better."""
    other = raw.get(OTHER)
    if not isinstance(other, Mapping):
        raise Unfit("no second answer", "a rated answer whose neighbour has another prompt")
    ratings = [_number(row, "helpfulness") for row in (raw, other)]
    answers = text_of(raw, "response"), text_of(other, "response")
    prompt = _marked_turns(text_of(raw, "prompt"))
    return _pair(raw, source, prompt, answers, ratings[1] - ratings[0], None)


def joined(rows: Iterator[Any]) -> Iterator[Any]:
    """The rows, two neighbouring rated answers to the same prompt as one row with `OTHER`."""
    held: Any = None
    for row in rows:
        rated = isinstance(row, Mapping) and all(row.get(key) is not None for key in RATINGS)
        if held is not None and rated and row["prompt"] == held["prompt"]:
            yield {**held, OTHER: dict(row)}
            held = None
            continue
        if held is not None:
            yield held
        held = row if rated else None
        if not rated:
            yield row
    if held is not None:
        yield held


def chosen_rejected(raw: Raw, source: str) -> Pair:
    """`chosen` and `rejected`: answers, or whole conversations that differ in the last turn."""
    chosen, rejected = _answer(raw, "chosen"), _answer(raw, "rejected")
    if chosen[0] and rejected[0] and chosen[0] != rejected[0]:
        raise DataError("chosen and rejected differ before their last turn; expected one prompt")
    prompt = chosen[0] or next((raw[k] for k in ("prompt", "question", "context") if raw.get(k)), 0)
    if not prompt:
        raise DataError("prompt is missing; expected the turns before chosen and rejected")
    scores = [raw.get("score_chosen"), raw.get("score_rejected")]
    if None not in scores and scores[0] == scores[1]:
        raise Unfit(TIE, f"chosen and rejected both have the score {scores[0]}")
    answers = rejected[1], chosen[1]
    pair = _pair(raw, source, prompt, answers, 1, maybe_text_at(raw, "category"))
    return replace(pair, extra=_margin(scores))


def rewardbench(raw: Raw, source: str) -> Pair:
    """RewardBench: the same with a `subset`, which is the pair's category."""
    return replace(chosen_rejected(raw, source), category=text_of(raw, "subset"))


def _answer(raw: Raw, key: str) -> tuple[Any, str]:
    """(turns before it, text) of an answer."""
    found = raw.get(key)
    if isinstance(found, str):
        turns = _spoken_turns(found)
        return (turns[:-1], turns[-1]["content"]) if turns else ([], found)
    turns = turns_of(found, key)
    if turns[-1]["role"] != "assistant":
        raise DataError(f"{key} ends with a {turns[-1]['role']} turn; expected the assistant's")
    return turns[:-1], turns[-1]["content"]


def _scored(
    raw: Raw, source: str, prompt: Any, answers: tuple[str, str], key: str, category: str | None
) -> Pair:
    """A pair by a score that is below 0 where the first answer is better."""
    return _pair(raw, source, prompt, answers, _number(raw, key), category)


def _pair(
    raw: Raw,
    source: str,
    prompt: Any,
    answers: tuple[str, str],
    score: float,
    category: str | None,
) -> Pair:
    if score == 0:
        raise Unfit(TIE, "both answers are as good as each other")
    rejected, chosen = answers if score > 0 else answers[::-1]
    if chosen.strip() == rejected.strip():
        raise Unfit(TIE, "chosen and rejected are the same text")
    if not chosen.strip():
        raise DataError("the better answer is empty; expected text")
    turns = prompt_of(prompt, "prompt")
    name = _id(raw, source, turns, chosen)
    extra = {"score": abs(float(score))}
    return Pair(name, turns, chosen, rejected, _source(raw, source), category, extra)


def _margin(scores: Sequence[Any]) -> Mapping[str, float]:
    """How much better the chosen answer was said to be, where both have a score."""
    numbers = [float(score) for score in scores if isinstance(score, int | float)]
    return {"score": numbers[0] - numbers[1]} if len(numbers) == 2 else {}


def _source(raw: Raw, source: str) -> str:
    found = raw.get("source")
    return found if isinstance(found, str) and found.strip() else source


def _id(raw: Raw, source: str, prompt: tuple[Message, ...], chosen: str) -> str:
    own = raw.get("id", raw.get("prompt_id"))
    if isinstance(own, str | int) and not isinstance(own, bool) and str(own):
        return str(own)
    digest = digest_json([[m.role, m.content] for m in prompt] + [chosen])
    return f"{source}/{digest[:12]}"


def _number(raw: Raw, key: str) -> float:
    found = raw.get(key)
    try:
        number = float(found) if isinstance(found, int | float | str) else float("nan")
    except (ValueError, OverflowError):
        number = float("nan")
    if number != number or isinstance(found, bool):
        raise DataError(f"{key} is {shown(found)}; expected a number")
    return number


_MARK = re.compile(r"\n?<extra_id_1>(User|Assistant)\n")
_SPOKEN = re.compile(r"(?:\A|\n\n)(Human|Assistant):[ \n]?")


def _marked_turns(text: str) -> Any:
    """HelpSteer2 writes `<extra_id_1>Assistant` before the turns that follow the first."""
    first, *rest = _MARK.split(text)
    turns = [{"role": "user", "content": first}]
    turns += [
        {"role": role.lower(), "content": content}
        for role, content in zip(rest[::2], rest[1::2], strict=True)
    ]
    return turns


def _spoken_turns(text: str) -> list[dict[str, Any]]:
    """A text that begins with `Human:`, as HH-RLHF's do, as turns; [] for any other."""
    before, *rest = _SPOKEN.split(text)
    roles = ["assistant" if name == "Assistant" else "user" for name in rest[::2]]
    if before.strip() or len(roles) < 2 or roles[0] != "user" or roles[-1] != "assistant":
        return []
    texts = rest[1::2]
    return [{"role": r, "content": t.strip()} for r, t in zip(roles, texts, strict=True)]
