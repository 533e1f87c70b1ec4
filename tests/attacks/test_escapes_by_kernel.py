"""Ways through the kernel out of a sandbox: calls, settings and devices that only an escape needs, each tried from inside.

As in test_escapes.py each is also made outside where that is safe. Raw numbers of system calls are those of x86_64.
"""

from __future__ import annotations

import os
import sys

import cloudpickle
import pytest
from tests.attacks.escaping import IS_ROOT, NEEDS_A_SANDBOX, Lanes, tried

pytestmark = NEEDS_A_SANDBOX
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # what runs inside cannot see this file

EPERM, ENOSYS = 1, 38
RAW = {
    "ptrace": (101, 0, 0, 0, 0),
    "process_vm_readv": (310, 1, 0, 0, 0, 0, 0),
    "process_vm_writev": (311, 1, 0, 0, 0, 0, 0),
    "kcmp": (312, 1, 1, 0, 0, 0),
    "pidfd_getfd": (438, -1, 0, 0),
    "process_madvise": (440, -1, 0, 0, 0, 0),
    "mount": (165, 0, 0, 0, 0, 0),
    "umount2": (166, 0, 0),
    "pivot_root": (155, 0, 0),
    "chroot": (161, 0),
    "open_tree": (428, -1, 0, 0),
    "move_mount": (429, -1, 0, -1, 0, 0),
    "fsopen": (430, 0, 0),
    "fsmount": (432, -1, 0, 0),
    "mount_setattr": (442, -1, 0, 0, 0, 0),
    "unshare, users": (272, 0x1000_0000),
    "unshare, mounts": (272, 0x0002_0000),
    "setns": (308, -1, 0),
    "clone with users of its own": (56, 0x1000_0011, 0, 0, 0, 0),
    "add_key": (248, 0, 0, 0, 0, -2),
    "request_key": (249, 0, 0, 0, 0),
    "keyctl, session keyring": (250, 0, -3, 0),
    "bpf": (321, 0, 0, 0),
    "perf_event_open": (298, 0, 0, -1, -1, 0),
    "userfaultfd": (323, 0),
    "io_uring_setup": (425, 1, 0),
    "init_module": (175, 0, 0, 0),
    "finit_module": (313, -1, 0, 0),
    "delete_module": (176, 0, 0),
    "kexec_load": (246, 0, 0, 0, 0),
    "kexec_file_load": (320, -1, -1, 0, 0, 0),
    "reboot": (169, 0, 0, 0, 0),
    "swapon": (167, 0, 0),
    "acct": (163, 0),
    "quotactl": (179, 0, 0, 0, 0),
    "io_setup": (206, 1, 0),
    "memfd_secret": (447, 0),
    "ioprio_set, best effort": (251, 1, 0, 2 << 13),
    "fcntl, a lease on a file": (72, 0, 1024, 0),
    "socketpair of TIPC": (53, 30, 1, 0, 0),
    "syslog": (103, 10, 0, 0),
    "settimeofday": (164, 0, 0),
    "clock_settime": (227, 0, 0),
    "adjtimex, reading": (159, 0),
    "iopl": (172, 3),
    "ioperm": (173, 0, 1, 1),
    "modify_ldt": (154, 0, 0, 0),
    "open_by_handle_at": (304, -100, 0, 0),
    "name_to_handle_at": (303, -100, 0, 0, 0, 0),
    "fanotify_init": (300, 0, 0),
    "move_pages": (279, 1, 0, 0, 0, 0, 0),
    "sethostname": (170, 0, 0),
    "personality without random addresses": (135, 0x0004_0000),
    "vhangup": (153,),
}


@pytest.mark.parametrize("name", sorted(RAW))
def test_calls_that_only_an_escape_needs_are_refused_before_they_are_looked_at(lanes: Lanes, name: str) -> None:
    def call(words: tuple[int, ...]) -> int:
        import ctypes  # noqa: PLC0415

        libc = ctypes.CDLL(None, use_errno=True)
        answer = libc.syscall(*(ctypes.c_long(word) for word in words))
        return 0 if answer >= 0 else ctypes.get_errno()

    assert lanes.inside.submit(call, RAW[name]).result(30) == EPERM


def test_what_is_newer_than_the_filter_and_what_it_cannot_read_is_not_there(lanes: Lanes) -> None:
    def call(number: int) -> int:
        import ctypes  # noqa: PLC0415

        libc = ctypes.CDLL(None, use_errno=True)
        libc.syscall(ctypes.c_long(number), 0, 0, 0, 0, 0)
        return ctypes.get_errno()

    for number in (435, 457, 462, 470, 0x4000_0027):  # clone3, statmount, mseal, not yet, getpid as x32
        assert lanes.inside.submit(call, number).result(30) == ENOSYS, number


def test_calls_as_a_32_bit_program_end_the_process(lanes: Lanes) -> None:
    """The filter is by number, and 32-bit numbers are others: int 0x80 with 20, getpid there, is writev here."""

    def as_32_bit() -> int:
        import ctypes  # noqa: PLC0415
        import mmap  # noqa: PLC0415

        child = os.fork()
        if not child:
            code = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"  # mov eax, 20; int 0x80; ret
            page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
            page.write(code)
            address = ctypes.addressof(ctypes.c_char.from_buffer(page))
            os._exit(0 if ctypes.CFUNCTYPE(ctypes.c_int)(address)() > 0 else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert lanes.inside.submit(as_32_bit).result(30) == -31, "SIGSYS"
    assert lanes.outside.submit(as_32_bit).result(30) in {0, 1, -11}, (
        "there the kernel answers, if it knows such programs"
    )


def test_namespaces_mounts_and_traces_work_outside(lanes: Lanes) -> None:
    """The control of the list above: what was refused inside is possible outside, in a child of a worker."""

    def in_child(number: int, flags: int) -> int:
        import ctypes  # noqa: PLC0415

        child = os.fork()
        if not child:
            os._exit(1 if ctypes.CDLL(None).syscall(ctypes.c_long(number), ctypes.c_long(flags), 0, 0, 0) < 0 else 0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert lanes.outside.submit(in_child, 101, 0).result(30) == 0, "PTRACE_TRACEME"
    if IS_ROOT:
        assert lanes.outside.submit(in_child, 272, 0x0002_0000).result(30) == 0, "unshare"


@pytest.mark.parametrize(
    "path",
    [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/vm/overcommit_memory",
        "/proc/stat",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
        "/sys/fs/cgroup/release_agent",
        "/sys/kernel/uevent_helper",
        "/proc/1/oom_score_adj",
        "/proc/self/uid_map",
        "/proc/self/setgroups",
    ],
)
def test_no_setting_of_the_kernel_can_be_changed(lanes: Lanes, path: str) -> None:
    def change() -> int:
        fd = os.open(path, os.O_WRONLY)
        return os.write(fd, b"0 0 1")

    assert not tried(lanes.inside, change)


@pytest.mark.parametrize(
    "name",
    [
        "mem",
        "kmem",
        "kmsg",
        "port",
        "tty",
        "console",
        "ptmx",
        "fuse",
        "kvm",
        "net/tun",
        "vsock",
        "vda",
        "sda",
        "loop0",
        "rtc",
    ],
)
def test_no_device_is_there_and_none_can_be_made(lanes: Lanes, name: str) -> None:
    def touch() -> bool:
        os.close(os.open(f"/dev/{name}", os.O_RDONLY | os.O_NONBLOCK))
        return True

    def make() -> bool:
        os.mknod(f"/tmp/{os.urandom(4).hex()}", 0o020666, os.makedev(1, 1))
        return True

    assert not tried(lanes.inside, touch)
    assert not tried(lanes.inside, make)
