"""What answers prompts outside training: a checkpoint on an engine, or a server.

The rule: a prompt's id and an answer's number are the only source of chance, so a command that
was killed asks again for what is missing and gets what it would have got. Who judges the answers
is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from cascade_rl.types import Finish, Message, Mode

GREEDY = -1


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn. `top_k` 0 keeps all tokens; `seed` goes into every answer's key."""

    temperature: float = 0.6
    top_p: float = 0.95
    top_k: int = 0
    max_new_tokens: int = 32768
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt, and which of its answers are wanted: 0, 1, ... are sampled, -1 is greedy."""

    id: str
    messages: tuple[Message, ...]
    mode: Mode | None = None
    samples: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Response:
    """Answer `sample` to the prompt at index `prompt`, special tokens removed.

    `tokens` counts what was generated. `tail_confidence`, in nats, is DeepConf's (arXiv
    2508.15260, section 3): the mean over the last tenth of the tokens of minus the mean
    log-probability of the likeliest tokens there; None where whoever answered does not say.
    """

    prompt: int
    sample: int
    text: str
    finish: Finish
    tokens: int
    tail_confidence: float | None = None


class Generator(Protocol):
    """A checkpoint on an engine, or a server behind an OpenAI-compatible address."""

    @property
    def name(self) -> str:
        """What is said of it: a model directory's name, or the server's model."""

    @property
    def digest(self) -> str:
        """Of the weights; of the address and the model's name where weights cannot be seen."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Response]:
        """Every wanted answer to every prompt, in the order in which they are done.

        Raises EndpointError where a server stops answering; what it answered is kept, and the
        same call goes on from there.
        """
