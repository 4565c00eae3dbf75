"""System calls that a candidate may not make, as seccomp filters in the kernel's own bytecode.

Two layers, because a filter costs time to install: `base_filter` goes on once, in the init, and
is inherited; `program_filter` is short and goes on in each process, just before it turns into
the candidate. A refused call fails with EPERM, so that a program sees an ordinary error. With
`fork` and `exec` refused, a limit on one process is a limit on all a program can do.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

from cascade_rl.sandbox import kernel

_X86_64, _AARCH64 = "x86_64", "aarch64"
_AUDIT_ARCH = {_X86_64: 0xC000003E, _AARCH64: 0xC00000B7}

# Never needed by a program, nor by the init that forks it: (name, x86_64, aarch64; -1: has none).
_NEVER = (
    ("ptrace", 101, 117), ("process_vm_readv", 310, 270), ("process_vm_writev", 311, 271),
    ("kcmp", 312, 272), ("pidfd_getfd", 438, 438), ("process_madvise", 440, 440),
    ("process_mrelease", 448, 448), ("move_pages", 279, 239), ("migrate_pages", 256, 238),
    ("io_uring_setup", 425, 425), ("io_uring_enter", 426, 426), ("io_uring_register", 427, 427),
    ("bpf", 321, 280), ("perf_event_open", 298, 241), ("userfaultfd", 323, 282),
    ("memfd_secret", 447, 447), ("keyctl", 250, 219), ("add_key", 248, 217),
    ("request_key", 249, 218), ("kexec_load", 246, 104), ("kexec_file_load", 320, 294),
    ("init_module", 175, 105), ("finit_module", 313, 273), ("delete_module", 176, 106),
    ("open_by_handle_at", 304, 265), ("name_to_handle_at", 303, 264), ("pivot_root", 155, 41),
    ("chroot", 161, 51), ("move_mount", 429, 429), ("open_tree", 428, 428),
    ("fsopen", 430, 430), ("fsconfig", 431, 431), ("fsmount", 432, 432), ("fspick", 433, 433),
    ("mount_setattr", 442, 442), ("setns", 308, 268), ("unshare", 272, 97),
    ("socket", 41, 198), ("connect", 42, 203), ("bind", 49, 200), ("listen", 50, 201),
    ("shmget", 29, 194), ("shmat", 30, 196), ("shmctl", 31, 195), ("semget", 64, 190),
    ("semop", 65, 193), ("semctl", 66, 191), ("semtimedop", 220, 192), ("msgget", 68, 186),
    ("msgsnd", 69, 189), ("msgrcv", 70, 188), ("msgctl", 71, 187), ("mq_open", 240, 180),
    ("mq_unlink", 241, 181), ("setpriority", 141, 140), ("sched_setparam", 142, 118),
    ("sched_setscheduler", 144, 119), ("sched_setaffinity", 203, 122),
    ("sched_setattr", 314, 274), ("ioprio_set", 251, 30), ("personality", 135, 92),
    ("quotactl", 179, 60), ("quotactl_fd", 443, 443), ("acct", 163, 89), ("syslog", 103, 116),
    ("swapon", 167, 224), ("swapoff", 168, 225), ("reboot", 169, 142),
    ("sethostname", 170, 161), ("setdomainname", 171, 162), ("settimeofday", 164, 170),
    ("clock_settime", 227, 112), ("clock_adjtime", 305, 266), ("adjtimex", 159, 171),
    ("vhangup", 153, 58), ("fanotify_init", 300, 262), ("iopl", 172, -1), ("ioperm", 173, -1),
    ("modify_ldt", 154, -1), ("lookup_dcookie", 212, 18), ("tkill", 200, 130),
    ("rt_sigqueueinfo", 129, 138), ("rt_tgsigqueueinfo", 297, 240), ("inotify_init", 253, -1),
    ("inotify_init1", 294, 26), ("inotify_add_watch", 254, 27), ("io_setup", 206, 0),
    ("open_tree_attr", 467, 467),
)  # fmt: skip
# What the init itself still does, so refused in the program's own layer.
_INIT_ONLY = (
    ("mount", 165, 40), ("umount2", 166, 39), ("pidfd_open", 434, 434),
    ("pidfd_send_signal", 424, 424), ("setxattr", 188, 5), ("lsetxattr", 189, 6),
    ("fsetxattr", 190, 7), ("setxattrat", 463, 463), ("memfd_create", 319, 279),
)  # fmt: skip
# What changes a file without writing to it, which Landlock does not know of.
_ATTRIBUTES = (
    ("chmod", 90, -1), ("fchmod", 91, 52), ("fchmodat", 268, 53), ("fchmodat2", 452, 452),
    ("chown", 92, -1), ("fchown", 93, 55), ("lchown", 94, -1), ("fchownat", 260, 54),
    ("utime", 132, -1), ("utimes", 235, -1), ("futimesat", 261, -1), ("utimensat", 280, 88),
    ("removexattr", 197, 14), ("lremovexattr", 198, 15), ("fremovexattr", 199, 16),
    ("removexattrat", 466, 466), ("file_setattr", 469, 469),
)  # fmt: skip
_START_PROCESS = (("fork", 57, -1), ("vfork", 58, -1))
_EXECUTE = (("execve", 59, 221), ("execveat", 322, 281))
_SPECIAL = {
    "clone": (56, 220), "clone3": (435, 435), "kill": (62, 129), "tgkill": (234, 131),
    "prlimit64": (302, 261), "socketpair": (53, 199), "fcntl": (72, 25), "ioctl": (16, 29),
}  # fmt: skip

_CLONE_THREAD, _CLONE_FILES = 0x10000, 0x400
_SET_OWNER = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX: signals to whom one likes
_SET_OWNER_IOCTL = (0x8901, 0x8902, 0x5412)  # FIOSETOWN, SIOCSPGRP, TIOCSTI
_EPERM, _ENOSYS = 1, 38
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
# Bytecode: load a word, return, jump if equal, jump if any of these bits, and with a constant.
_LOAD, _RETURN, _JUMP_EQUAL, _JUMP_SET, _AND = 0x20, 0x06, 0x15, 0x45, 0x54
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
Code = list[tuple[int, int, int, int]]


def _numbers(table: Iterable[tuple[str, int, int]]) -> list[int]:
    arm = os.uname().machine == _AARCH64
    own = [there if arm else here for _, here, there in table]
    return [number for number in own if number >= 0]


def _special(name: str) -> int:
    return _SPECIAL[name][os.uname().machine == _AARCH64]


def _prologue() -> Code:
    """End a process that calls by another architecture's numbers; then load the number."""
    arch = _AUDIT_ARCH.get(os.uname().machine)
    if arch is None:
        raise OSError(f"no seccomp filter for {os.uname().machine}")
    code: Code = [(_LOAD, 0, 0, _ARCH_AT), (_JUMP_EQUAL, 1, 0, arch), (_RETURN, 0, 0, _KILL)]
    code.append((_LOAD, 0, 0, _NUMBER_AT))
    if os.uname().machine == _X86_64:  # x32 calls have the same architecture and bit 30
        code += [(_JUMP_SET, 0, 1, 0x40000000), (_RETURN, 0, 0, _KILL)]
    return code


def _refuse(numbers: Iterable[int]) -> Code:
    code: Code = []
    for number in numbers:
        code += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    return code


def _argument(number: int, index: int, test: Code) -> Code:
    """`test` on the low word of an argument of one call; it ends by returning."""
    body: Code = [(_LOAD, 0, 0, _ARGUMENTS_AT + 8 * index), *test]
    return [(_JUMP_EQUAL, 0, len(body), number), *body]


def _allow_if_equal(value: int) -> Code:
    return [
        (_JUMP_EQUAL, 0, 1, value),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | _EPERM),
    ]


def _refuse_if_any(values: Iterable[int]) -> Code:
    refused = [(_JUMP_EQUAL, 0, 1, value) for value in values]
    code = [part for test in refused for part in (test, (_RETURN, 0, 0, _ERRNO | _EPERM))]
    return [*code, (_RETURN, 0, 0, _ALLOW)]


def _pack(code: Code) -> bytearray:
    return bytearray().join(struct.pack("HBBI", *instruction) for instruction in code)


def base_filter() -> bytearray:
    """For the init: what neither it nor anything under it ever needs."""
    # AF_UNIX (argument 0) and SOCK_STREAM (argument 1), which reaches its pair only.
    pair: Code = [
        (_JUMP_EQUAL, 1, 0, 1),
        (_RETURN, 0, 0, _ERRNO | _EPERM),
        (_LOAD, 0, 0, _ARGUMENTS_AT + 8),
        (_AND, 0, 0, 0xF),
        *_allow_if_equal(1),
    ]
    code = _prologue() + _refuse(_numbers(_NEVER))
    code += [(_JUMP_EQUAL, 0, 1, _special("clone3")), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
    code += _argument(_special("socketpair"), 0, pair)
    code += _argument(_special("fcntl"), 1, _refuse_if_any(_SET_OWNER))
    code += _argument(_special("ioctl"), 1, _refuse_if_any(_SET_OWNER_IOCTL))
    return _pack([*code, (_RETURN, 0, 0, _ALLOW)])


class ProgramFilter:
    """For a candidate: threads, but no process; signals to itself; exec only where it is one.

    `may_start` admits fork and exec (a compiler's driver), `may_execute` exec alone;
    `may_change_attributes` modes, owners and times of files.
    """

    def __init__(
        self,
        *,
        may_start: bool = False,
        may_execute: bool = False,
        may_change_attributes: bool = True,
    ) -> None:
        code = _prologue() + _refuse(_numbers(_INIT_ONLY))
        if not may_change_attributes:
            code += _refuse(_numbers(_ATTRIBUTES))
        if not may_start:
            code += _refuse(_numbers(_START_PROCESS))
            threads: Code = [  # of this process, with its descriptors
                (_JUMP_SET, 0, 2, _CLONE_THREAD),
                (_JUMP_SET, 0, 1, _CLONE_FILES),
                (_RETURN, 0, 0, _ALLOW),
                (_RETURN, 0, 0, _ERRNO | _EPERM),
            ]
            code += _argument(_special("clone"), 0, threads)
        if not (may_start or may_execute):
            code += _refuse(_numbers(_EXECUTE))
        code += _argument(_special("prlimit64"), 0, _allow_if_equal(0))
        own_pid: list[int] = []
        for name in ("kill", "tgkill"):
            code += _argument(_special(name), 0, _allow_if_equal(0))
            own_pid.append(8 * (len(code) - 3) + 4)
        self._program = _Program(_pack([*code, (_RETURN, 0, 0, _ALLOW)]))
        self._own_pid = [ctypes.c_uint32.from_buffer(self._program.code, at) for at in own_pid]

    def install(self) -> None:
        """In the process that it is for: its own pid goes into the filter."""
        pid = os.getpid()
        for place in self._own_pid:
            place.value = pid
        kernel.set_filter(self._program.address)


class _Header(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


class _Program:
    """Bytecode where the kernel can find it; made before the fork, so that installing is short."""

    def __init__(self, code: bytearray) -> None:
        self.code = code
        self._buffer = (ctypes.c_char * len(code)).from_buffer(code)
        self._header = _Header(len(code) // 8, ctypes.addressof(self._buffer))
        self.address = ctypes.addressof(self._header)


def install(code: bytearray) -> None:
    """Put a filter on this process and all it starts, for good."""
    kernel.no_new_privileges()
    program = _Program(code)  # held until the kernel has read it
    kernel.set_filter(program.address)
