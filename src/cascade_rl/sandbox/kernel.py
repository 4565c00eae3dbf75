"""The few Linux calls that Python has no name for: namespaces, mounts, capabilities, clocks.

Every call raises OSError on failure; which of them succeed on this machine decides the tier.
"""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Any

CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
MNT_DETACH = 2

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _PR_SET_CHILD_SUBREAPER = 1, 4, 38, 36
_PR_SET_SECCOMP, _PR_SET_KEEPCAPS = 22, 8
# system call numbers: clone, pivot_root, capget, capset, mount_setattr (x86_64, aarch64)
_NUMBERS = {"x86_64": (56, 155, 125, 126, 442), "aarch64": (220, 41, 90, 91, 442)}
_CLONE, _PIVOT_ROOT, _CAPGET, _CAPSET, _MOUNT_SETATTR = _NUMBERS.get(
    os.uname().machine, (-1, -1, -1, -1, -1)
)

_LIBC = ctypes.PyDLL(None, use_errno=True)  # PyDLL keeps the GIL, which a raw clone needs
_API = ctypes.pythonapi


def _check(result: int, what: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result


def syscall(number: int, *arguments: Any) -> int:
    """Any system call; its result."""
    return _check(int(_LIBC.syscall(ctypes.c_long(number), *arguments)), f"system call {number}")


def unshare(flags: int) -> None:
    """Put this process into new namespaces."""
    _check(_LIBC.unshare(ctypes.c_int(flags)), "unshare")


def fork(flags: int = 0) -> int:
    """`os.fork` without Python's fork handlers, for a process with one thread that imports
    nothing meanwhile: a third of the time, and no new seed for `random`.

    `CLONE_PARENT` in flags makes the child a sibling.
    """
    exit_signal = 0 if flags & CLONE_PARENT else signal.SIGCHLD
    pid = int(_LIBC.syscall(_CLONE, ctypes.c_long(flags | exit_signal), 0, 0, 0, 0))
    if pid < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"clone: {os.strerror(error)}")
    return pid


def clone(flags: int) -> int:
    """`os.fork` into new namespaces: 0 in the child, the child's pid in the parent."""
    _API.PyOS_BeforeFork()
    pid = int(_LIBC.syscall(_CLONE, ctypes.c_long(flags | signal.SIGCHLD), 0, 0, 0, 0))
    error = ctypes.get_errno()
    if pid == 0:
        _API.PyOS_AfterFork_Child()
        return 0
    _API.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(error, f"clone: {os.strerror(error)}")
    return pid


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2)."""
    _check(
        _LIBC.mount(
            source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()
        ),
        f"mount {target}",
    )


def unmount(target: str) -> None:
    """Detach a mount, busy or not."""
    _check(_LIBC.umount2(target.encode(), MNT_DETACH), f"umount {target}")


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def make_read_only(target: str) -> None:
    """Read-only and no set-uid, for a mount and every mount under it (Linux 5.12)."""
    attributes = _MountAttr(0x1 | 0x2, 0, 0, 0)  # MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID
    at_recursive, at_fdcwd = 0x8000, -100
    result = _LIBC.syscall(
        _MOUNT_SETATTR,
        at_fdcwd,
        target.encode(),
        at_recursive,
        ctypes.byref(attributes),
        ctypes.sizeof(attributes),
    )
    _check(result, f"mount_setattr {target}")


def pivot_root(new_root: str) -> None:
    """Make `new_root` (a mount point) this mount namespace's root and forget the old one."""
    os.chdir(new_root)
    _check(_LIBC.syscall(_PIVOT_ROOT, b".", b"."), "pivot_root")
    unmount(".")
    os.chdir("/")


_CAP_DAC_READ_SEARCH = 2


def drop_capabilities(*, keep_reading: bool = False) -> None:
    """Give up capabilities for good; no program executed later can regain one.

    `keep_reading` keeps, if it is there, the one to read what file modes forbid, which another
    layer confines to paths.
    """
    no_new_privileges()
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    data = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, twice
    if keep_reading:
        _check(_LIBC.syscall(_CAPGET, header, data), "capget")
        kept = data[1] & (1 << _CAP_DAC_READ_SEARCH)
        data = (ctypes.c_uint32 * 6)(kept, kept)
    _check(_LIBC.syscall(_CAPSET, header, data), "capset")


def keep_capabilities() -> None:
    """Let the permitted capabilities survive the next change of uid."""
    _prctl(_PR_SET_KEEPCAPS, 1)


def _prctl(option: int, value: int) -> None:
    _check(_LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl {option}")


def no_new_privileges() -> None:
    """Set-uid programs stop granting anything."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def set_filter(program: int) -> None:
    """Install the seccomp filter at that address."""
    _check(_LIBC.prctl(_PR_SET_SECCOMP, 2, ctypes.c_ulong(program), 0, 0), "prctl seccomp")


def set_dumpable(dumpable: bool) -> None:
    """Whether others of this uid may trace this process and read its /proc entry."""
    _prctl(_PR_SET_DUMPABLE, int(dumpable))


def die_with_parent() -> None:
    """SIGKILL this process when its parent dies."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Descendants whose parent ended become children of this process."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def cpu_seconds(pid: int) -> float:
    """Processor time of another process and its threads; 0 once it is gone."""
    spec = _TimeSpec()
    clock = ctypes.c_int((~pid << 3) | 2)  # the encoding clock_getcpuclockid(3) uses
    if _LIBC.clock_gettime(clock, ctypes.byref(spec)) != 0:
        return 0.0
    return float(spec.seconds) + float(spec.nanoseconds) * 1e-9
