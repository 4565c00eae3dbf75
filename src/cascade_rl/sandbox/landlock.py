"""Landlock: which paths a process may read, and nothing else, without any privilege.

The second tier's root directory, so to speak: where no mount namespace can be had, a process
restricts itself to the interpreter's libraries. ABI 6 (Linux 6.12) is asked for, since only then
signals and abstract sockets are confined too.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

from cascade_rl.sandbox import kernel

NEEDED_ABI = 6
_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same on every architecture
_VERSION_FLAG, _RULE_PATH_BENEATH = 1, 1
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_WRITE_FILE, _TRUNCATE, _DEVICE_IOCTL = 1 << 1, 1 << 14, 1 << 15
_ALL_FILES = (1 << 16) - 1
_ALL_NETWORK = 3
_ALL_SCOPES = 3
READ = _READ_FILE | _READ_DIR
READ_EXECUTE = READ | _EXECUTE
WRITE = _ALL_FILES & ~_EXECUTE
DEVICE = _READ_FILE | _WRITE_FILE


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("files", ctypes.c_uint64),
        ("network", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("access", ctypes.c_uint64), ("parent", ctypes.c_int32))


def abi() -> int:
    """The kernel's Landlock version; 0 where it has none."""
    try:
        return kernel.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))
    except OSError:
        return 0


def ruleset(rules: Iterable[tuple[str, int]]) -> int:
    """A descriptor for `restrict`: every path not under one of `rules` is out of reach.

    Paths that do not exist are left out. Raises OSError below ABI 6.
    """
    if abi() < NEEDED_ABI:
        raise OSError(f"Landlock ABI {abi()}; {NEEDED_ABI} is needed")
    what = _Ruleset(_ALL_FILES, _ALL_NETWORK, _ALL_SCOPES)
    size = ctypes.c_size_t(ctypes.sizeof(what))
    made = kernel.syscall(_CREATE, ctypes.byref(what), size, ctypes.c_uint32(0))
    for path, access in rules:
        if not os.path.exists(path):
            continue
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        if not os.path.isdir(path):
            access &= _EXECUTE | _READ_FILE | _WRITE_FILE | _TRUNCATE | _DEVICE_IOCTL
        rule = _PathBeneath(access, fd)
        kernel.syscall(
            _ADD_RULE,
            ctypes.c_int(made),
            _RULE_PATH_BENEATH,
            ctypes.byref(rule),
            ctypes.c_uint32(0),
        )
        os.close(fd)
    return made


def restrict(made: int) -> None:
    """Confine this process and all it starts, for good. Needs `no_new_privileges` before."""
    kernel.syscall(_RESTRICT, ctypes.c_int(made), ctypes.c_uint32(0))
