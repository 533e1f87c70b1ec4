"""The depot's door: a Unix socket, a few threads for each connection, and nothing that one connection can do to another.

The threads of a connection take turns at reading: who has a whole request lets the next one read, carries it out, answers, and
queues up again (leader and followers). So no request is handed from thread to thread, each thread has one buffer that it uses
again and again, and a connection has no more under way than it has threads: a program that stops reading its answers
stalls itself alone. The socket is for this user only (0600 in a 0700 folder): who can open it may say who it is.

Source: D. Schmidt et al., "Leader/Followers", PLoP 2000.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import socket
import threading
from pathlib import Path
from typing import Final

import msgspec

from worldos.depot.block_store import BlockStore
from worldos.depot.desk import Desk, Heard, Spent, nobody
from worldos.depot.limits import (
    CONNECTIONS_MAX,
    GUEST_CONNECTIONS_MAX,
    IDLE_S,
    STALL_S,
    WORKERS_GUEST,
    WORKERS_OWN,
)
from worldos.depot.stream import Buffer, Idle, Inlet, send_all, time_limits
from worldos.depot.wire import VERSION, AnyReply, AnyRequest, Who, frame_head, read_request, refusal
from worldos.errors import BadRequest, DiskFull, OverQuota, PeerBroke, Unreachable, WorldError

CLOSE_S: Final = 5.0
BACKLOG: Final = 512
NOTHING: Final = memoryview(b"")

log = logging.getLogger(__name__)


class ServerUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a depot's door does now, and did."""

    connections: int
    guests: int
    threads: int
    answered: int
    broke: int


class DepotServer:
    """Serves one store at one socket. ``start`` it, ``close`` it."""

    def __init__(self, store: BlockStore, path: Path, heard: Heard = nobody) -> None:
        """``heard`` is told of each request that brought something to look after, once that is on the disk."""
        self._store = store
        self._path = path
        self.heard = heard
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._lock = threading.Lock()
        self._connections: set[_Connection] = set()
        self._thread = threading.Thread(target=self._accept_all, name="depot door", daemon=True)
        self._closed = False
        self.spent = Spent()
        self.answered = 0
        self.broke = 0

    def start(self) -> None:
        """Open the door."""
        try:
            self._path.unlink(missing_ok=True)
            self._listener.bind(str(self._path))
            self._path.chmod(0o600)  # before anybody can connect
            self._listener.listen(BACKLOG)
        except OSError as cause:
            self._listener.close()
            raise DiskFull(f"{self._path} cannot be made") from cause
        self._thread.start()

    def close(self) -> None:
        """Close the door and hang up; what is being written is finished first."""
        self._closed = True
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)
        self._listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.hang_up()
        for connection in connections:
            connection.ended.wait(CLOSE_S)

    def statistics(self) -> ServerUse:
        """Return what the door does."""
        with self._lock:
            connections = list(self._connections)
            return ServerUse(
                connections=len(connections),
                guests=sum(connection.guest for connection in connections),
                threads=sum(connection.threads for connection in connections),
                answered=self.answered,
                broke=self.broke,
            )

    def _accept_all(self) -> None:
        while not self._closed:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                if self._closed:
                    return
                continue  # the one that knocked is gone already, or there are no descriptors now
            connection = _Connection(self, self._store, sock)
            with self._lock:
                self._connections.add(connection)
            connection.start()

    def admit(self, connection: _Connection, who: Who) -> None:
        """Refuse one connection too many; guests have fewer, so that they never keep the owner out."""
        with self._lock:
            guests = sum(each.guest for each in self._connections)
            if len(self._connections) > CONNECTIONS_MAX or (who.rights == "guest" and guests >= GUEST_CONNECTIONS_MAX):
                raise OverQuota("this depot has as many connections as it takes", hint="close one, or try again later")
            connection.guest = who.rights == "guest"

    def forget(self, connection: _Connection) -> None:
        """A connection has ended."""
        with self._lock:
            self._connections.discard(connection)


class Tray:
    """The buffer of one thread. It grows to the largest payload, and goes when there was nothing to do for a while."""

    def __init__(self) -> None:
        self._view = NOTHING

    def take(self, size: int) -> memoryview:
        """Return ``size`` bytes, good until the next call."""
        if size > self._view.nbytes:
            self.let_go()  # first: there is never room for both
            self._view = memoryview(mmap.mmap(-1, size))
        return self._view[:size]

    def let_go(self) -> None:
        """Give the memory back, when nobody looks at it any more."""
        self._view = NOTHING


class _Connection:
    """One connection and its threads."""

    def __init__(self, server: DepotServer, store: BlockStore, sock: socket.socket) -> None:
        self._server = server
        self._store = store
        self._sock = sock
        time_limits(sock, receive_s=IDLE_S, send_s=STALL_S)
        self._inlet = Inlet(sock, stall_s=STALL_S)
        self._reading = threading.Lock()
        self._sending = threading.Lock()
        self._counting = threading.Lock()
        self._waiting = 0
        self._over = False
        self._desk: Desk | None = None
        self.guest = False
        self.threads = 1
        self.ended = threading.Event()

    def start(self) -> None:
        """Begin to serve."""
        self._spawn()

    def hang_up(self) -> None:
        """End the connection; its threads finish what they have begun."""
        self._over = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    # -- the threads -------------------------------------------------------------------------------------------------

    def _spawn(self) -> None:
        threading.Thread(target=self._work, name="depot", daemon=True).start()

    def _work(self) -> None:
        tray = Tray()
        try:
            while self._serve_one(tray):
                pass
        except (PeerBroke, OverQuota, BadRequest) as error:  # to the connection as a whole
            self._refuse(error)
        except Unreachable as error:
            log.info("a connection ended: %s", error)
            self.hang_up()
        finally:
            tray.let_go()
            self._leave()

    def _serve_one(self, tray: Tray) -> bool:
        """Read one request, carry it out, answer. Return False when this thread is not needed any more."""
        taken = self._take(tray)
        if taken is None:
            return False
        request, payload = taken
        assert self._desk is not None
        reply, data = self._desk.answer(request, payload, tray.take)
        self._send(reply, data)
        self._server.answered += 1
        return True

    def _take(self, tray: Tray) -> tuple[AnyRequest, memoryview] | None:
        """Wait for a turn and for a whole request. None: the connection is over, or there is too little to do."""
        with self._counting:
            self._waiting += 1
        turn = self._reading.acquire(timeout=IDLE_S)
        with self._counting:
            self._waiting -= 1
        if not turn:
            return None
        try:
            return self._read(tray)
        finally:
            self._reading.release()

    def _read(self, tray: Tray) -> tuple[AnyRequest, memoryview] | None:
        while not self._over:
            try:
                frame = self._inlet.next()
            except Idle:
                tray.let_go()
                continue
            if frame is None:
                break
            head, payload_bytes = frame
            request = read_request(head)
            if isinstance(request, Who) != (self._desk is None):
                raise PeerBroke("the first frame, and no other, says who speaks")
            if isinstance(request, Who):
                self._greet(request)
                continue
            payload = tray.take(payload_bytes)
            if payload_bytes:
                self._inlet.payload_into(payload)
            if self._inlet.has_more():
                self._help()
            return request, payload
        self.hang_up()
        return None

    def _help(self) -> None:
        """There is more to do: let another thread read, if none waits to."""
        most = WORKERS_GUEST if self.guest else WORKERS_OWN
        with self._counting:
            if self._waiting or self.threads >= most:
                return
            self.threads += 1
        self._spawn()

    def _leave(self) -> None:
        with self._counting:
            self.threads -= 1
            last = not self.threads
        if last:
            self._over = True
            self._sock.close()
            self._server.forget(self)
            self.ended.set()

    # -- words -------------------------------------------------------------------------------------------------------

    def _greet(self, request: Who) -> None:
        if request.version != VERSION:
            raise BadRequest(f"this depot speaks version {VERSION}, not {request.version}", hint="update World OS")
        self._server.admit(self, request)
        self._desk = Desk(self._store, request, self._server.spent, self._server.heard)

    def _refuse(self, error: WorldError) -> None:
        self._server.broke += isinstance(error, PeerBroke)
        log.info("a connection is refused: %s", error)
        with contextlib.suppress(Unreachable):
            self._send(refusal(0, error), b"")
        self.hang_up()

    def _send(self, reply: AnyReply, data: Buffer) -> None:
        with self._sending:
            send_all(self._sock, [frame_head(reply, len(data)), data])
