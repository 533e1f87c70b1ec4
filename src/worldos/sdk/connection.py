"""One conversation with the agent for the whole program: requests go out from any thread, one thread listens.

Each granted use has a *hearer* that is told, in order, all that concerns it. When the conversation ends, every
hearer and every open question is told so once, and the next use begins a new one. A forked child lets go of its copy:
what it inherited belongs to the parent, so the agent still sees the parent's end as the end.
Invariant: no message is sent after ``close``; nothing waits for an answer that cannot come.
Units: timeouts in seconds, as Python's own.
"""

from __future__ import annotations

import atexit
import os
import socket
import struct
import sys
import threading
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import msgspec

from worldos import errors
from worldos.errors import NoAgent, NotAllowed, PeerBroke, Unreachable, WorldError
from worldos.home import default_home
from worldos.model.ids import LeaseId, NodeId, UseId
from worldos.model.limits import LOCAL_MESSAGE_BYTES_MAX
from worldos.model.local import (
    LOCAL_VERSION,
    Answer,
    Ask,
    Doors,
    Failure,
    FromClient,
    Hello,
    LeaseAdded,
    LeaseDoubted,
    LeaseLost,
    LeaseWanted,
    Noticed,
    OpenDoors,
    Pause,
    Progress,
    Release,
    ToClient,
    UseGranted,
    UseRefused,
)
from worldos.sdk.embedded import Embedded, take
from worldos.sdk.shown import shown_grant

LENGTH = struct.Struct("<I")
ASK_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 10.0
COMMAND_WORDS = 3  # of a command of wos, in what its leases are listed under

TOLD_TIMEOUT_S = 1.0
UseMessage = UseGranted | UseRefused | LeaseAdded | LeaseLost | LeaseWanted | LeaseDoubted | Doors

_decoder: msgspec.msgpack.Decoder[ToClient] = msgspec.msgpack.Decoder(ToClient)
_encoder = msgspec.msgpack.Encoder()


class Hearer(Protocol):
    """Who is told what happens to a use. Called on the listening thread: it must not wait."""

    def heard(self, message: UseMessage) -> None:
        """Take in a message about this use."""

    def cut(self, why: WorldError) -> None:
        """Take in that the conversation has ended, and with it every lease."""


class Connection:
    """An open conversation with one agent. ``embedded``: the agent that lives for this program, if it is such."""

    def __init__(self, path: Path, embedded: Embedded | None = None) -> None:
        self.embedded = embedded
        self.ended: WorldError | None = None
        grant = b"" if embedded is not None else shown_grant()
        self._socket = connected(path)
        self._sending = threading.RLock()  # both may be entered again: the collector may drop a handle at any point
        self._tables = threading.RLock()
        self._hearers: dict[UseId, Hearer] = {}
        self._use_of: dict[LeaseId, UseId] = {}
        self._questions: dict[int, SimpleQueue[Answer | Failure | WorldError]] = {}
        self._number = 0
        self._told = 0  # the order given last whose answer nobody waits for
        self._node: NodeId | None = None
        self.send(Hello(version=LOCAL_VERSION, program=program_name(), grant=grant))
        self._listener = threading.Thread(target=self._listen, name="worldos-agent", daemon=True)
        self._listener.start()

    def next_use(self, hearer: Hearer) -> UseId:
        """Name a new use and say who hears about it."""
        with self._tables:
            self._number += 1
            use = UseId(f"{os.getpid()}-{self._number}")
            self._hearers[use] = hearer
        if self.ended is not None:
            raise self.ended
        return use

    def send(self, message: FromClient) -> None:
        """Send a message; raise why the conversation ended, if it has."""
        if self.ended is not None:
            raise self.ended
        body = _encoder.encode(message)
        if len(body) > LOCAL_MESSAGE_BYTES_MAX:
            raise errors.BadRequest(f"a request of {len(body)} bytes, at most {LOCAL_MESSAGE_BYTES_MAX} are allowed")
        frame = LENGTH.pack(len(body)) + body
        try:
            with self._sending:
                self._socket.sendall(frame)
        except OSError as cause:
            self._end(_agent_gone())
            raise _agent_gone() from cause

    def open_doors(self, use: UseId, lease: LeaseId) -> None:
        """Ask where the workers of a lease are; the use's hearer gets the answer."""
        with self._tables:
            self._use_of[lease] = use
        self.send(OpenDoors(lease=lease))

    def release(self, use: UseId, leases: list[LeaseId]) -> None:
        """Give a use back and hear no more of it."""
        with self._tables:
            self._hearers.pop(use, None)
            for lease in leases:
                self._use_of.pop(lease, None)
        if self.ended is None:
            with suppress(WorldError):  # an agent that is gone has released everything
                self.send(Release(use=use))

    def ask(self, name: str, arguments: dict[str, Any] | None = None, timeout: float | None = ASK_TIMEOUT_S) -> Any:
        """Put a question to the agent and wait for the answer; a failure comes as the error that it was."""
        return self._question(lambda number: Ask(request=number, name=name, arguments=arguments or {}), timeout)

    def tell(self, name: str, arguments: dict[str, Any]) -> None:
        """Give an order whose answer nobody waits for, but for the last one's at the end of the conversation."""
        with self._tables:
            self._number += 1
            number = self._number
            self._questions.pop(self._told, None)
            self._questions[number] = SimpleQueue()
            self._told = number
        self.send(Ask(request=number, name=name, arguments=arguments))

    def node(self) -> NodeId:
        """Return the id of the node that we talk to."""
        if self._node is None:
            self._node = NodeId(self.ask("status")["node"])
        return self._node

    def pause(self, lease: LeaseId, *, paused: bool, timeout: float | None = ASK_TIMEOUT_S) -> None:
        """Let the workers of a lease rest, or go on."""
        self._question(lambda number: Pause(request=number, lease=lease, paused=paused), timeout)

    def close(self) -> None:
        """End the conversation, and the agent under it if it lives for this program.

        What was told is heard first: an agent that cannot answer a program any more reads no more of it.
        """
        last = self._questions.get(self._told)
        if last is not None and self.ended is None:
            with suppress(Empty):
                last.get(timeout=TOLD_TIMEOUT_S)
        self._end(NoAgent("the program has let go of its agent"))
        if self.embedded is not None:
            self.embedded.end()

    def forget(self) -> None:
        """In a forked child: let go of what belongs to the parent, without a word to the agent."""
        self.ended = errors.LeaseEnded(
            "this lease belongs to the parent process", hint="call worldos.use() in the process that works with it"
        )
        self._sending = threading.RLock()
        self._tables = threading.RLock()
        with suppress(OSError):
            self._socket.close()
        if self.embedded is not None:
            self.embedded.forget()

    def _question(self, make: Any, timeout: float | None) -> Any:
        answers: SimpleQueue[Answer | Failure | WorldError] = SimpleQueue()
        with self._tables:
            self._number += 1
            number = self._number
            self._questions[number] = answers
        try:
            self.send(make(number))
            answer = answers.get(timeout=timeout)
        except Empty:
            raise Unreachable(f"the agent did not answer in {timeout} s") from None
        finally:
            with self._tables:
                self._questions.pop(number, None)
        if isinstance(answer, Answer):
            return answer.value
        raise error_of(answer) if isinstance(answer, Failure) else answer

    # -- the listening thread -----------------------------------------------------------------------------------------

    def _listen(self) -> None:
        buffer = bytearray()
        try:
            while piece := self._socket.recv(1 << 18):
                buffer += piece
                while (body := cut(buffer)) is not None:
                    self._hear(_decoder.decode(body))
        except OSError:
            self._end(_agent_gone())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, PeerBroke) as error:
            self._end(PeerBroke(f"the agent sent what is no message: {error}", hint="is it of another version?"))
        else:
            self._end(_agent_gone())

    def _hear(self, message: ToClient) -> None:
        match message:
            case Answer() | Failure():
                if isinstance(message, Failure) and message.request == 0:
                    self._end(error_of(message))
                    return
                answers = self._questions.get(message.request)
                if answers is not None:
                    answers.put(message)
            case Doors():
                self._tell(self._use_of.get(message.lease, UseId("")), message)
            case UseGranted() | UseRefused() | LeaseAdded() | LeaseLost() | LeaseWanted() | LeaseDoubted():
                self._tell(message.use, message)
            case Progress() | Noticed():
                pass  # programs that want these watch by themselves (wos top)

    def _tell(self, use: UseId, message: UseMessage) -> None:
        hearer = self._hearers.get(use)
        if hearer is not None:
            hearer.heard(message)

    def _end(self, why: WorldError) -> None:
        with self._tables:
            if self.ended is not None:
                return
            self.ended = why
            hearers, self._hearers = list(self._hearers.values()), {}
            questions, self._questions = list(self._questions.values()), {}
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for hearer in hearers:
            hearer.cut(why)
        for answers in questions:
            answers.put(why)


def error_of(failure: Failure) -> WorldError:
    """Return the error that a failure tells of."""
    kind = getattr(errors, failure.error, WorldError)
    if not (isinstance(kind, type) and issubclass(kind, WorldError)):
        kind = WorldError
    return kind(failure.message, hint=failure.hint)


def cut(buffer: bytearray) -> bytes | None:
    """Take the first whole message out of the buffer."""
    if len(buffer) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack_from(buffer)
    if size > LOCAL_MESSAGE_BYTES_MAX:
        raise PeerBroke(f"a message of {size} bytes")
    end = LENGTH.size + size
    if len(buffer) < end:
        return None
    body = bytes(buffer[LENGTH.size : end])
    del buffer[:end]
    return body


def connected(path: Path) -> socket.socket:
    """Connect to an agent; ``NoAgent`` where none listens."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(CONNECT_TIMEOUT_S)
    try:
        sock.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError) as cause:
        sock.close()
        raise NoAgent from cause
    except PermissionError as cause:
        sock.close()
        raise NotAllowed(
            f"the agent at {path} belongs to another user", hint="name a home of your own: WORLDOS_HOME=/path"
        ) from cause
    except OSError as cause:
        sock.close()
        raise Unreachable(f"the agent at {path} does not answer: {cause}") from cause
    sock.settimeout(None)
    return sock


def _agent_gone() -> NoAgent:
    return NoAgent("the agent has ended, and all leases with it")


def program_name() -> str:
    """Return what this program is called, at most 200 characters: what its leases are listed under (``wos engine up Dask``)."""
    name = sys.argv[0] if sys.argv and sys.argv[0] else "python"
    if name.rsplit("/", 1)[-1] != "wos":
        return name[-200:]
    words = takewhile(lambda word: not word.startswith("-"), sys.argv[1 : 1 + COMMAND_WORDS])
    return " ".join(("wos", *words))[:200]


# -- the one conversation of this program -----------------------------------------------------------------------------

_opening = threading.Lock()
_current: Connection | None = None


def connection() -> Connection:
    """Return the program's conversation with its agent: the one that runs, else one that lives for this program."""
    global _current  # noqa: PLW0603 - one conversation a program: this module owns it
    with _opening:
        if _current is not None and _current.ended is None:
            return _current
        embedded = take()
        if embedded is None:
            try:
                _current = Connection(default_home().socket_file)
            except NoAgent:
                embedded = Embedded()
            else:
                return _current
        _current = Connection(embedded.path(), embedded)
        return _current


def close() -> None:
    """End the program's conversation and its embedded agent; the next ``use`` begins anew."""
    global _current
    with _opening:
        ended, _current = _current, None
    unused = take()
    if unused is not None:
        unused.end()
    if ended is not None:
        ended.close()


def _forked() -> None:
    global _current, _opening  # noqa: PLW0603
    _opening = threading.Lock()
    inherited, _current = _current, None
    if inherited is not None:
        inherited.forget()


atexit.register(close)
os.register_at_fork(after_in_child=_forked)
