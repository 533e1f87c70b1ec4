"""The filter of system calls, run here by a little machine of our own: what it says of a call, and that it says it of all."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest

from worldos.lanes import seccomp

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
ALLOW, KILL, EPERM, ENOSYS, DONE = "allow", "kill", "EPERM", "ENOSYS", "done"
NO_PROTOCOL, NO_OOB = "EPROTONOSUPPORT", "EOPNOTSUPP"
ERRORS = {
    errno.EPERM: EPERM,
    errno.ENOSYS: ENOSYS,
    0: DONE,
    errno.EPROTONOSUPPORT: NO_PROTOCOL,
    errno.EOPNOTSUPP: NO_OOB,
}
VERDICTS = {0x7FFF_0000: ALLOW, 0x8000_0000: KILL, **{0x5_0000 | number: name for number, name in ERRORS.items()}}
BOTH = pytest.mark.parametrize("machine", sorted(seccomp.MACHINES))


def verdict(machine: str, number: int, *arguments: int, audit: int | None = None) -> str:
    """Run the program on one call, as the kernel would; it only ever jumps forward, so it ends."""
    column, own = seccomp.MACHINES[machine]
    del column
    data = struct.pack("<IIQ6Q", number, own if audit is None else audit, 0, *arguments, *[0] * (6 - len(arguments)))
    words = list(struct.iter_unpack("<HBBI", seccomp.program(machine)))
    at = accumulator = 0
    while True:
        code, if_true, if_false, constant = words[at]
        at += 1
        if code == seccomp.LOAD:
            (accumulator,) = struct.unpack_from("<I", data, constant)
        elif code == seccomp.AND:
            accumulator &= constant
        elif code == seccomp.RETURN:
            return VERDICTS[constant]
        else:
            holds = {
                seccomp.JUMP_EQUAL: accumulator == constant,
                seccomp.JUMP_GREATER: accumulator > constant,
                seccomp.JUMP_SET: bool(accumulator & constant),
            }[code]
            at += if_true if holds else if_false


@BOTH
def test_every_name_of_the_list_is_refused(machine: str) -> None:
    column = seccomp.MACHINES[machine].column
    for name, numbers in seccomp.DENIED.items():
        if numbers[column] != 0xFFFF:
            assert verdict(machine, numbers[column]) == EPERM, name


@BOTH
def test_everything_else_that_is_known_is_allowed(machine: str) -> None:
    column = seccomp.MACHINES[machine].column
    judged = {numbers[column] for numbers in seccomp.DENIED.values()} | {
        numbers[column]
        for numbers in (
            seccomp.CLONE,
            seccomp.CLONE3,
            seccomp.SOCKET,
            seccomp.SOCKETPAIR,
            *seccomp.SENDING,
            *seccomp.SYNC,
            seccomp.FCNTL,
            seccomp.IOPRIO_SET,
            seccomp.IOCTL,
            seccomp.PERSONALITY,
            seccomp.PRLIMIT,
        )
    }
    for number in set(range(seccomp.NUMBER_MAX + 1)) - judged:
        assert verdict(machine, number, 7, 7, 7) == ALLOW, number


@BOTH
def test_what_is_newer_than_the_list_or_of_another_kind_of_program_is_not_there(machine: str) -> None:
    assert verdict(machine, seccomp.NUMBER_MAX + 1) == ENOSYS
    assert verdict(machine, 0xFFFF_FFFF) == ENOSYS
    assert verdict(machine, seccomp.X32_BIT | 1) == ENOSYS
    assert verdict(machine, seccomp.CLONE3[seccomp.MACHINES[machine].column]) == ENOSYS


@BOTH
def test_a_call_as_of_another_processor_ends_the_process(machine: str) -> None:
    assert verdict(machine, 1, audit=0x4000_0003) == KILL, "32 bit calls have other numbers"


@BOTH
def test_threads_and_children_are_allowed_and_namespaces_are_not(machine: str) -> None:
    clone = seccomp.CLONE[seccomp.MACHINES[machine].column]
    assert verdict(machine, clone, 17) == ALLOW, "fork: SIGCHLD"
    assert verdict(machine, clone, 0x3D0F00) == ALLOW, "pthread_create"
    assert verdict(machine, clone, 0x4111) == ALLOW, "posix_spawn"
    for flag in (0x80, 0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000):
        assert verdict(machine, clone, 17 | flag) == EPERM, hex(flag)


@BOTH
def test_only_the_families_of_sockets_that_namespaces_hold_are_there(machine: str) -> None:
    socket = seccomp.SOCKET[seccomp.MACHINES[machine].column]
    allowed = [family for family in range(50) if verdict(machine, socket, family, 1, 0) == ALLOW]
    assert allowed == [1, 2, 10, 16]
    pair = seccomp.SOCKETPAIR[seccomp.MACHINES[machine].column]
    assert [family for family in range(50) if verdict(machine, pair, family, 1, 0) == ALLOW] == [1]
    assert verdict(machine, socket, 16, 3, 0) == ALLOW, "the own addresses are asked by netlink"
    assert verdict(machine, socket, 16, 3, 9) == EPERM, "audit is not"


@BOTH
@pytest.mark.parametrize("family", [2, 10])
def test_of_the_internet_there_are_streams_and_datagrams_of_the_usual_protocols(machine: str, family: int) -> None:
    socket = seccomp.SOCKET[seccomp.MACHINES[machine].column]
    flags = 0x80800  # SOCK_CLOEXEC | SOCK_NONBLOCK
    assert [kind for kind in range(16) if verdict(machine, socket, family, kind | flags, 0) == ALLOW] == [1, 2]
    assert [protocol for protocol in range(300) if verdict(machine, socket, family, 1, protocol) == ALLOW] == [0, 6, 17]
    assert verdict(machine, socket, family, 1, 132) == NO_PROTOCOL, "as a kernel says that has no SCTP"


@BOTH
def test_messages_out_of_band_are_not_there(machine: str) -> None:
    column = seccomp.MACHINES[machine].column
    for numbers, argument in seccomp.SENDING.items():
        flags = [0] * argument
        assert verdict(machine, numbers[column], *flags, 0x4040) == ALLOW, "MSG_NOSIGNAL | MSG_DONTWAIT"
        assert verdict(machine, numbers[column], *flags, 0x4041) == NO_OOB


@BOTH
def test_what_disturbs_the_owner_is_not_done(machine: str) -> None:
    column = seccomp.MACHINES[machine].column
    assert [verdict(machine, numbers[column]) for numbers in seccomp.SYNC] == [DONE, DONE]
    assert verdict(machine, seccomp.IOPRIO_SET[column], 1, 0, 3 << 13) == ALLOW, "the idle class"
    assert verdict(machine, seccomp.IOPRIO_SET[column], 1, 0, 2 << 13) == EPERM
    assert verdict(machine, seccomp.FCNTL[column], 3, 1033) == ALLOW, "F_ADD_SEALS"
    assert verdict(machine, seccomp.FCNTL[column], 3, 1024) == EPERM, "F_SETLEASE"


@BOTH
def test_calls_are_judged_by_what_they_are_asked_to_do(machine: str) -> None:
    column = seccomp.MACHINES[machine].column
    assert verdict(machine, seccomp.IOCTL[column], 0, 0x5401) == ALLOW, "TCGETS"
    assert verdict(machine, seccomp.IOCTL[column], 0, 0x5412) == EPERM, "TIOCSTI"
    assert verdict(machine, seccomp.IOCTL[column], 0, 0x1_0000_5412) == EPERM, "the kernel looks at 32 bits, so do we"
    assert verdict(machine, seccomp.IOCTL[column], 0, 0x541C) == EPERM, "TIOCLINUX"
    assert verdict(machine, seccomp.PRLIMIT[column], 0) == ALLOW
    assert verdict(machine, seccomp.PRLIMIT[column], 1) == EPERM, "limits of others"
    assert verdict(machine, seccomp.PERSONALITY[column], 0xFFFF_FFFF) == ALLOW
    assert verdict(machine, seccomp.PERSONALITY[column], 0x0400_0000) == EPERM, "READ_IMPLIES_EXEC"


@BOTH
def test_the_numbers_are_those_of_the_systems_own_headers(machine: str) -> None:
    header = HEADERS[machine]
    if not header.exists():
        pytest.skip(f"{header} is not here")
    found = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text()))
    column = seccomp.MACHINES[machine].column
    judged = {
        "clone": seccomp.CLONE,
        "socketpair": seccomp.SOCKETPAIR,
        "fcntl": seccomp.FCNTL,
        "ioprio_set": seccomp.IOPRIO_SET,
        **dict(zip(("sendto", "recvfrom", "sendmsg", "recvmsg", "recvmmsg", "sendmmsg"), seccomp.SENDING, strict=True)),
        **dict(zip(("sync", "syncfs"), seccomp.SYNC, strict=True)),
    }
    for name, numbers in (seccomp.DENIED | judged).items():
        if name in found:
            assert numbers[column] == int(found[name]), name
        else:
            assert numbers[column] == 0xFFFF, name
