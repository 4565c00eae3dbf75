"""One job of verl, watched: its events as they come, an end to it when it is silent or gone.

The rule: whatever happens, no process of the job is left. They are found by a mark in their
environment, which every process of a local Ray inherits, whoever its parent is by then.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade_rl.engines.verl import PARENT
from cascade_rl.engines.verl.job import AnyJob, Job

MARK = "CASCADE_VERL_JOB"
PREFIX = "cv-"
OWNER = "owner"
POLL_S = 0.2
ENDING_S = 20.0
STARTING_S = 300.0
"""A job may be silent for so long before its first event, however short its heartbeat is."""
TAIL_LINES = 30

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended. `why` says what went wrong, and is empty where nothing did."""

    why: str
    tail: str = ""
    seconds: float = 0.0


def run(
    job: AnyJob,
    command: Sequence[str],
    environment: Mapping[str, str],
    on_event: Callable[[Event], None],
    poll: Callable[[], None],
) -> Outcome:
    """Run the command to its end. `poll` is called all the time; what it raises ends the job."""
    mark = uuid.uuid4().hex
    with ray_directory(job, mark) as (options, temporary), job.log.open("ab") as log:
        given = {**os.environ, **environment, MARK: mark, PARENT: str(os.getpid())}
        given["TMPDIR"] = temporary
        began = time.monotonic()
        process = subprocess.Popen(
            [*command, *options],
            env=given,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            why = _watch(job, process, on_event, poll)
        finally:
            end_processes(mark)
            with contextlib.suppress(subprocess.TimeoutExpired):  # the kernel still holds it
                process.wait(ENDING_S)
        seconds = time.monotonic() - began
    likely = cause(tail(job.log, 1000)) if why else ""
    return Outcome(f"{why}; {likely}" if likely else why, tail(job.log), seconds)


def _watch(
    job: AnyJob, process: subprocess.Popen[bytes], on_event: Callable[[Event], None], poll: Any
) -> str:
    lines = Lines(job.events)
    heard, patience = time.monotonic(), max(job.verl.heartbeat_s, STARTING_S)
    while True:
        code = process.poll()  # before the last events are read
        for event in lines.new():
            on_event(event)
            heard, patience = time.monotonic(), job.verl.heartbeat_s
        if code is not None:
            return "" if code == 0 else f"verl ended with exit status {code}"
        poll()
        if time.monotonic() - heard > patience:
            return f"verl reported nothing for {patience:.0f} seconds"
        time.sleep(POLL_S)


class Lines:
    """The whole lines of a file that is being written, each once."""

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, 0

    def new(self) -> Iterator[Event]:
        """The lines that were added since the last time."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._at)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._at += len(line)
                yield json.loads(line)


@contextlib.contextmanager
def ray_directory(job: AnyJob, mark: str) -> Iterator[tuple[list[str], str]]:
    """A short private directory, for Ray's sockets: their paths have 107 characters at most."""
    root = Path("/tmp" if Path("/tmp").is_dir() else tempfile.gettempdir())
    remove_abandoned(root)
    folder = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=root)
    if not isinstance(job, Job):
        options = []  # torchrun knows no Ray
    elif job.verl.ray_address is None:
        options = [f"+ray_kwargs.ray_init._temp_dir={folder}/ray"]
    else:
        options = [f"+ray_kwargs.ray_init.runtime_env.env_vars.{MARK}={json.dumps(mark)}"]
    try:
        with claimed(Path(folder), mark):
            yield options, folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def claimed(folder: Path, mark: str) -> Iterator[None]:
    """Hold a lock on a file in the folder, which has the job's mark; it ends with this process."""
    path = folder / OWNER
    new = path.with_suffix(".tmp")
    with new.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(mark)
        file.flush()
        new.rename(path)
        yield


def remove_abandoned(root: Path) -> None:
    """End and remove what is left of this user's jobs whose driver was killed."""
    for path in root.glob(f"{PREFIX}*/{OWNER}"):
        with contextlib.suppress(OSError), path.open() as file:  # it is held, or just went
            if os.fstat(file.fileno()).st_uid == os.getuid():
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                end_processes(file.read())
                shutil.rmtree(path.parent, ignore_errors=True)


def end_processes(mark: str) -> None:
    """SIGKILL every process with the mark, until there is none."""
    deadline = time.monotonic() + ENDING_S
    while (found := marked(mark)) and time.monotonic() < deadline:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def marked(mark: str) -> list[int]:
    """The living processes with the mark in their environment."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


CAUSES = {
    "out of memory": "a GPU's memory is full: lower verl.micro_batch_tokens (one whole row is the "
    "least: max_prompt_tokens + max_new_tokens) or verl.gpu_memory, or set  verl.offload=true",
    "No space left": "there is no space left on a disk",
    "in update_weights": "the trainer's weights did not reach the sampler",
    "Total available GPUs": "Ray has fewer GPUs to give than the stage asks for",
    "ActorDiedError": "a process of the job died: killed from outside, or for memory",
    "ActorUnavailableError": "a process of the job does not answer",
}
"""What a log has in it, and what that likely means; the first that is there counts."""


def cause(log: str) -> str:
    """The likely cause of a failure by its log; empty where nobody knows."""
    return next((meaning for sign, meaning in CAUSES.items() if sign in log), "")


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64_000))
        text = file.read().decode("utf-8", "replace")
    return "\n".join(text.splitlines()[-lines:])
