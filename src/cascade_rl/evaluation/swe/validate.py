"""What speaks for a candidate: the tests that it keeps, the bug that is gone, who else wrote it.

In this order (Nemotron-Cascade, sections 3.3.1 and 7.4): a patch that breaks fewer of the
repository's own tests; one after which more of the generated tests say that the issue is resolved;
one that more candidates agree on; the shortest. A generated test counts only if it reproduces the
issue on the repository as it is, a test of the repository only if it passes there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cascade_rl.chat import answer_part, has_open_thought
from cascade_rl.data.sources.swe import file_block
from cascade_rl.engines.generate import Response
from cascade_rl.evaluation.swe.edits import Candidate
from cascade_rl.evaluation.swe.execute import OTHER, REPRODUCED, RESOLVED, Results, Runner
from cascade_rl.evaluation.swe.repository import Files
from cascade_rl.verifiers.code.extract import extract_program

TESTS = 10
"""Reproduction tests that are generated (section 3.3.1); section 7.4 generates 40."""
SHOWN_PATCHES = 4
"""Candidates that a test's writer sees, the ones with the most votes."""
MAX_SCRIPT = 100_000
CUT_OFF, NO_PROGRAM, NOT_REPRODUCED = "cut off", "no program", "does not reproduce the issue"

TEST = f"""\
A repository has an issue. Write one Python script that tells whether the issue is there.

--- BEGIN ISSUE
{{issue}}
--- END ISSUE

{{files}}

{{patches}}The script runs by itself in the root of the repository, without a network. It prints \
exactly one of these lines and ends with status 0:
- {REPRODUCED}
  where the repository behaves as the issue complains of;
- {RESOLVED}
  where it behaves as the issue asks for;
- {OTHER}
  where something else is wrong, an exception it did not expect for instance.

Answer with the whole script in one block:
```python
...
```"""
"""What is asked (2512.13607, appendix C.2, in our words)."""


# --- generated tests ------------------------------------------------------------------------------


def reproduction_prompt(issue: str, files: Files, patches: Iterable[str]) -> str:
    """The issue, files in their order, and candidates' patches."""
    shown = "\n\n".join(file_block(path, text) for path, text in files.items())
    tried = "".join(
        f"--- BEGIN CANDIDATE PATCH\n{patch.rstrip(chr(10))}\n--- END CANDIDATE PATCH\n\n"
        for patch in patches
    )
    return TEST.format(issue=issue.strip(), files=shown, patches=tried)


def fitting_prompt(
    issue: str,
    files: Files,
    candidates: Iterable[Candidate],
    budget: int,
    count: Callable[[str], int],
) -> str:
    """The prompt with the likeliest patches and then the files that fit into `budget` tokens.

    Empty where not even the issue does.
    """
    patches, shown = likeliest(candidates), list(files.items())
    while count(text := reproduction_prompt(issue, dict(shown), patches)) > budget:
        if not patches and not shown:
            return ""
        (patches or shown).pop()
    return text


def likeliest(candidates: Iterable[Candidate], most: int = SHOWN_PATCHES) -> list[str]:
    """One patch a vote, those with the most votes first, the shortest of each."""
    patches = [c for c in candidates if not c.error]
    votes = Counter(c.vote for c in patches)
    shortest: dict[str, Candidate] = {}
    for c in patches:
        rival = shortest.setdefault(c.vote, c)
        shortest[c.vote] = min(rival, c, key=lambda each: (len(each.patch), each.sample))
    order = sorted(shortest.values(), key=lambda c: (-votes[c.vote], len(c.patch), c.sample))
    return [c.patch for c in order[:most]]


def script_of(response: Response) -> tuple[str, str]:
    """(the script of an answer, why there is none)."""
    if response.finish == "length" or has_open_thought(response.text):
        return "", CUT_OFF
    script = extract_program(answer_part(response.text))
    if script is None or not script.strip() or len(script) > MAX_SCRIPT:
        return "", NO_PROGRAM
    return script, ""


@dataclass(frozen=True, slots=True)
class Suite:
    """What candidates are held to: scripts that reproduce the issue, tests that pass before.

    `dropped` counts the generated tests that are not used, by reason; `failing` names the tests
    of the repository that do not pass as it is.
    """

    scripts: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    dropped: tuple[tuple[str, int], ...] = ()
    failing: tuple[str, ...] = ()


def make_suite(
    runner: Runner, files: Files, responses: Sequence[Response], tests: Sequence[str]
) -> Suite:
    """Try everything on the repository as it is, and keep what can tell patches apart."""
    dropped: Counter[str] = Counter()
    scripts: list[str] = []
    for response in responses:
        script, why = script_of(response)
        if why:
            dropped[why] += 1
        else:
            scripts.append(script)
    once = list(dict.fromkeys(scripts))
    found = runner.run(files, tests, once)
    said = dict(zip(once, found.scripts, strict=True))
    kept = tuple(script for script in scripts if said[script] == REPRODUCED)
    dropped[NOT_REPRODUCED] = len(scripts) - len(kept)
    return Suite(
        kept,
        tuple(test for test in tests if not found.tests[test]),
        tuple(sorted((+dropped).items())),
        tuple(test for test in tests if found.tests[test]),
    )


# --- candidates -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one patch: tests broken, scripts that say resolved, its vote and length."""

    broken: int
    resolved: int
    vote: str
    length: int
    tokens: int


def gather(
    runner: Runner | None, files: Files, suite: Suite, candidates: Sequence[Candidate]
) -> list[Evidence | None]:
    """Evidence for each candidate, None for one that is no patch. Equal files are run once.

    Without a runner nothing is run, and only votes and lengths speak.
    """
    found: dict[str, Results] = {}

    def results(candidate: Candidate) -> Results:
        key = candidate.content
        if key not in found:
            after = {**files, **candidate.changed}
            scripts = tuple(dict.fromkeys(suite.scripts))
            found[key] = runner.run(after, suite.tests, scripts) if runner else Results({}, ())
        return found[key]

    def evidence(candidate: Candidate) -> Evidence:
        ran = results(candidate)
        said = dict(zip(dict.fromkeys(suite.scripts), ran.scripts, strict=False))
        return Evidence(
            sum(bool(why) for why in ran.tests.values()),
            sum(said.get(script) == RESOLVED for script in suite.scripts),
            candidate.vote,
            len(candidate.patch),
            candidate.tokens,
        )

    return [None if candidate.error else evidence(candidate) for candidate in candidates]


Order = Callable[[Evidence], tuple[int, ...]]
"""What of a patch's own evidence comes before votes; less is better."""


def best_order(found: Evidence) -> tuple[int, ...]:
    """The pipeline's: tests kept, then scripts that say resolved."""
    return found.broken, -found.resolved


def majority_order(found: Evidence) -> tuple[int, ...]:
    """Nothing: votes alone decide."""
    return ()


def pick(
    evidence: Sequence[Evidence | None], among: Iterable[int], order: Order = best_order
) -> int | None:
    """One of the candidates `among`: by `order`, then votes among them, then the shortest.

    Shortest is in characters of the patch, then in tokens of the answer, then the first. None
    where none is a patch.
    """
    given = [(n, found) for n in among if (found := evidence[n]) is not None]
    votes = Counter(found.vote for _, found in given)
    best = min(((*order(e), -votes[e.vote], e.length, e.tokens, n) for n, e in given), default=None)
    return None if best is None else best[-1]
