"""Namespaces of a private network, and the TUN device in them: what the kernel is asked for, in one place.

``make`` puts this process into namespaces of its own (network, mounts, host name; a user namespace as well where it is not root),
``open_tun`` makes the one device that leads out of there, ``join`` brings another process in later. Needs no tool and no right
beyond what an ordinary user has where the system lets users make namespaces; ``why_not`` says what is missing.
Source: namespaces(7), user_namespaces(7), netdevice(7), Linux Documentation/networking/tuntap.rst.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from contextlib import suppress
from typing import Final, NoReturn

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 1 << 18
MS_BIND: Final = 0x1000
MS_NOSUID_NODEV_NOEXEC: Final = 2 | 4 | 8
PR_SET_PDEATHSIG: Final = 1
TUN: Final = "/dev/net/tun"
TUNSETIFF: Final = 0x400454CA
IFF_TUN_NO_PI: Final = 0x0001 | 0x1000
SIOCGIFFLAGS: Final = 0x8913
SIOCSIFFLAGS: Final = 0x8914
SIOCSIFADDR: Final = 0x8916
SIOCSIFNETMASK: Final = 0x891C
SIOCSIFMTU: Final = 0x8922
IFF_UP_RUNNING: Final = 0x1 | 0x40
DEVICE: Final = "net0"
MTU_BYTES: Final = (
    65_520  # the larger the fewer: each packet is a call of the kernel; a TUN takes 65 535, rounded for checksums
)
USERNS_FILE: Final = "/proc/sys/user/max_user_namespaces"
NETNS_FILE: Final = "/proc/sys/user/max_net_namespaces"
RESTRICTED_FILES: Final = {
    "/proc/sys/kernel/unprivileged_userns_clone": "0",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1",
}
_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)


def why_not() -> str:
    """Say what this machine or user lacks for a private network, as far as it shows without a try; nothing if all is there."""
    if not os.path.exists(TUN):
        return f"there is no {TUN} (the kernel's tun module)"
    if not os.access(TUN, os.R_OK | os.W_OK):
        return f"this user may not open {TUN}"
    if _read(NETNS_FILE, "1") == "0":
        return "this system makes no network namespaces"
    if os.geteuid() == 0:
        return ""
    if _read(USERNS_FILE, "1") == "0" or any(_read(file, "") == off for file, off in RESTRICTED_FILES.items()):
        return "this system lets ordinary users make no namespaces"
    return ""


def make(host: str) -> None:
    """Put this process (it has one thread) into namespaces of its own, whose host name is ``host``. Raises OSError."""
    spaces = CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0:
        _call("unshare", _libc.unshare(CLONE_NEWUSER))
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{uid} {uid} 1")
        _write("/proc/self/gid_map", f"{gid} {gid} 1")
    _call("unshare", _libc.unshare(spaces))
    _call("mount", _libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    name = host.encode()
    _call("sethostname", _libc.sethostname(name, len(name)))


def cover(file: str, by: str) -> None:
    """Let another file be seen in place of one, in this process's mounts alone."""
    _call("mount", _libc.mount(by.encode(), file.encode(), None, MS_BIND, None))


def open_tun() -> int:
    """Make the device in this process's network; return what its packets are read from and written to. Raises OSError."""
    fd = os.open(TUN, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN_NO_PI))
    except OSError:
        os.close(fd)
        raise
    return fd


def set_address(address: str, mask: str = "255.255.255.0") -> None:
    """Give the device its address, and let it and the loopback come up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        for request, value in ((SIOCSIFADDR, address), (SIOCSIFNETMASK, mask)):
            fcntl.ioctl(control, request, _named(DEVICE) + _sockaddr(value) + bytes(8))
        fcntl.ioctl(control, SIOCSIFMTU, _named(DEVICE) + struct.pack("i20x", MTU_BYTES))
        for device in ("lo", DEVICE):
            flags = struct.unpack_from("H", fcntl.ioctl(control, SIOCGIFFLAGS, _named(device) + bytes(24)), 16)[0]
            fcntl.ioctl(control, SIOCSIFFLAGS, _named(device) + struct.pack("H22x", flags | IFF_UP_RUNNING))


def own_pids() -> int:
    """Fork the first process of a pid namespace, with a /proc of its own; return its pid. It ends with this process.

    When it ends, however it ends, the kernel kills everything that has joined.
    """
    _call("unshare", _libc.unshare(CLONE_NEWPID))
    ready, told = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(told)
        why = b"".join(iter(lambda: os.read(ready, 200), b""))
        os.close(ready)
        if why:
            os.waitpid(pid, 0)
            raise OSError(int(why), os.strerror(int(why)))
        return pid
    try:
        end_with_parent()
        if os.getppid() not in {0, parent}:
            os._exit(0)
        _call("unshare", _libc.unshare(CLONE_NEWNS))
        _call("mount", _libc.mount(b"proc", b"/proc", b"proc", MS_NOSUID_NODEV_NOEXEC, None))
    except OSError as error:
        os.write(told, str(error.errno or 1).encode())
        os._exit(1)
    os.close(told)
    return _reap_forever()


def _reap_forever() -> NoReturn:
    """Be the first process: take in the ends of orphans."""
    import signal  # noqa: PLC0415 - who only joins does without

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        signal.sigwait({signal.SIGCHLD})
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass


def end_with_parent(number: int = 9) -> None:
    """Let the kernel end this process when its parent ends."""
    _libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)


def join(pidfd: int, *, users: bool) -> None:
    """Bring this process (it has one thread) and its children to come into the namespaces of another. Raises OSError."""
    spaces = CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWPID | (CLONE_NEWUSER if users else 0)
    folder = os.getcwd()
    _call("setns", _libc.setns(pidfd, spaces))
    os.chdir(folder)  # the way in leads to the root


def started_at(pid: int) -> str:
    """Return when a process began, in the kernel's ticks: with its number the name of just this one. Raises OSError."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[19]


def _named(device: str) -> bytes:
    return struct.pack("16s", device.encode())


def _sockaddr(address: str) -> bytes:
    return struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))


def _call(name: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _write(file: str, text: str) -> None:
    with open(file, "w", encoding="ascii") as opened:
        opened.write(text)


def _read(file: str, absent: str) -> str:
    try:
        with open(file, encoding="ascii") as opened:
            return opened.read().strip()
    except OSError:
        return absent
