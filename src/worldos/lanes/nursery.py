"""The nursery: a small process that has all code of a worker loaded and forks workers in a few milliseconds.

``main`` is started once by the host in a process of its own and talks to it over an inherited SOCK_SEQPACKET socket: one
msgpack message a packet. It has one thread, so forking is safe. It is the subreaper of all that workers leave behind:
when the host goes away (EOF), or asks, it kills every descendant, removes the run folder, and ends. If the nursery itself is
killed, the kernel kills its workers (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import select
import signal
import socket
import sys
import time
import traceback
import types
from pathlib import Path
from typing import Final

import msgspec

from worldos.errors import PeerBroke
from worldos.lanes import sweep, wasm, worker
from worldos.lanes.gentle import be_gentle
from worldos.model.isolation import Isolation

PACKET_BYTES_MAX: Final = 128 * 1024
PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_CHILD_SUBREAPER: Final = 36
_libc: Final = ctypes.CDLL(None, use_errno=True)


class Fork(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Make a worker; its listening socket comes along. ``cage``: files to write its pid to; ``limits``: rlimits."""

    job: int
    folder: str
    terms: worker.Terms
    env: dict[str, str] = {}
    cage: list[str] = []
    limits: dict[int, int] = {}
    cpus: list[int] = []
    gentle: bool = False


class Bury(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Kill what is left of a worker's session, and its descendants."""

    pid: int


class Load(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Load what runs WebAssembly: the workers to come are for that."""


class Forked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A worker runs."""

    job: int
    pid: int


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A worker has ended. ``status`` as of waitpid: negative signal, or exit code."""

    pid: int
    status: int


class Settled(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The nursery of a sandbox has shut its doors (inside.py): by which Landlock, and whether in a user namespace of its own."""

    landlock: int
    own_users: bool


Order = Fork | Bury | Load
Report = Forked | Ended | Settled
_orders: Final[msgspec.msgpack.Decoder[Order]] = msgspec.msgpack.Decoder(Order)
encode: Final = msgspec.msgpack.Encoder().encode
reports: Final[msgspec.msgpack.Decoder[Report]] = msgspec.msgpack.Decoder(Report)


def report_of(packet: bytes) -> Report:
    """Return what the nursery of a sandbox says, which a stranger may have had a hand in. Raises PeerBroke for anything else."""
    try:
        return reports.decode(packet)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PeerBroke(f"a sandbox says what no nursery says: {error}") from None


def descendants(pid: int) -> list[int]:
    """Return the live descendants of a process, as far as they have not moved to another parent."""
    found: list[int] = []
    pending = [pid]
    while pending:
        parent = pending.pop()
        try:
            threads = os.listdir(f"/proc/{parent}/task")
        except OSError:
            continue
        for thread in threads:
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{parent}/task/{thread}/children").read_text("ascii")
                children = [int(word) for word in text.split()]
                found.extend(children)
                pending.extend(children)
    return found


def kill(pid: int) -> None:
    """Kill a process, if it is there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


class Nursery:
    """Workers by pid, and the socket of the host."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.workers: set[int] = set()
        self._wake_r, self._wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> None:
        """Serve the host until it goes away."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        poll.register(self._wake_r, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._wake_r in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_r, 4096)
                self._reap()
            if self.sock.fileno() in ready and not self._obey():
                return

    def _obey(self) -> bool:
        try:
            packet, fds, _flags, _address = socket.recv_fds(self.sock, PACKET_BYTES_MAX, 4)
        except ConnectionError:
            return False
        if not packet:
            return False
        order = _orders.decode(packet)
        match order:
            case Fork():
                listener = socket.socket(fileno=fds[0])
                self.report(Forked(job=order.job, pid=self._fork(order, listener)))
                listener.close()
            case Bury():
                self._bury(order.pid)
            case Load():
                wasm.load()
        return True

    def report(self, report: Report) -> None:
        """Tell the host."""
        with contextlib.suppress(ConnectionError):
            self.sock.send(encode(report))

    def _fork(self, order: Fork, listener: socket.socket) -> int:
        nursery = os.getpid()
        if order.env.get(worker.ISOLATION_NAME) == Isolation.WASM:
            wasm.load()  # once, and not in each worker
        pid = os.fork()
        if pid:
            self.workers.add(pid)
            return pid
        code = 70
        try:
            signal.set_wakeup_fd(-1)
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != nursery:
                os._exit(71)
            self.sock.close()
            os.close(self._wake_r)
            os.close(self._wake_w)
            _settle(order)
            worker.serve(listener, order.terms)
            code = 0
        except BaseException:  # noqa: BLE001 - the last to see it: say it and end
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(code)

    def _reap(self) -> None:
        while True:
            try:
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if dead is None:
                return
            ours = dead.si_pid in self.workers
            if ours:
                self._bury(dead.si_pid)  # while it is a zombie, nobody else can get its number
            _pid, status = os.waitpid(dead.si_pid, 0)
            if ours:
                self.workers.discard(dead.si_pid)
                self.report(Ended(pid=dead.si_pid, status=os.waitstatus_to_exitcode(status)))

    @staticmethod
    def _bury(session: int) -> None:
        """Kill the session of a worker that has ended. What left its session stays in the cage until the lease ends.

        Its orphans are our children now (subreaper); theirs follow once they are orphans themselves.
        """
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(session, signal.SIGKILL)
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(pid) == session and pid != session:
                    kill(pid)

    def bury_all(self) -> None:
        """Kill every descendant, until there is none."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            left = descendants(os.getpid())
            if not left:
                return
            for pid in left:
                kill(pid)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG) != (0, 0):
                    pass
            time.sleep(0.002)


def _settle(order: Fork) -> None:
    """Make this fresh child what the order says. Runs before any code of a user."""
    os.setsid()
    sys.modules["__main__"] = types.ModuleType("__main__")
    for path in order.cage:
        try:
            enter(path)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENODEV}:
                raise
            os._exit(72)  # the lease was closed while its worker was on the way, and its cage with it
    for number, bound in order.limits.items():
        _soft, hard = resource.getrlimit(number)
        bounded = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(number, (bounded, bounded))
    if order.cpus:
        os.sched_setaffinity(0, order.cpus)
    if order.gentle:
        be_gentle()
    worker.settle()
    _libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # the nursery of a sandbox is not; its workers may see themselves
    folder = Path(order.folder)
    for name in ("work", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    os.environ.update(order.env)
    os.environ["TMPDIR"] = str(folder / "tmp")
    os.environ["WORLDOS_WORKER"] = "1"
    os.chdir(folder / "work")


def enter(path: str) -> None:
    """Move this process into a cage: ENOENT or ENODEV where that has been removed, before this found it or after."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, b"0")
    finally:
        os.close(fd)


def _remove_cage(root: Path) -> None:
    """Remove what the host could not: it was killed. A cage that is not empty is left to the next start."""
    with contextlib.suppress(FileNotFoundError):  # the next start was here first
        for folder in [*root.glob("*/"), root]:
            with contextlib.suppress(OSError):
                folder.rmdir()


def main() -> None:
    """Run the nursery on the inherited socket."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the agent; we end with it
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.set_inheritable(False)
    line = sys.stdin.readline()
    if not line.endswith("\n"):
        return  # begun early, and nobody took it (early.py)
    run_folder = Path(line.rstrip("\n"))
    cages = [Path(path) for path in sys.stdin.readline().rstrip("\n").split("\0") if path]
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    nursery = Nursery(sock)
    try:
        nursery.run()
    finally:
        nursery.bury_all()
        for cage in cages:
            _remove_cage(cage)
        sweep.end_named(run_folder)
        sweep.remove(run_folder)
