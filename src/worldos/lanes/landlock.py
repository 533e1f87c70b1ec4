"""Landlock: the second wall around files, held by the kernel apart from namespaces and mounts.

What is not named may not be opened, made or run, whatever is mounted; whoever is inside may change no mounts at all, nor (by
ABI 6) send signals out or reach abstract Unix sockets of others. Nobody takes it off. Where the kernel has no Landlock, or an old
one, ``restrict`` holds what it can and says which version that was: 0 is none.
Source: Linux Documentation/userspace-api/landlock.rst; landlock(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterable
from typing import Final

_libc: Final = ctypes.CDLL(None, use_errno=True)
CREATE_RULESET: Final = 444  # the same number on every architecture
ADD_RULE: Final = 445
RESTRICT_SELF: Final = 446
ASK_VERSION: Final = 1
PATH_BENEATH: Final = 1
PR_SET_NO_NEW_PRIVS: Final = 38

EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
MAKE_CHAR: Final = 1 << 6
MAKE_BLOCK: Final = 1 << 11
REFER: Final = 1 << 13  # ABI 2
TRUNCATE: Final = 1 << 14  # ABI 3
IOCTL_DEVICE: Final = 1 << 15  # ABI 5
OF_FILES: Final = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE
SCOPE_SIGNALS_AND_ABSTRACT: Final = 0b11  # ABI 6
_RIGHTS: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_ABI_MAX: Final = max(_RIGHTS)


def version() -> int:
    """Return which Landlock the kernel has; 0 is none."""
    return max(0, int(_libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ASK_VERSION)))


def restrict(reads: Iterable[str], writes: Iterable[str], devices: Iterable[str]) -> int:
    """Leave this process, and all that it starts, these places only; return the version in force, 0 if there is none.

    ``reads`` may be read and run, ``writes`` changed as well, ``devices`` opened both ways; folders may be listed everywhere.
    A place that is missing stays so.
    """
    found = version()
    if not found:
        return 0
    all_rights = _RIGHTS[min(found, _ABI_MAX)]
    words = (
        struct.pack("=QQQ", all_rights, 0, SCOPE_SIGNALS_AND_ABSTRACT) if found >= 6 else struct.pack("=Q", all_rights)
    )
    rules = _call(CREATE_RULESET, words, ctypes.c_size_t(len(words)), 0)
    try:
        read = EXECUTE | READ_FILE | READ_DIR
        for places, rights in (
            (("/",), READ_DIR),
            (reads, read),
            (writes, all_rights & ~(MAKE_CHAR | MAKE_BLOCK)),
            (devices, all_rights & OF_FILES),
        ):
            for place in places:
                _allow(rules, place, rights & all_rights)
        _call_prctl()
        _call(RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)
    return found


def _allow(rules: int, place: str, rights: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        at = os.open(place, os.O_PATH | os.O_CLOEXEC)
        try:
            if not os.path.isdir(place):
                rights &= OF_FILES
            _call(ADD_RULE, rules, PATH_BENEATH, struct.pack("=Qi", rights, at), 0)
        finally:
            os.close(at)


def _call_prctl() -> None:
    if _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _call(*arguments: object) -> int:
    answer = int(_libc.syscall(*arguments))
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer
