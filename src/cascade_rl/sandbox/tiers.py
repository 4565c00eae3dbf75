"""The tiers of isolation, best first, and how a process enters its own.

T1-namespaces    mount, pid, network and ipc namespaces, a root of libraries, seccomp
T1b-bubblewrap   the same made by `bwrap`, for users who may not make namespaces themselves
T2-landlock      no namespaces: Landlock leaves the libraries readable, seccomp the rest refused
T3-rlimits       resource limits only: bounds a program, hides nothing from it

What a tier needs once is made in its init (`Confinement`); each process it forks then enters.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import time
from typing import Any, Literal

from cascade_rl.sandbox import kernel, landlock, seccomp

Request = dict[str, Any]
What = Literal["program", "binary", "compiler"]

T1, T1B, T2, T3 = "T1-namespaces", "T1b-bubblewrap", "T2-landlock", "T3-rlimits"
TIERS = (T1, T1B, T2, T3)
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
TOOLCHAIN = ("/bin", "/usr/bin", "/usr/include", "/usr/libexec")
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
FIRST_UID = 1 << 30
"""From here on, users that root makes up for one sandbox each, so that limits are its own."""
ENTRIES = 4096
"""Files that a program may make beside its own; more are not removed one by one."""
OURS = 6
"""Processes of ours that a limit on a user's processes counts too."""


def library_paths() -> list[str]:
    """What a program may read: the interpreter's and the system's libraries."""
    own = {os.path.join(sys.base_prefix, name) for name in ("lib", "lib64")}
    return sorted(own.union(LIBRARIES))


class Confinement:
    """One tier's filters, rulesets and scratch directory, made in the init, once.

    Making it puts the first filter on the init itself.
    """

    def __init__(self, tier: str, scratch: str) -> None:
        self.tier = tier
        self.scratch = Scratch(tier, scratch)
        self._tasks, self._counted = 0, -1.0
        self._filters: dict[What, seccomp.ProgramFilter] = {}
        self._rulesets: dict[What, int] = {}
        if tier == T3:
            return
        if tier == T2:
            reads = [(path, landlock.READ_EXECUTE) for path in library_paths()]
            reads += [(path, landlock.DEVICE) for path in DEVICES]
            tools = [(path, landlock.READ_EXECUTE) for path in TOOLCHAIN]
            own = landlock.ruleset([*reads, (scratch, landlock.READ)])
            compiling = landlock.ruleset([*reads, *tools, (scratch, landlock.WRITE)])
            self._rulesets = {"program": own, "binary": own, "compiler": compiling}
        self._filters = {
            "program": seccomp.ProgramFilter(may_change_attributes=tier != T2),
            "binary": seccomp.ProgramFilter(may_execute=True, may_change_attributes=tier != T2),
            "compiler": seccomp.ProgramFilter(may_start=True),
        }
        seccomp.install(seccomp.base_filter())

    @property
    def one_process(self) -> bool:
        """Whether a program cannot start another process."""
        return bool(self._filters)

    def others(self) -> int:
        """Tasks that the kernel's limit counts beside ours: all of an ordinary user's."""
        if self.tier in (T1, T1B) or os.getuid() >= FIRST_UID:
            return 0
        if time.monotonic() > self._counted + 1:
            self._tasks, self._counted = _tasks_of(os.getuid()), time.monotonic()
        return self._tasks

    def restrict(self, what: What) -> None:
        """In a forked process, first: the paths it may reach."""
        if self._rulesets:
            kernel.no_new_privileges()
            landlock.restrict(self._rulesets[what])

    def limit(self, request: Request, what: What, seconds: int) -> None:
        """In a forked process: limits and privileges."""
        memory, size = request["memory_mb"] << 20, request["output_bytes"] + 1
        tasks = request["processes"] + OURS + self._tasks
        for kind, limit in (
            (resource.RLIMIT_AS, memory),
            (resource.RLIMIT_FSIZE, size),
            (resource.RLIMIT_NPROC, tasks),
            (resource.RLIMIT_NOFILE, 64),
            (resource.RLIMIT_CORE, 0),
        ):
            resource.setrlimit(kind, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        if what == "binary":  # contest programs recurse deeply, and are allowed to
            _, hard = resource.getrlimit(resource.RLIMIT_STACK)
            deep = memory // 2 if hard == resource.RLIM_INFINITY else min(memory // 2, hard)
            resource.setrlimit(resource.RLIMIT_STACK, (deep, hard))
        kernel.drop_capabilities(keep_reading=self.tier in (T2, T3))
        kernel.set_dumpable(False)

    def close(self, what: What) -> None:
        """In a forked process, last: refuse the system calls that a candidate may not make."""
        if self._filters:
            self._filters[what].install()


def _tasks_of(uid: int) -> int:
    """Threads of all processes of a user."""
    count = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == uid:
                    count += len(os.listdir(f"/proc/{name}/task"))
    return count


class Scratch:
    """The current directory of programs, as new for each: files of an earlier one are gone.

    Size-limited memory in T1 and T1b; in T2 it cannot be written to; in T3 it is on disk.
    """

    def __init__(self, tier: str, path: str) -> None:
        self._tier, self.path = tier, path
        self._room = (0, 0)
        """MB and files for which there is room."""

    def renew(self, files: list[list[str]], size_mb: int) -> None:
        """Only these (name, text) files, whatever an earlier program left; then the cwd.

        Raises OSError or ValueError where they cannot be written there.
        """
        room = (size_mb, ENTRIES + 2 * len(files))  # a folder for each, at most
        if self._tier != T1:
            self._remove_all()
        elif self._room != room or os.listdir(self.path):
            self._mount(*room)
        self._room = room
        os.chdir(self.path)
        os.chmod(self.path, 0o700)
        for name, text in files:
            if name.startswith("/") or ".." in name.split("/"):
                raise ValueError(f"{name!r} leaves the directory")
            os.makedirs(os.path.dirname(os.path.join(self.path, name)), exist_ok=True)
            with open(name, "w", encoding="utf-8", errors="surrogatepass", newline="") as file:
                file.write(text)
        os.utime(self.path, ns=(0, 0))

    def remove(self) -> None:
        """Empty it and remove it."""
        self._remove_all()
        os.rmdir(self.path)

    def _mount(self, size_mb: int, entries: int) -> None:
        os.chdir("/")
        if self._room != (0, 0):
            kernel.unmount(self.path)
        options = f"mode=0700,size={size_mb}m,nr_inodes={entries}"
        kernel.mount("tmpfs", self.path, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, options)

    def _remove_all(self) -> None:
        """Empty the directory, however deep and closed what a program made there is.

        What lies in a directory moves up to the top until nothing is left, so that nesting
        costs no recursion.
        """
        os.chmod(self.path, 0o700)
        token, count, cleaned = time.monotonic_ns(), 0, 0
        while entries := list(os.scandir(self.path)):
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.path)
                    continue
                os.chmod(entry.path, 0o700)
                for child in list(os.scandir(entry.path)):
                    if child.is_dir(follow_symlinks=False):
                        os.chmod(child.path, 0o700)
                    os.rename(child.path, os.path.join(self.path, f"{token}-{count}"))
                    count += 1
                os.rmdir(entry.path)
            cleaned += len(entries)
            if self._tier == T1B and cleaned > max(ENTRIES, self._room[1]):
                os._exit(1)  # a mount like new is had by starting anew, and sooner
