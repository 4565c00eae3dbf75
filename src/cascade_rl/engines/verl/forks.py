"""Ray's workers as forks of the job's first process, which has imported verl by then.

Ray starts an interpreter for every worker, and ten seconds of imports in each of a dozen of them
are most of a short stage. The rule: a fork runs what Ray would have started, with its arguments,
environment and folder; and nothing forks once there is a thread. On processors only.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import itertools
import json
import os
import runpy
import signal
import socket
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NoReturn

SOCKET = "CASCADE_VERL_FORKS"
"""In the job's environment: where its first process is asked for forks."""

IDS_APART = 10_000
"""Random ids that a worker may draw before it meets those of the next fork."""
FIRST_JOB = "01000000"
"""Ray's name for the first driver of a cluster; here it is the only one."""


def start() -> bool:
    """Fork a copy of this process that forks workers from now on; False where it has threads.

    Ray reads two variables as it is loaded, and a fork does not load it again.
    """
    assert "ray" not in sys.modules
    known = {"RAY_JOB_ID": FIRST_JOB, "RAY_RAYLET_PID": str(os.getpid())}
    os.environ.update(known)
    _import_what_workers_need()
    for name in known:
        del os.environ[name]
    if len(os.listdir("/proc/self/task")) > 1:
        return False
    address = str(Path(tempfile.gettempdir()) / "forks")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        if os.fork() == 0:
            serve(listener)
    os.environ[SOCKET] = address
    from cascade_rl.engines.verl import patches

    patches.workers_that_begin_as(Path(__file__))
    return True


def _import_what_workers_need() -> None:
    from ray._private.workers import setup_worker as setup_worker

    from cascade_rl.engines.verl import agent as agent
    from cascade_rl.engines.verl import dataset as dataset
    from cascade_rl.engines.verl import reward as reward
    from cascade_rl.engines.verl import runner as runner
    from cascade_rl.engines.verl import trainer as trainer


def serve(listener: socket.socket) -> NoReturn:
    """Fork for everyone who asks, until the job's first process ends."""
    from cascade_rl.engines.verl.parent import die_with_parent

    die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    gc.freeze()
    for number in itertools.count(1):
        asking, _ = listener.accept()
        with asking:
            asked = asking.makefile("rb").read()
            if asked and os.fork() == 0:
                die_with_parent()
                listener.close()
                asking.close()
                become(number, *json.loads(asked))
    raise AssertionError("counting never ends")


def become(number: int, arguments: list[str], environment: dict[str, str], folder: str) -> NoReturn:
    """Be the worker: what Ray's `setup_worker.py` does, without a new interpreter."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        gc.unfreeze()
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        _run(number, arguments)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _run(number: int, arguments: list[str]) -> None:
    import numpy as np
    from ray._private.runtime_env.context import RuntimeEnvContext
    from ray._private.utils import update_envs
    from ray._private.workers.setup_worker import parser
    from ray._raylet import UniqueID

    np.random.seed()  # a fork has its parent's state
    for _ in range(number * IDS_APART):  # so has Ray's generator of ids, which cannot be seeded
        UniqueID.from_random()
    given, rest = parser.parse_known_args(arguments)
    context = RuntimeEnvContext.deserialize(given.serialized_runtime_env_context or "{}")
    update_envs(context.env_vars)
    sys.argv = rest
    runpy.run_path(rest[0], run_name="__main__")


def ask() -> None:
    """In the process that Ray starts: have the worker forked instead."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(os.environ[SOCKET])
        server.sendall(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]).encode())
        server.shutdown(socket.SHUT_WR)
        server.recv(1)  # forked: the other end is closed


if __name__ == "__main__":
    ask()
