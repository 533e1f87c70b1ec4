"""The sandbox of a lease: a room with nothing in it, made by bubblewrap, in which a nursery of its own forks the workers.

A room has its own processes, network, mounts, users, IPC and host name. Its root is empty but for the interpreter, its packages
and the system's programs, read-only; it can write to its own folder on the disk, bounded by the lease, and to small file
systems in memory. No home, no configuration, no device but null, zero, full, random; no way out of its network. ``inside.py``
shuts the rest before any byte of a stranger is read. As root each room has a user id that nobody else has, so that even what it
could reach is not its own. The host speaks to it by one socket, believes nothing of what comes back, and finds the processes
by itself.

To start Python in a room takes a while, so after the first lease one spare is kept ready (``Rooms``); a lease takes it in
milliseconds. Bytes, seconds. Source: bwrap(1); namespaces(7); decision record 0035.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from worldos.errors import PeerBroke, WorldError
from worldos.lanes import inside, nursery, sweep
from worldos.lanes.early import HASH_SEED
from worldos.lanes.limits import (
    PACKETS_PER_TURN_MAX,
    PROCESSES_MAX,
    SHARED_BYTES_MAX,
    SPARE_SECONDS,
    START_SECONDS,
    TEMPORARY_BYTES_MAX,
)

UID_FIRST: Final = 0x7000_0000  # what systemd's table of user ids calls unused
UID_COUNT: Final = 1 << 24
DISK: Final = "/room"
DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
SYSTEM: Final = ("/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32")
SHOWN: Final = ("/etc/ld.so.cache", "/etc/localtime", "/etc/alternatives", "/etc/ssl/certs", "/etc/pki/tls/certs")
MASKED: Final = (  # of /proc: nothing of a stranger's. When interrupts come tells what somebody types, key after key
    "cmdline",
    "interrupts",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "latency_stats",
    "sched_debug",
    "softirqs",
    "timer_list",
)
MASKED_FOLDERS: Final = ("acpi", "asound", "scsi")
COMPLAINT_BYTES_MAX: Final = 4096
FORKS_MAX: Final = 3
_BEGIN: Final = (
    'import os, sys; os.environ.pop("PYTHONHASHSEED"); '  # as in early.py
    'sys.path[:] = sys.stdin.readline().rstrip("\\n").split("\\0"); '
    "from worldos.lanes.inside import main; main()"
)
log = logging.getLogger("worldos.lanes")


class Extra(msgspec.Struct, frozen=True, kw_only=True):
    """What one lease has in its room beside the rest: folders that it may change, devices, the machine's network."""

    folders: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    network: bool = False


def bubblewrap() -> str:
    """Return where bubblewrap is, or nothing."""
    return shutil.which("bwrap", path="/usr/bin:/bin:/usr/local/bin") or ""


def libraries() -> tuple[list[str], list[str]]:
    """Return what is shown read-only of Python, and the search path within that."""
    package = Path(__file__).resolve().parents[1]
    shown = {
        os.path.realpath(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
    }
    shown |= {os.path.abspath(sys.prefix), str(package)}
    shown |= {path for path in sys.path if path.endswith(("/site-packages", "/dist-packages"))}
    shown -= {"/", "/usr"}
    found = sorted(path for path in shown if os.path.isdir(path) and not _is_below(path, shown - {path} | {"/usr"}))
    search = [path for path in sys.path if path and _is_below(path, {*found, "/usr"})]
    return found, search if str(package.parent) in search else [str(package.parent), *search]


def _is_below(path: str, folders: set[str]) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in folders)


def command(folder: Path, extra: Extra, *, is_root: bool) -> list[str]:
    """Return the bubblewrap command that makes a room over a folder on the host, up to what is run in it."""
    shown, _search = libraries()
    words = [bubblewrap(), "--die-with-parent", "--new-session", "--as-pid-1", "--clearenv", "--cap-drop", "ALL"]
    words += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "room"]
    if not extra.network:
        words.append("--unshare-net")
    if is_root:  # inside.py needs these for a moment, to become nobody
        words += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        words += ["--unshare-user", "--uid", "1000", "--gid", "1000"]
    words += ["--perms", "1777", "--size", str(TEMPORARY_BYTES_MAX), "--tmpfs", "/tmp"]  # noqa: S108
    words += _folders_on_the_way((DISK, *shown, *extra.folders, *SHOWN, "/dev/shm"))  # noqa: S108
    words += _shown(shown)  # after /tmp: a copy of us may lie below it
    for name in ("passwd", "group", "hosts", "nsswitch.conf"):
        words += ["--ro-bind", str(folder / name), f"/etc/{name}"]
    if extra.network:
        words += ["--ro-bind-try", "/etc/resolv.conf", "/etc/resolv.conf"]
    words += ["--proc", "/proc", "--symlink", "/proc/self/fd", "/dev/fd"]
    words += [word for path in _there(MASKED) for word in ("--ro-bind", "/dev/null", path)]
    words += [word for path in _there(MASKED_FOLDERS) for word in ("--tmpfs", path, "--remount-ro", path)]
    words += ["--ro-bind", str(folder / "stat"), "/proc/stat"]
    for path in (*DEVICES, *extra.devices):
        words += ["--dev-bind", path, path]
    words += ["--perms", "1777", "--size", str(SHARED_BYTES_MAX), "--tmpfs", "/dev/shm"]  # noqa: S108
    words += ["--bind", str(folder / "disk"), DISK]
    for path in extra.folders:
        words += ["--bind", path, path]
    binaries = ":".join(dict.fromkeys((f"{sys.prefix}/bin", f"{sys.base_prefix}/bin", "/usr/bin", "/bin")))
    told = {"PATH": binaries, "HOME": DISK, "LANG": "C.UTF-8", "USER": "worker", "PYTHONHASHSEED": HASH_SEED}
    for name, value in told.items():
        words += ["--setenv", name, value]
    return [*words, "--remount-ro", "/", "--chdir", "/"]


def _there(names: tuple[str, ...]) -> list[str]:
    """Return which of these there are in /proc."""
    return [path for path in (f"/proc/{name}" for name in names) if os.path.exists(path)]


def _still() -> str:
    """Return /proc/stat as it is now, without the interrupts: a picture of the machine that does not move."""
    lines = Path("/proc/stat").read_text("ascii").splitlines(keepends=True)
    return "".join(line for line in lines if line.startswith(("cpu", "btime")))


def _folders_on_the_way(targets: tuple[str, ...]) -> list[str]:
    """Return words that make the folders above what is mounted: bubblewrap would make them for root alone."""
    parents = sorted({str(parent) for target in targets for parent in Path(target).parents} - {"/", "/tmp"})  # noqa: S108
    return [word for parent in parents for word in ("--perms", "0755", "--dir", parent)]


def _shown(shown: list[str]) -> list[str]:
    """Return words that mount what may be read."""
    words = ["--ro-bind", "/usr", "/usr"]
    for path in SYSTEM:
        if os.path.islink(path):
            words += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            words += ["--ro-bind", path, path]
    for path in shown:
        words += ["--ro-bind", path, path]
    for path in SHOWN:
        words += ["--ro-bind-try", path, path]
    return words


def walls(uid: int, extra: Extra) -> inside.Walls:
    """Return what Landlock leaves of the room."""
    shown, _search = libraries()
    return inside.Walls(
        uid=uid,
        reads=["/usr", "/etc", "/proc", *SYSTEM, *shown],
        writes=[DISK, "/tmp", "/dev/shm", *extra.folders],  # noqa: S108 - the room's own
        devices=[*DEVICES, *extra.devices],
        processes=PROCESSES_MAX if uid or _counts_by_namespace() else 0,
    )


def _counts_by_namespace() -> bool:
    """Tell whether the kernel counts a user's processes in each namespace apart (Linux 5.14), so that ours are not among them."""
    numbers = [int(word) for word in re.findall(r"\d+", os.uname().release)[:2]]
    return numbers >= [5, 14]


class Room:
    """One room, from the moment bubblewrap is started. ``pid``: its process 1 as the host sees it, 0 until it has settled.

    ``ended`` is called once, when the room is no more; ``worker_ended`` with the host's pid and the status.
    """

    def __init__(self, folder: Path, extra: Extra, *, is_for_wasm: bool = False) -> None:
        self.folder = folder
        self._is_for_wasm = is_for_wasm
        self.uid = UID_FIRST + secrets.randbelow(UID_COUNT) if os.geteuid() == 0 else 0
        self.pid = 0
        self.walls: nursery.Settled | None = None
        self.is_over = False
        self.worker_ended: Callable[[int, int], None] = lambda _pid, _status: None
        self.ended: Callable[[], None] = lambda: None
        self._pids: dict[int, int] = {}
        self._forks: dict[int, asyncio.Future[int]] = {}
        self._settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        _furnish(folder, self.uid)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)  # noqa: FBT003 - the socket's own signature
        self._sock = ours
        words = command(folder, extra, is_root=bool(self.uid))
        self.process = subprocess.Popen(  # noqa: S603 - bubblewrap, with words of ours
            [*words, sys.executable, "-s", "-P", "-c", _BEGIN, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        theirs.close()
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its complaint is read where it ends
            self.process.stdin.write(("\0".join(libraries()[1]) + "\n").encode())
            self.process.stdin.write(msgspec.json.encode(walls(self.uid, extra)) + b"\n")
            self.process.stdin.close()
        asyncio.get_running_loop().add_reader(ours, self._heard)

    @property
    def disk(self) -> Path:
        """Where the room's own folder is on the host."""
        return self.folder / "disk"

    async def settle(self) -> None:
        """Wait until its doors are shut. Raises WorldError with what it complained of."""
        try:
            await asyncio.wait_for(asyncio.shield(self._settled), START_SECONDS)
        except TimeoutError:
            self.end()
            raise WorldError("the sandbox did not start in time") from None

    def enter(self, entrances: list[str]) -> None:
        """Bring the room under the limits of a lease, before there are workers; without limits nothing runs in it."""
        try:
            for path in entrances:
                fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
                try:
                    os.write(fd, str(self.pid).encode())
                finally:
                    os.close(fd)
        except OSError as error:
            self.end()
            raise WorldError("the sandbox could not be brought under the limits of its lease") from error

    async def fork(self, order: nursery.Fork, listener: socket.socket) -> int:
        """Have a worker forked; return its pid as the host sees it."""
        loop = asyncio.get_running_loop()
        for _ in range(FORKS_MAX):
            self._forks[order.job] = forked = loop.create_future()
            try:
                socket.send_fds(self._sock, [nursery.encode(order)], [listener.fileno()])
                pid: int = await asyncio.wait_for(forked, START_SECONDS)
            except (TimeoutError, OSError) as error:
                raise WorldError("the sandbox gave no worker") from error
            finally:
                self._forks.pop(order.job, None)
            if pid:
                return pid
        raise WorldError("the workers of the sandbox end as soon as they start")

    def interrupt(self, pid: int) -> None:
        """Send Ctrl-C to one of its workers."""
        if pid in self._pids.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 2)

    def end(self) -> None:
        """Kill all that is in it. ``ended`` follows."""
        if self.process.poll() is None:
            for pid in (
                *nursery.descendants(self.process.pid),
                self.process.pid,
            ):  # a child that has just begun outlives it
                nursery.kill(pid)

    def demolish(self) -> None:
        """End it, and remove what is left of it. Blocks while its processes go: a moment, if nothing was written in it."""
        self.end()
        self.process.wait()
        sweep.remove(self.folder)

    def _heard(self) -> None:
        for _ in range(PACKETS_PER_TURN_MAX):
            try:
                packet = self._sock.recv(nursery.PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            try:
                report = nursery.report_of(packet) if packet else None
            except PeerBroke as broke:
                log.warning("%s; it is ended", broke)
                report = None
            if report is None:
                self._over()
                return
            self._take(report)

    def _take(self, report: nursery.Report) -> None:
        match report:
            case nursery.Settled():
                found = nursery.descendants(self.process.pid)
                if not self._settled.done() and found:
                    self.pid = found[0]
                    self.walls = report
                    self._settled.set_result(None)
                    self._drop_complaints()
                    if self._is_for_wasm:
                        with contextlib.suppress(OSError):  # it has ended: that is heard by itself
                            self._sock.send(nursery.encode(nursery.Load()))
            case nursery.Forked(job=job, pid=inner):
                waiting = self._forks.get(job)
                if waiting is not None and not waiting.done():
                    pid = _seen_as(self.pid, inner)
                    if pid:
                        self._pids[inner] = pid
                    waiting.set_result(pid)
            case nursery.Ended(pid=inner, status=status):
                pid = self._pids.pop(inner, 0)
                if pid:
                    self.worker_ended(pid, status)

    def _over(self) -> None:
        """It is no more: everything in it has ended, or is killed now."""
        if self.is_over:
            return
        self.is_over = True
        self.end()
        asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()
        if not self._settled.done():
            self._settled.set_exception(WorldError(f"the sandbox did not start: {self._complaint()}"))
            self._settled.exception()  # whoever waits gets it; nobody has to
        self._drop_complaints()
        for waiting in self._forks.values():
            if not waiting.done():
                waiting.set_exception(WorldError("the sandbox ended"))
        pids = list(self._pids.values())
        self._pids.clear()
        for pid in pids:
            self.worker_ended(pid, -9)
        self.ended()

    def _complaint(self) -> str:
        assert self.process.stderr is not None
        os.set_blocking(self.process.stderr.fileno(), False)
        try:
            said = os.read(self.process.stderr.fileno(), COMPLAINT_BYTES_MAX).decode(errors="replace")
        except OSError:
            said = ""
        lines = [line for line in said.splitlines() if line.strip()]
        return lines[-1] if lines else "it says nothing"

    def _drop_complaints(self) -> None:
        if self.process.stderr is not None and not self.process.stderr.closed:
            self.process.stderr.close()


def _furnish(folder: Path, uid: int) -> None:
    """Make the room's folder on the host, and the few files of its /etc."""
    folder.mkdir(mode=0o700)
    (folder / "disk").mkdir(mode=0o700)
    number = uid or 1000
    if uid:
        os.chown(folder / "disk", uid, uid)
    for name, text in (
        ("passwd", f"worker:x:{number}:{number}::{DISK}:/bin/sh\n"),
        ("group", f"worker:x:{number}:\n"),
        ("hosts", "127.0.0.1 localhost room\n::1 localhost\n"),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
        ("stat", _still()),
    ):
        file = folder / name
        file.write_text(text)
        file.chmod(0o644)


def _seen_as(first: int, inner: int) -> int:
    """Return the host's number of a process that calls itself ``inner`` in the room of ``first``; 0 if it is gone."""
    for pid in nursery.descendants(first):
        with contextlib.suppress(OSError, ValueError):
            for line in Path(f"/proc/{pid}/status").read_text("utf-8", "replace").splitlines():
                if line.startswith("NSpid:") and int(line.split()[-1]) == inner:
                    return pid
    return 0


class Rooms:
    """The rooms of a lane host: one is kept ready after the first was asked for."""

    def __init__(self, folder: Callable[[], Path]) -> None:
        self._folder = folder  # makes up the place of a new one
        self._spare: Room | None = None
        self._taken_s = 0.0
        self._closed = False

    async def take(self, extra: Extra) -> Room:
        """Return a room that has settled: the spare, if it will do."""
        self._taken_s = time.monotonic()
        if extra != Extra():
            room = Room(self._folder(), extra)
        else:
            room, self._spare = self._spare or Room(self._folder(), extra), None
            if room.is_over:
                room = Room(self._folder(), extra)
        try:
            await room.settle()
        except BaseException:  # also where whoever waited does so no more
            room.demolish()
            raise
        return room

    def prepare(self, *, is_for_wasm: bool = False) -> None:
        """Begin a spare, unless there is one; for a program of WebAssembly if the last one was."""
        if self._spare is not None and self._spare.is_over:
            self._spare.demolish()
            self._spare = None
        if not self._closed and self._spare is None:
            self._spare = Room(self._folder(), Extra(), is_for_wasm=is_for_wasm)

    async def rest(self) -> None:
        """Give the spare up if nobody took one for long; the next lease makes its own."""
        if self._spare is not None and time.monotonic() - self._taken_s > SPARE_SECONDS:
            await self._give_up()

    async def close(self) -> None:
        """End the spare."""
        self._closed = True
        await self._give_up()

    async def _give_up(self) -> None:
        if self._spare is not None:
            spare, self._spare = self._spare, None
            await asyncio.to_thread(spare.demolish)
