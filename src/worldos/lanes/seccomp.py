"""Which system calls code of others may make: a filter in the kernel, put on before the first byte of theirs is read.

Three groups. What only serves to leave a sandbox or to widen the kernel's surface (tracing others, mounting, namespaces, keys,
modules, clocks, io_uring) gives EPERM, as it would to anybody without rights. ``clone3``, whose flags a filter cannot read, and
all calls that are newer than this table give ENOSYS, so that programs fall back to what can be judged. Some calls are judged by
an argument: a namespace flag of ``clone``, the family of a socket, the request of an ``ioctl``, somebody else's limits.
A filter can be taken off by nobody, and holds for all that is started under it.

Words of the program are 8 bytes: code, jump if true, jump if false, constant. Only the low halves of arguments are looked at:
the kernel itself takes these as 32 bits.
Source: seccomp(2); Linux Documentation/userspace-api/seccomp_filter.rst; numbers: asm/unistd_64.h, asm-generic/unistd.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from typing import Final, NamedTuple

_libc: Final = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS: Final = 38
PR_SET_SECCOMP: Final = 22
MODE_FILTER: Final = 2
NUMBER_MAX: Final = 456  # futex_requeue, Linux 6.7; what is newer does not exist for code of others
X32_BIT: Final = 0x4000_0000  # calls of a third kind of x86 program: none of ours
NEW_NAMESPACES: Final = 0x7E02_0080  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET} and NEWTIME
FAMILIES: Final = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK; vsock, packet, alg and the like are none
NETLINK_ROUTE: Final = 0
IOCTLS: Final = (0x5412, 0x541C)  # TIOCSTI and TIOCLINUX: putting words into a terminal's mouth
PERSONALITIES: Final = (0, 0xFFFF_FFFF)  # the usual one, and the question which it is

# name: number on x86_64, number on aarch64 (0xFFFF: there is none)
_NONE: Final = 0xFFFF
DENIED: Final[dict[str, tuple[int, int]]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "create_module": (174, _NONE),
    "query_module": (178, _NONE),
    "get_kernel_syms": (177, _NONE),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "unshare": (272, 97),
    "setns": (308, 268),
    "iopl": (172, _NONE),
    "ioperm": (173, _NONE),
    "modify_ldt": (154, _NONE),
    "nfsservctl": (180, 42),
    "vhangup": (153, 58),
    "syslog": (103, 116),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "lookup_dcookie": (212, 18),
    "uselib": (134, _NONE),
    "ustat": (136, _NONE),
    "sysfs": (139, _NONE),
    "_sysctl": (156, _NONE),
}
CLONE: Final = (56, 220)
CLONE3: Final = (435, 435)
SOCKET: Final = (41, 198)
IOCTL: Final = (16, 29)
PERSONALITY: Final = (135, 92)
PRLIMIT: Final = (302, 261)


class Machine(NamedTuple):
    """A kind of processor: its column in the tables, and how the kernel names it (AUDIT_ARCH)."""

    column: int
    audit: int


MACHINES: Final = {
    "x86_64": Machine(0, 0xC000_003E),
    "aarch64": Machine(1, 0xC000_00B7),
}

LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
JUMP_EQUAL: Final = 0x15
JUMP_GREATER: Final = 0x25
JUMP_SET: Final = 0x45
RETURN: Final = 0x06
ALLOW: Final = 0x7FFF_0000
KILL: Final = 0x8000_0000
REFUSE: Final = 0x0005_0000 | errno.EPERM
UNKNOWN: Final = 0x0005_0000 | errno.ENOSYS
AT_NUMBER: Final = 0
AT_AUDIT: Final = 4
AT_ARGUMENT: Final = 16  # 8 bytes each; the low half comes first on both machines


def _word(code: int, constant: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, constant)


def _judge(number: int, checks: list[bytes]) -> bytes:
    """Return words that run ``checks`` for one call, and leave the number where it was for all others."""
    return _word(JUMP_EQUAL, number, 0, len(checks)) + b"".join(checks)


def _only(argument: int, allowed: tuple[int, ...]) -> list[bytes]:
    """Return checks that allow a call if the argument is one of these."""
    count = len(allowed)
    jumps = [_word(JUMP_EQUAL, value, count - at, 0) for at, value in enumerate(allowed)]
    return [_word(LOAD, AT_ARGUMENT + 8 * argument), *jumps, _word(RETURN, REFUSE), _word(RETURN, ALLOW)]


def _except(argument: int, refused: tuple[int, ...]) -> list[bytes]:
    """Return checks that refuse a call if the argument is one of these."""
    count = len(refused)
    jumps = [_word(JUMP_EQUAL, value, count - at, 0) for at, value in enumerate(refused)]
    return [_word(LOAD, AT_ARGUMENT + 8 * argument), *jumps, _word(RETURN, ALLOW), _word(RETURN, REFUSE)]


def _socket() -> list[bytes]:
    """Return checks that allow the families, of netlink only what asks for the own addresses and routes."""
    plain = tuple(family for family in FAMILIES if family != 16)
    jumps = [_word(JUMP_EQUAL, family, len(plain) + 3 - at, 0) for at, family in enumerate(plain)]
    return [
        _word(LOAD, AT_ARGUMENT),
        *jumps,
        _word(JUMP_EQUAL, 16, 0, 2),
        _word(LOAD, AT_ARGUMENT + 16),
        _word(JUMP_EQUAL, NETLINK_ROUTE, 1, 0),
        _word(RETURN, REFUSE),
        _word(RETURN, ALLOW),
    ]


def program(machine: str) -> bytes:
    """Return the filter for a kind of processor. Raises KeyError for one that this table does not know."""
    column, audit = MACHINES[machine]
    words = _word(LOAD, AT_AUDIT) + _word(JUMP_EQUAL, audit, 1, 0) + _word(RETURN, KILL)
    words += _word(LOAD, AT_NUMBER)
    words += _word(JUMP_GREATER, NUMBER_MAX, 0, 1) + _word(RETURN, UNKNOWN)  # X32_BIT is greater, too
    for numbers in DENIED.values():
        if numbers[column] != _NONE:
            words += _word(JUMP_EQUAL, numbers[column], 0, 1) + _word(RETURN, REFUSE)
    words += _judge(CLONE3[column], [_word(RETURN, UNKNOWN)])
    flags = [_word(LOAD, AT_ARGUMENT), _word(JUMP_SET, NEW_NAMESPACES, 0, 1)]
    words += _judge(CLONE[column], [*flags, _word(RETURN, REFUSE), _word(RETURN, ALLOW)])
    words += _judge(SOCKET[column], _socket())
    words += _judge(IOCTL[column], _except(1, IOCTLS))
    words += _judge(PERSONALITY[column], _only(0, PERSONALITIES))
    words += _judge(PRLIMIT[column], _only(0, (0,)))
    return words + _word(RETURN, ALLOW)


def is_known(machine: str = "") -> bool:
    """Tell whether there is a filter for this processor."""
    return (machine or platform.machine()) in MACHINES


class _Program(ctypes.Structure):
    """``struct sock_fprog``: how many words, and where."""

    _fields_ = (("count", ctypes.c_ushort), ("words", ctypes.c_void_p))


def install() -> None:
    """Put the filter on this process and all that it starts from now on; nothing takes it off. Raises OSError."""
    words = program(platform.machine())
    held = ctypes.create_string_buffer(words, len(words))
    filled = _Program(len(words) // 8, ctypes.cast(held, ctypes.c_void_p))
    if _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or _libc.prctl(
        PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(filled), 0, 0
    ):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
