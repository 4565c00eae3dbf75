"""Every error a user can meet, one tree, printed by the command line without a traceback.

Each message says what was found, what was expected and what to type next.

    CascadeError
    ├── InputError            exit 2: what the user gave is wrong
    │   ├── ConfigError         a key, a type, a value, an edge of the plan
    │   ├── DataError           a file or a row
    │   └── OutputError         a directory that is locked, not ours, or full
    ├── CheckpointError       exit 2: a checkpoint is missing, truncated or not what it claims
    ├── TrainingError         exit 1: training cannot go on (nan, no signal, infra over limit)
    ├── EvaluationError       exit 1: an evaluation could not be judged completely
    ├── EndpointError         exit 1: a server gives no answers; those it gave are kept
    └── GateFailed            exit 1: a gate stopped the cascade
"""

from __future__ import annotations


class CascadeError(Exception):
    """What was found and expected, and under it what to type next."""

    exit_status = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class InputError(CascadeError):
    """What the user gave is wrong."""

    exit_status = 2


class ConfigError(InputError):
    """A key, a type, a value, or an edge of the plan."""


class DataError(InputError):
    """A data file or a row of it."""


class OutputError(InputError):
    """An output directory that is locked, not ours, or full."""


class CheckpointError(InputError):
    """A checkpoint is missing, truncated, or not what it claims to be."""


class TrainingError(CascadeError):
    """Training cannot go on; the last good checkpoint is kept."""


class EvaluationError(CascadeError):
    """An evaluation could not be judged completely; what was evaluated is kept."""


class EndpointError(CascadeError):
    """A server gives no answers; those it gave are kept."""


class GateFailed(CascadeError):
    """A gate stopped the cascade after a stage."""
