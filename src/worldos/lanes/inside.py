"""The first process of a sandboxed lease: it shuts every door behind itself, then is the nursery of the lease's workers.

Started by bubblewrap as process 1 of its own namespaces (``sandbox.py``), before any byte of a stranger is read. It takes the
lease's own user id, gives up all capabilities for good, and puts on Landlock and the system call filter. Then it tells the host
``Settled``, and forks workers as any nursery does. As process 1 it gets no signal from inside, and when it ends, the kernel ends
everything with it. Nothing in its memory can be read by its workers: it is not dumpable, and holds no secret.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
import sys
from typing import Final

import msgspec

from worldos.lanes import landlock, nursery, seccomp
from worldos.lanes.limits import SANDBOX_OPEN_MAX

_libc: Final = ctypes.CDLL(None, use_errno=True)
PR_SET_DUMPABLE: Final = 4
PR_CAPBSET_DROP: Final = 24
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
CLONE_NEWUSER: Final = 0x1000_0000
CAPABILITY_VERSION: Final = 0x2008_0522
CAPABILITIES: Final = 64
TAKEN: Final = {  # what the agent's user may have been given: a better place than what is left over, memory that is never swapped
    resource.RLIMIT_NICE: 0,
    resource.RLIMIT_RTPRIO: 0,
    resource.RLIMIT_MEMLOCK: 8 << 20,
    resource.RLIMIT_NOFILE: SANDBOX_OPEN_MAX,
}


class Walls(msgspec.Struct, frozen=True, kw_only=True):
    """What the host orders: who to be (0: as we are), what may be read, changed and opened."""

    uid: int
    reads: list[str]
    writes: list[str]
    devices: list[str]
    processes: int


def main() -> None:
    """Run the nursery of one sandbox, on the inherited socket; the second line of the input is ``Walls``."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.set_inheritable(False)
    walls = msgspec.json.decode(sys.stdin.readline(), type=Walls)
    landlock_version, own_users = shut(walls)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # process 1: what has no handler is not heard from inside
    _forget_output()
    os.chdir(walls.writes[0])
    room = nursery.Nursery(sock)
    room.report(nursery.Settled(landlock=landlock_version, own_users=own_users))
    try:
        room.run()
    finally:
        os._exit(0)


def shut(walls: Walls) -> tuple[int, bool]:
    """Become who the workers are, and give up the rest; return Landlock's version and whether users are our own."""
    own_users = False
    if walls.uid:
        os.setgroups([])
        os.setresgid(walls.uid, walls.uid, walls.uid)
        os.setresuid(walls.uid, walls.uid, walls.uid)
        own_users = _own_users(walls.uid)
    _give_up_capabilities()
    _leave_no_core()
    for number, bound in TAKEN.items():
        bounded = min(bound, resource.getrlimit(number)[1] % (1 << 63))
        resource.setrlimit(number, (bounded, bounded))
    if walls.processes:
        resource.setrlimit(resource.RLIMIT_NPROC, (walls.processes, walls.processes))
    version = landlock.restrict(walls.reads, walls.writes, walls.devices)
    seccomp.install()
    _libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    return version, own_users


def _own_users(uid: int) -> bool:
    """Enter a user namespace in which only we are; False where the machine allows none: we are without rights all the same."""
    _libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # the change of user has made /proc/self another's
    if _libc.unshare(CLONE_NEWUSER):
        return False
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{uid} {uid} 1")):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, text.encode())
        os.close(fd)
    return True


def _give_up_capabilities() -> None:
    """Empty all five sets. The bounding set can only be emptied by who may; without that no_new_privs holds."""
    _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for number in range(CAPABILITIES):
        _libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    if _libc.capset(ctypes.byref(header), ctypes.byref(none)):
        raise OSError(ctypes.get_errno(), "the capabilities cannot be given up")


def _leave_no_core() -> None:
    """Let no crash reach the machine's own catcher of crashes: the kernel starts that, as root, at a bound of 0 but not of 1."""
    bound = min(1, resource.getrlimit(resource.RLIMIT_CORE)[1] % (1 << 63))
    resource.setrlimit(resource.RLIMIT_CORE, (bound, bound))


def _forget_output() -> None:
    """Let go of what the host gave us to complain to: from here on nothing inside may write to it."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        with contextlib.suppress(OSError):
            os.dup2(nothing, fd)
    os.close(nothing)
