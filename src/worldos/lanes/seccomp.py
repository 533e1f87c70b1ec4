"""Which system calls code of others may make: a filter in the kernel, put on before the first byte of theirs is read.

Three groups. What only serves to leave a sandbox or to widen the kernel's surface (tracing others, mounting, namespaces, keys,
modules, clocks, io_uring) gives EPERM, as it would to anybody without rights. ``clone3``, whose flags a filter cannot read, and
all calls that are newer than this table give ENOSYS, so that programs fall back to what can be judged. Some calls are judged by
an argument: a namespace flag of ``clone``, the family and protocol of a socket, the request of an ``ioctl``, somebody else's
limits, a better place at the disk. ``sync`` is answered without being done: it writes out what others have, too, and what is in
a sandbox is gone after a crash anyway. A filter can be taken off by nobody, and holds for all that is started under it.

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
UNIX: Final = 1  # the families that there are; vsock, packet, alg and the like are none
INTERNET: Final = (2, 10)
NETLINK: Final = 16
NETLINK_ROUTE: Final = 0
SOCKET_TYPE: Final = 0xF  # of the word that has flags as well
# Streams and datagrams; other types load modules of the kernel that nobody has looked at for long.
SOCKET_TYPES: Final = (1, 2)
PROTOCOLS: Final = (0, 6, 17)  # of the family's own choice, TCP, UDP; SCTP, DCCP, L2TP and the like are none
MSG_OOB: Final = 1  # the way out of Chrome's sandbox in 2025 (CVE-2025-38236); nobody uses it
F_SETLEASE: Final = 1024  # lets whoever opens the file for writing wait
IDLE_CLASS: Final = 3 << 13  # of the disk's scheduler
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
    "io_setup": (206, 0),  # from a pool that all of the machine shares
    "memfd_secret": (447, 447),  # while there is one the machine cannot hibernate
    "uselib": (134, _NONE),
    "ustat": (136, _NONE),
    "sysfs": (139, _NONE),
    "_sysctl": (156, _NONE),
}
CLONE: Final = (56, 220)
CLONE3: Final = (435, 435)
SOCKET: Final = (41, 198)
SOCKETPAIR: Final = (53, 199)
SENDING: Final[dict[tuple[int, int], int]] = {  # calls that send or take messages, and which argument has their flags
    (44, 206): 3,  # sendto
    (45, 207): 3,  # recvfrom
    (46, 211): 2,  # sendmsg
    (47, 212): 2,  # recvmsg
    (299, 243): 3,  # recvmmsg
    (307, 269): 3,  # sendmmsg
}
SYNC: Final = ((162, 81), (306, 267))  # sync, syncfs
FCNTL: Final = (72, 25)
IOPRIO_SET: Final = (251, 30)
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
AND: Final = 0x54
RETURN: Final = 0x06
ALLOW: Final = 0x7FFF_0000
KILL: Final = 0x8000_0000
REFUSE: Final = 0x0005_0000 | errno.EPERM
UNKNOWN: Final = 0x0005_0000 | errno.ENOSYS
NO_PROTOCOL: Final = 0x0005_0000 | errno.EPROTONOSUPPORT
NO_OOB: Final = 0x0005_0000 | errno.EOPNOTSUPP
DONE: Final = 0x0005_0000  # an error that is none: the call returns 0
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
    """Return checks that allow the families: TCP and UDP of the internet's, of netlink what asks for own addresses and routes."""
    internet = [
        _word(LOAD, AT_ARGUMENT + 8),
        _word(AND, SOCKET_TYPE),
        *_among(SOCKET_TYPES, [_word(RETURN, NO_PROTOCOL)]),
        _word(LOAD, AT_ARGUMENT + 16),
        *_among(PROTOCOLS, [_word(RETURN, NO_PROTOCOL)]),
        _word(RETURN, ALLOW),
    ]
    netlink = [
        _word(LOAD, AT_ARGUMENT + 16),
        _word(JUMP_EQUAL, NETLINK_ROUTE, 1, 0),
        _word(RETURN, REFUSE),
        _word(RETURN, ALLOW),
    ]
    return [
        _word(LOAD, AT_ARGUMENT),
        _word(JUMP_EQUAL, UNIX, 0, 1),
        _word(RETURN, ALLOW),
        _word(JUMP_EQUAL, NETLINK, 0, len(netlink)),
        *netlink,
        *_among(INTERNET, [_word(RETURN, REFUSE)]),
        *internet,
    ]


def _among(values: tuple[int, ...], otherwise: list[bytes]) -> list[bytes]:
    """Return checks that go on behind them if what is loaded is one of these, and else do something that ends."""
    count = len(values)
    return [
        *(_word(JUMP_EQUAL, value, count - at - 1 + len(otherwise), 0) for at, value in enumerate(values)),
        *otherwise,
    ]


def _without(argument: int, flag: int, answer: int) -> list[bytes]:
    """Return checks that allow a call without a flag."""
    return [
        _word(LOAD, AT_ARGUMENT + 8 * argument),
        _word(JUMP_SET, flag, 0, 1),
        _word(RETURN, answer),
        _word(RETURN, ALLOW),
    ]


def program(machine: str) -> bytes:
    """Return the filter for a kind of processor. Raises KeyError for one that this table does not know."""
    column, audit = MACHINES[machine]
    words = _word(LOAD, AT_AUDIT) + _word(JUMP_EQUAL, audit, 1, 0) + _word(RETURN, KILL)
    words += _word(LOAD, AT_NUMBER)
    words += _word(JUMP_GREATER, NUMBER_MAX, 0, 1) + _word(RETURN, UNKNOWN)  # X32_BIT is greater, too
    # First: they are called the most, and the kernel keeps no answer for calls that are judged by an argument.
    for numbers, argument in SENDING.items():
        words += _judge(numbers[column], _without(argument, MSG_OOB, NO_OOB))
    for numbers in DENIED.values():
        if numbers[column] != _NONE:
            words += _word(JUMP_EQUAL, numbers[column], 0, 1) + _word(RETURN, REFUSE)
    words += _judge(CLONE3[column], [_word(RETURN, UNKNOWN)])
    words += _judge(CLONE[column], _without(0, NEW_NAMESPACES, REFUSE))
    words += _judge(SOCKET[column], _socket())
    words += _judge(SOCKETPAIR[column], _only(0, (UNIX,)))
    for numbers in SYNC:
        words += _judge(numbers[column], [_word(RETURN, DONE)])
    words += _judge(FCNTL[column], _except(1, (F_SETLEASE,)))
    words += _judge(IOPRIO_SET[column], _only(2, (IDLE_CLASS,)))
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
