"""A model of known quality: what it answers is written down by issue, task and number."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cascade_rl.engines.generate import Prompt, Response, Sampling
from tests.evaluation.swe.repositories import SPECS, Spec, block, fenced

CUT = "\0cut"
"""A text that begins so was cut off."""


@dataclass
class Scripted:
    """A `Generator` that answers from a table, in another order than it was asked.

    `before` is called before every answer: raise there to stop it.
    """

    answer: Callable[[str, str, int], str]
    name: str = "scripted"
    digest: str = "scripted-1"
    before: Callable[[int], None] = lambda given: None
    given: list[tuple[str, int]] = field(default_factory=list)
    prompts: dict[str, Prompt] = field(default_factory=dict)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Response]:
        wanted = [(place, n) for place, p in enumerate(prompts) for n in p.samples]
        random.Random(len(wanted)).shuffle(wanted)
        for place, sample in wanted:
            self.before(len(self.given))
            prompt = prompts[place]
            self.prompts[prompt.id] = prompt
            self.given.append((prompt.id, sample))
            issue, _, task = prompt.id.rpartition("/")
            text = self.answer(issue, task, sample)
            finish = "length" if text.startswith(CUT) else "stop"
            yield Response(place, sample, text, finish, len(text) // 4)


def listed(*paths: str) -> str:
    return "It is one of these.\n```\n" + "\n".join(paths) + "\n```"


def edits(spec: Spec, kind: str) -> str:
    """A repair of a kind."""
    path, _, wrong = spec.bugs[0]
    return {
        "good": spec.edit(),
        "noted": "<think>\nhm\n</think>\n" + spec.edit(note="    # once more\n"),
        "worse": spec.edit(spec.worse),
        "aside": "<solution>\n" + block("notes/new file.py", "", "seen = True") + "\n</solution>",
        "prose": "I would look at the merge function first.",
        "nowhere": block(path, "no such line", "x = 1"),
        "escape": block("../../outside.py", "", "x = 1"),
        "same": spec.edit(wrong),
        "cut": CUT + spec.edit(),
        "open": "<think>\n" + spec.edit(),
    }[kind]


def scripts(spec: Spec, kind: str) -> str:
    """A generated test of a kind."""
    return {
        "right": spec.reproduction(),
        "blind": fenced("print('Issue resolved')\n"),
        "afraid": fenced("print('Issue reproduced')\nprint('Issue resolved')\n"),
        "broken": fenced("print('Issue reproduced'\n"),
        "always": fenced("print('Issue reproduced')\n"),
        "none": "```\nno program\n",
    }[kind]


@dataclass(frozen=True)
class Quality:
    """What the model answers to one issue: its lists of files, its repairs, its tests, in turn."""

    lists: tuple[tuple[str, ...], ...]
    repairs: tuple[str, ...]
    scripts: tuple[str, ...]


def model_of(qualities: Mapping[str, Quality]) -> Callable[[str, str, int], str]:
    """Answers by issue id; numbers beyond a list begin it again."""
    specs = {spec.id: spec for spec in SPECS}

    def answer(issue: str, task: str, sample: int) -> str:
        spec, quality = specs[issue], qualities[issue]
        if task == "localize":
            paths = quality.lists[sample % len(quality.lists)]
            return listed(*paths) if paths else "I do not know."
        if task == "repair":
            return edits(spec, quality.repairs[sample % len(quality.repairs)])
        return scripts(spec, quality.scripts[sample % len(quality.scripts)])

    return answer


RIGHT = ("right", "blind", "broken")
QUALITIES = {
    "spans": Quality(
        (("spans/merge.py",), ("spans/merge.py", "spans/log.py"), ("spans/length.py",), ()),
        ("good", "worse", "noted", "prose"),
        RIGHT,
    ),
    "slugs": Quality(
        (("titles.py",), ("titles.py", "slugs.py"), ("../slugs.py",), ("titles.py",)),
        ("worse", "good", "aside", "escape"),
        RIGHT,
    ),
    "cache": Quality(
        (("src/store/recent.py",), ("src/store/keys.py", "src/store/recent.py")),
        ("aside", "aside", "good", "nowhere"),
        ("right", "afraid", "blind"),
    ),
    "ini": Quality(
        (("ini/write.py", "ini/read.py"), ("ini/read.py", "setup.py")),
        ("worse", "worse", "good", "good"),
        RIGHT,
    ),
    "roman": Quality(
        (("numerals/roman.py", "numerals/log.py"), ("numerals/table.py",)),
        ("good", "cut", "open", "same"),
        RIGHT,
    ),
    "money": Quality((("money/round.py",),), ("aside", "worse", "prose", "worse"), RIGHT),
    "grid": Quality(
        (("grid/turn.py",), ("grid/log.py",), ("grid/turn.py",)),
        ("prose", "escape", "nowhere", "cut"),
        RIGHT,
    ),
    "query": Quality(
        (("query/escape.py", "query/log.py"),),
        ("aside", "aside", "good", "good"),
        ("blind", "broken", "none"),
    ),
    "wrap": Quality(
        (("wrap/fold.py",), ("wrap/log.py", "wrap/fold.py")),
        ("good", "aside", "aside", "worse"),
        ("right", "right", "always"),
    ),
    "dates": Quality(
        (("dates/months.py", "dates/leap.py"),), ("good", "worse", "good", "good"), RIGHT
    ),
}
"""By repository. A good answer is among those of eight; the pipeline should find it in seven:
for `query` no generated test works, and the shorter of two patches with two votes is no fix."""
RESOLVED = {"spans", "slugs", "cache", "ini", "roman", "wrap", "dates"}


def scripted() -> Scripted:
    """The model of that quality."""
    by_id = {spec.id: QUALITIES[spec.name] for spec in SPECS}
    return Scripted(model_of(by_id))
