"""The second tier's command: bubblewrap makes the namespaces where an ordinary user may not.

It is started with an empty environment, because what it was started with stays readable in its
own /proc entry whatever it clears; no /proc is mounted inside, and no user namespace can be made.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from cascade_rl.sandbox.tiers import DEVICES, TOOLCHAIN, library_paths

SCRATCH = "/scratch"
"""Not /tmp: the interpreter or this package may lie under that."""
SCRATCH_BYTES = 64 << 20


def command(bwrap: str, package: str, interpreter: Iterable[str], *, compiles: bool) -> list[str]:
    """`interpreter ...` inside new namespaces with the libraries read-only and SCRATCH empty."""
    program, *arguments = interpreter
    program = os.path.realpath(program)
    shown = {*library_paths(), *(TOOLCHAIN if compiles else ()), program, package}
    binds: list[str] = []
    for path in sorted(path for path in shown if os.path.lexists(path)):
        if os.path.islink(path) and path != program:
            binds += ["--symlink", os.readlink(path), path]
        else:
            binds += ["--ro-bind", path, path]
    for path in DEVICES:
        binds += ["--dev-bind", path, path]
    return [
        bwrap, "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534",
        "--disable-userns", "--cap-drop", "ALL", "--die-with-parent", "--new-session",
        *binds, "--size", str(SCRATCH_BYTES), "--tmpfs", SCRATCH, "--remount-ro", "/",
        "--chdir", "/", program, *arguments,
    ]  # fmt: skip
