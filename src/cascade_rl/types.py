"""The nouns of a cascade: standard library only, frozen, complete when made.

One rule: an object here is never half filled in. What is not known yet is another type
(`Group` before scoring, `ScoredGroup` after), and what could not be decided is an explicit
None (`Verdict.score`), which is *not judged* and never the same as wrong.

Axis suffixes: P problems, G completions of one problem, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]
Mode = Literal["think", "no_think"]
Domain = Literal["math", "code", "instruction_following", "swe", "chat", "tool_calls"]
Finish = Literal["stop", "length"]
Status = Literal[
    "right", "wrong", "partial",                         # judged on its merits
    "runtime", "timeout", "memory", "output", "violation",  # the answer's own doing: score 0
    "invalid",                                           # the row's fault: not judged
    "infra",                                             # ours: not judged
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call inside an assistant turn, rendered as JSON in `<tool_call>`."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `mode` belongs to user turns, `thought` and `tool_calls` to assistant turns."""

    role: Role
    content: str
    thought: str | None = None
    mode: Mode | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    name: str | None = None


# --- what a verifier compares against ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """Math: the reference answer as text, e.g. `\\frac{3}{2}`."""

    text: str


@dataclass(frozen=True, slots=True)
class StdioTest:
    """Feed `input` on stdin; stdout must equal `output` up to trailing blanks."""

    input: str
    output: str


@dataclass(frozen=True, slots=True)
class CallTest:
    """Call the entry point with `args`; the value must equal `expected`, types included.

    `also` holds other right values, where a data set writes one value in two ways.
    """

    args: tuple[Any, ...]
    expected: Any
    also: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class AssertTest:
    """A block of test code that raises when the answer is wrong."""

    code: str


@dataclass(frozen=True, slots=True)
class Tests:
    """Code: every test must pass. `entry_point` is set for call tests.

    `prelude` runs before the program, in its process (the imports its task promises); `setup`
    before the test code, in the tests' process. `tolerance` is an error, absolute or relative,
    that numbers may have; None asks for exact output.
    """

    cases: tuple[StdioTest, ...] | tuple[CallTest, ...] | tuple[AssertTest, ...]
    entry_point: str | None = None
    setup: str = ""
    time_limit_s: float | None = None
    memory_limit_mb: int | None = None
    prelude: str = ""
    language: Literal["python", "cpp"] = "python"
    tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class Constraints:
    """Instruction following: parallel lists of instruction ids and their keyword arguments."""

    instruction_ids: tuple[str, ...]
    kwargs: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Patch:
    """SWE: files before the change, the golden unified diff, and how the answer must look."""

    files: Mapping[str, str]
    patch: str
    shown: tuple[str, ...]
    format: Literal["search_replace", "diff", "either"]
    issue: str


@dataclass(frozen=True, slots=True)
class WantedCall:
    """A call of a right answer: by argument, the values that are right.

    An empty text among them means that the argument may be left out.
    """

    name: str
    arguments: Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Calls:
    """Tool calls: the functions on offer, and the calls of a right answer in any order.

    A function has `name`, `description` and `parameters`. Without calls it is right to call none.
    """

    functions: tuple[Mapping[str, Any], ...]
    calls: tuple[WantedCall, ...]


@dataclass(frozen=True, slots=True)
class Preference:
    """Chat: no reference; a reward model's score decides."""


Reference = Answer | Tests | Constraints | Patch | Calls | Preference


# --- rows a stage trains on -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Problem:
    """One RL or evaluation prompt. `extra` is the row's extra_info, kept as it was."""

    id: str
    domain: Domain
    prompt: tuple[Message, ...]
    reference: Reference
    source: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Conversation:
    """One SFT row: the loss falls on the assistant turns. `extra` is its extra_info, as it was."""

    id: str
    messages: tuple[Message, ...]
    source: str
    tools: tuple[Mapping[str, Any], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    """One preference row for a Bradley-Terry reward model. `extra` is its extra_info."""

    id: str
    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    source: str
    category: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


Row = Problem | Conversation | Pair


# --- rollouts ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled answer.

    `text` holds thought and answer as generated, special tokens removed. `logprobs` are nats
    under log-softmax(logits / T) over the whole vocabulary; `sampled_logprobs` are those of
    the distribution really sampled from, after top-k and top-p.
    """

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    sampled_logprobs: tuple[float, ...]
    finish: Finish


@dataclass(frozen=True, slots=True)
class Group:
    """The G completions of one problem; they share the mode."""

    problem: Problem
    mode: Mode | None
    completions_G: tuple[Completion, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verifier decided. `score` is None exactly when status is `invalid` or `infra`.

    `tier` names the isolation a program ran under; it is empty where none ran.
    """

    score: float | None
    status: Status
    reason: str = ""
    answer: str | None = None
    tier: str = ""

    @property
    def outcome(self) -> bool | None:
        """Right or not; None when not judged. Filters read this, never the shaped reward."""
        return None if self.score is None else self.status == "right"


def right(answer: str | None = None, reason: str = "") -> Verdict:
    """Score 1."""
    return Verdict(1.0, "right", reason, answer)


def wrong(reason: str, answer: str | None = None, score: float = 0.0) -> Verdict:
    """Score 0; an unparsable patch passes score=-1."""
    return Verdict(score, "wrong", reason, answer)


def partial(score: float, reason: str, answer: str | None = None) -> Verdict:
    """Any number, neither right nor wrong."""
    return Verdict(score, "partial", reason, answer)


def failed(
    status: Literal["runtime", "timeout", "memory", "output", "violation"],
    reason: str,
    answer: str | None = None,
) -> Verdict:
    """Score 0 for what the answer itself did."""
    return Verdict(0.0, status, reason, answer)


def unjudged(status: Literal["invalid", "infra"], reason: str) -> Verdict:
    """No score: the row's fault (`invalid`) or ours (`infra`)."""
    return Verdict(None, status, reason, None)


@dataclass(frozen=True, slots=True)
class Signals:
    """Everything known of one completion before rewards are combined over the batch.

    `verdict` is None for chat, `preference` where no reward model scored it, `judge` where no
    judge did. A stage's reward decides which of them count.
    """

    verdict: Verdict | None
    preference: float | None = None
    judge: float | None = None
    mixed_language: bool = False
    truncated: bool = False

    @property
    def outcome(self) -> bool | None:
        """The verdict's outcome; None without a verdict (chat) or when not judged."""
        return None if self.verdict is None else self.verdict.outcome


@dataclass(frozen=True, slots=True)
class ScoredGroup:
    """A group with its signals and final rewards (None: not judged, masked in training)."""

    group: Group
    signals_G: tuple[Signals, ...]
    rewards_G: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of an evaluation. `sample` counts from 0; -1 is the greedy answer."""

    problem_id: str
    sample: int
    text: str
    finish: Finish
    tokens: int
    signals: Signals

    @property
    def greedy(self) -> bool:
        """Whether this is the greedy answer rather than one of the k sampled ones."""
        return self.sample < 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A committed or start model: a Hugging Face directory in the master dtype."""

    stage_key: str
    step: int
    path: Path
    weights_digest: str


# --- the function shapes that hold the program ------------------------------------------------

Verifier = Callable[[Problem, str], Verdict]
"""One answer; pure, picklable, synchronous."""

Scorer = Callable[[Sequence[tuple[Problem, str]]], Sequence[float]]
"""Reward model or judge over (problem, completion text); nan means not judged."""

Reward = Callable[[Sequence[Group], Sequence[Sequence[Signals]]], list[list[float | None]]]
"""Signals of the whole update batch to rewards, [P][G]."""
