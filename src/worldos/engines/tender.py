"""The tender: what looks after the processes of an engine on one node, in the worker of a lease, by calls of the holder.

All processes are children of that worker, so they are under the limits of the lease and end with it, whatever happens to the
holder. Each has a thread that reads what it says; only the end of that is kept. A lease of an engine has one worker, so the
state of the tender is that of the module. Times in seconds.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Final

from worldos.engines import environment
from worldos.engines.limits import END_SECONDS, TAIL_BYTES
from worldos.engines.plan import Prepared, Process, Ran, Seen
from worldos.engines.software import Installed, Software
from worldos.errors import BadRequest, WorldError
from worldos.home import default_home

BEGUN_MAX: Final = 20  # times that a process is begun: one that ends again and again is the engine's end
UNPRIVILEGED: Final = ("postgres", "nobody")
LISTENS: Final = "0A"  # TCP_LISTEN in /proc/net/tcp
POLL_SECONDS: Final = 0.1
SHORT: Final = "/mnt"  # a folder that every Linux has, for mounting things there
SHORT_BYTES_MAX: Final = 40  # of a working folder, so that 107 bytes are enough for a socket deep in it


class Tended:
    """One process, and the end of what it said. ``begun``: how often it was begun."""

    def __init__(self, process: Process, popen: subprocess.Popen[bytes], begun: int = 1) -> None:
        self.process = process
        self.popen = popen
        self.begun = begun
        self.said = bytearray()
        self.is_ready = not process.ready
        self.news = threading.Event()
        threading.Thread(target=self._read, name=f"reads-{process.name}", daemon=True).start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        ready = self.process.ready.encode()
        while data := self.popen.stdout.read1(TAIL_BYTES):  # type: ignore[attr-defined] # buffered, as Popen makes it
            self.said = (self.said + data)[-TAIL_BYTES:]
            if not self.is_ready and ready in self.said:
                self.is_ready = True
                self.news.set()
        self.popen.wait()
        self.news.set()

    def seen(self) -> Seen:
        """Say how it is."""
        said = self.said.decode(errors="replace")
        ready = self.is_ready and set(self.process.listens) <= listening(self.popen.pid)
        return Seen(name=self.process.name, ready=ready, code=self.popen.poll(), said=said)

    @property
    def may_begin_again(self) -> bool:
        """Whether it has ended, and is to be begun once more."""
        most = self.process.tries if not self.is_ready else BEGUN_MAX if self.process.again else 0
        return self.begun < most and self.popen.poll() is not None


class Tender:
    """The processes of an engine in this lease."""

    def __init__(self) -> None:
        self.work = Path.cwd()
        self.prefix: tuple[str, ...] = ()
        self._tended: dict[str, Tended] = {}
        self._installed: Installed | None = None
        self._installing: threading.Thread | None = None
        self._failed: WorldError | None = None
        self._doing = ""
        self._tools: dict[int, Future[Ran]] = {}
        self._numbers = itertools.count()

    # -- software -------------------------------------------------------------------------------------------------------

    def prepare(self, software: Software, patience_s: float) -> Prepared:
        """See to it that the software is here; return how far that is after waiting no longer than this."""
        if self._installing is None:
            self._installing = threading.Thread(target=self._install, args=(software,), daemon=True)
            self._installing.start()
        self._installing.join(patience_s)
        if self._failed is not None:
            raise self._failed
        if self._installed is None:
            return Prepared(done=False, doing=self._doing)
        return Prepared(done=True, own=self._installed.own, bin=self._installed.bin)

    def _install(self, software: Software) -> None:
        try:
            self._installed = environment.ensure(software, default_home(), self._tell)
        except WorldError as error:
            self._failed = error
        except OSError as error:
            self._failed = WorldError(f"{software.name} cannot be installed: {error}")

    def _tell(self, doing: str) -> None:
        self._doing = doing

    # -- processes ------------------------------------------------------------------------------------------------------

    def begin(self, process: Process) -> None:
        """Start a process."""
        if process.name in self._tended:
            raise BadRequest(f"there is a process {process.name} already")
        for name, data in sorted(process.files.items()):
            file = self.work / name
            file.touch(mode=0o600)
            file.write_text(self._filled(data.decode()))
        for argv in process.before:
            ran = self.run(argv, process.env, not_root=process.not_root)
            if ran.code:
                raise WorldError(f"{process.name}: {Path(argv[0]).name} ended with {ran.code}: {last_words(ran.said)}")
        self._tended[process.name] = Tended(process, self._started(process))

    def _started(self, process: Process) -> subprocess.Popen[bytes]:
        command = self._command(process.argv, not_root=process.not_root, joined=True)
        if process.short:
            command = self._shortened(command)
        return self._popen(command, process.env, subprocess.STDOUT)

    def look(self, patience_s: float) -> tuple[Seen, ...]:
        """Say how the processes are; wait up to this long for news of one that is neither ready nor ended.

        What is to be begun again is begun now.
        """
        for name, tended in self._tended.items():
            if tended.may_begin_again:
                self._tended[name] = Tended(tended.process, self._started(tended.process), tended.begun + 1)
        for tended in self._tended.values():
            if not tended.is_ready and tended.popen.poll() is None:
                tended.news.wait(patience_s)
                break
            if not tended.seen().ready:
                time.sleep(min(patience_s, POLL_SECONDS))
                break
        return tuple(tended.seen() for tended in self._tended.values())

    def run(self, argv: Sequence[str], env: dict[str, str], *, not_root: bool = False) -> Ran:
        """Run a tool to its end."""
        popen = self._popen(self._command(argv, not_root=not_root, joined=False), env, subprocess.PIPE)
        out, said = popen.communicate()
        return Ran(code=popen.returncode, out=out, said=said[-TAIL_BYTES:].decode(errors="replace"))

    def start(self, argv: Sequence[str], env: dict[str, str], *, not_root: bool = False) -> int:
        """Begin to run a tool; return its number for ``ended``. So the seat answers meanwhile."""
        number, ran = next(self._numbers), Future[Ran]()
        self._tools[number] = ran
        threading.Thread(target=self._run_for, args=(ran, argv, env, not_root), name="runs-tool", daemon=True).start()
        return number

    def ended(self, number: int, patience_s: float) -> Ran | None:
        """Return what became of a tool, once; None if it still runs after this time."""
        if not wait([self._tools[number]], patience_s).done:
            return None
        return self._tools.pop(number).result()

    def _run_for(self, ran: Future[Ran], argv: Sequence[str], env: dict[str, str], not_root: bool) -> None:  # noqa: FBT001
        try:
            ran.set_result(self.run(argv, env, not_root=not_root))
        except WorldError as error:
            ran.set_exception(error)

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Read a piece of a file of the working folder."""
        with self._file(name).open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Write a piece of a file of the working folder."""
        file = self._file(name)
        if offset == 0:
            file.unlink(missing_ok=True)
            file.touch(mode=0o600)
        with file.open("r+b") as opened:
            opened.seek(offset)
            opened.write(data)

    def end(self, grace_s: float = END_SECONDS, *, gently: bool = False) -> None:
        """Ask all to end, the last first, and kill what has not after a while. ``gently``: what it does goes on elsewhere."""
        deadline_s = time.monotonic() + grace_s
        for tended in reversed(self._tended.values()):
            _signal(tended, tended.process.leave_signal if gently else tended.process.end_signal)
        for tended in self._tended.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                tended.popen.wait(max(0.0, deadline_s - time.monotonic()))
            _signal(tended, signal.SIGKILL)
            tended.popen.wait()
        self._tended.clear()

    def _file(self, name: str) -> Path:
        if "/" in name or name.startswith("."):
            raise BadRequest(f"{name!r} is no file of the working folder")
        return self.work / name

    def _popen(self, argv: list[str], env: dict[str, str], err: int) -> subprocess.Popen[bytes]:
        whole = {**os.environ, **{key: self._filled(value) for key, value in env.items()}}
        try:
            return subprocess.Popen(  # noqa: S603 - the holder runs what it likes: that is the lease
                argv,
                cwd=self.work,
                env=whole,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=err,
                process_group=0,
            )
        except OSError as error:
            raise WorldError(f"{argv[0]} cannot be run on this node: {error.strerror}") from None

    def _command(self, argv: Sequence[str], *, not_root: bool, joined: bool) -> list[str]:
        prefix = [self._filled(word) for word in self.prefix] if joined else []
        return [*prefix, *(_as_another() if not_root else ()), *map(self._filled, argv)]

    def _shortened(self, argv: list[str]) -> list[str]:
        """Let a command find the working folder at a short path: mounted there for it and its children alone."""
        if len(str(self.work)) <= SHORT_BYTES_MAX:
            return [word.replace("{short}", str(self.work)) for word in argv]
        prefix = len(self.prefix)
        own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        mounted = ["unshare", "--mount", *own, "sh", "-c", f'mount --bind "$0" {SHORT} && exec "$@"', str(self.work)]
        return [word.replace("{short}", SHORT) for word in [*argv[:prefix], *mounted, *argv[prefix:]]]

    def _filled(self, text: str) -> str:
        installed = self._installed or Installed(python=sys.executable, bin=str(Path(sys.executable).parent))
        for word, value in (("{python}", installed.python), ("{bin}", installed.bin), ("{work}", str(self.work))):
            text = text.replace(word, value)
        return text


def _signal(tended: Tended, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if tended.popen.poll() is None or number == signal.SIGKILL:
            os.killpg(tended.popen.pid, number)


def _as_another() -> tuple[str, ...]:
    """Return what shows root as another user, in a user namespace of its own: outside, the files stay the agent's."""
    if os.geteuid() != 0:
        return ()
    for name in UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return ("unshare", "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}", "--")
    raise WorldError(
        "this engine refuses to run as root, and this node has no other user", hint="run the agent as a user"
    )


def listening(pid: int) -> set[int]:
    """Return the ports at which somebody listens in the network that a process is in."""
    ports = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/net/{table}", encoding="ascii") as file:
            for line in file:
                words = line.split()
                if words[3:4] == [LISTENS]:
                    ports.add(int(words[1].rpartition(":")[2], 16))
    return ports


def last_words(said: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "without a word"


# -- calls of the holder: the worker behind a lease has one tender ----------------------------------------------------------

_tenders: list[Tender] = []


def _tender() -> Tender:
    if not _tenders:
        _tenders.append(Tender())
    return _tenders[0]


def prepare(software: Software, patience_s: float) -> Prepared:
    """See ``Tender.prepare``."""
    return _tender().prepare(software, patience_s)


def join(prefix: tuple[str, ...]) -> None:
    """Let what begins from now on begin behind these words: they bring it into the private network."""
    _tender().prefix = prefix


def free_ports(count: int) -> tuple[int, ...]:
    """Return ports of loopback that nobody uses now."""
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = tuple(sock.getsockname()[1] for sock in socks)
    for sock in socks:
        sock.close()
    return ports


def begin(processes: tuple[Process, ...]) -> None:
    """Start processes."""
    for process in processes:
        _tender().begin(process)


def look(patience_s: float) -> tuple[Seen, ...]:
    """See ``Tender.look``."""
    return _tender().look(patience_s)


def start(argv: tuple[str, ...], env: dict[str, str], not_root: bool) -> int:  # noqa: FBT001 - calls of a lane go by place
    """See ``Tender.start``."""
    return _tender().start(argv, env, not_root=not_root)


def ended(number: int, patience_s: float) -> Ran | None:
    """See ``Tender.ended``."""
    return _tender().ended(number, patience_s)


def read(name: str, offset: int, size: int) -> bytes:
    """See ``Tender.read``."""
    return _tender().read(name, offset, size)


def write(name: str, offset: int, data: bytes) -> None:
    """See ``Tender.write``."""
    _tender().write(name, offset, data)


def end(grace_s: float = END_SECONDS) -> None:
    """See ``Tender.end``."""
    _tender().end(grace_s)


def retire(grace_s: float) -> None:
    """End, where the rest of the engine goes on."""
    _tender().end(grace_s, gently=True)
