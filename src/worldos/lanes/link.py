"""A holder's connection to one worker, and the door that it goes through. No decisions: ``client`` makes them."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any, Final

import msgspec

from worldos.lanes import shm, wire
from worldos.lanes.future import LaneFuture
from worldos.lanes.wire import FrameKind

BATCH_CALLS: Final = 64
BATCH_BYTES: Final = 256 * 1024
DATA_BYTES_MAX: Final = 1 << 48


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """Where a worker is reached. ``local``: on this machine, so memory can be shared; else behind a pump of bytes.

    ``is_own``: on a machine of our account, so what it sends back may be any Python object (else: lanes/plain.py).
    """

    path: str
    node: str = ""
    local: bool = True
    is_own: bool = True
    lease: str = ""  # whose memory its worker shares with others; empty: nothing is known of that


class Link:
    """A connection. ``number`` names its worker in the kernel's machine once it is greeted; 0 before."""

    __slots__ = (
        "batch",
        "batch_bytes",
        "blocked",
        "dead",
        "door",
        "fd",
        "functions",
        "held",
        "inbox",
        "number",
        "outbox",
        "sock",
        "told",
        "welcome",
        "windows",
    )

    def __init__(self, sock: socket.socket, door: Door) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.door = door
        self.inbox = wire.Inbox(sock, takes_fds=door.local, data_bytes_max=DATA_BYTES_MAX)
        self.outbox = wire.Outbox(sock)
        self.batch: list[tuple[int, int, Any]] = []
        self.batch_bytes = 0
        self.functions: set[int] = set()
        self.number = 0
        self.blocked = False
        self.dead = False
        self.windows = shm.Windows(writable=True)  # segments of the worker
        self.told: set[int] = set()  # segments of ours that the worker has
        self.held: dict[int, int] = {}  # ... and how many calls it has in each
        self.welcome: wire.Welcome | None = None

    def put_hello(self) -> None:
        """Queue the greeting."""
        path = [os.path.abspath(p) for p in sys.path] if self.door.local else []
        hello = wire.Hello(
            version=wire.VERSION,
            python=sys.version_info[:2],
            path=path,
            shares_memory=self.door.local,
            times=True,
            measures=True,
        )
        self.outbox.put(wire.frame(FrameKind.HELLO, hello))

    def put_call(self, future: LaneFuture) -> bool:
        """Queue a call, its function before it if need be; return whether there is enough for a frame."""
        function = future.function
        if function.number not in self.functions:
            self.close_batch()
            self.functions.add(function.number)
            self.outbox.put(wire.frame(FrameKind.FUNCTION, function.number, len(function.blob)))
            self.outbox.put(function.blob)
        data = future.data
        if future.parts:
            self._put_large(future)
            return True
        self.batch.append((future.call, function.number, data))
        self.batch_bytes += len(data)
        return len(self.batch) >= BATCH_CALLS or self.batch_bytes >= BATCH_BYTES

    def _put_large(self, future: LaneFuture) -> None:
        self.close_batch()
        places: list[wire.Where] = []
        inline: list[memoryview] = []
        for part in future.parts:
            segment = part.segment
            size = part.bytes.nbytes
            if segment is None or not self.door.local:
                inline.append(part.bytes)
                places.append((0, 0, size))
                continue
            if segment.number not in self.told:
                self.told.add(segment.number)
                self.outbox.put(wire.frame(FrameKind.SEGMENT, (segment.number, segment.size)), segment.fd)
            segment.uses += 1
            self.held[segment.number] = self.held.get(segment.number, 0) + 1
            places.append((segment.number, 0, size))
        meta = wire.Call(call=future.call, function=future.function.number, places=places)
        self.outbox.put(wire.frame(FrameKind.CALL, meta, sum(view.nbytes for view in inline)))
        for view in inline:
            self.outbox.put(view)

    def put(self, kind: FrameKind, meta: object, data: bytes = b"") -> None:
        """Queue any other frame."""
        self.close_batch()
        self.outbox.put(wire.frame(kind, meta, len(data)))
        self.outbox.put(data)

    def close_batch(self) -> None:
        """Make one frame of the small calls that are queued."""
        if self.batch:
            self.outbox.put(wire.frame(FrameKind.CALLS, self.batch))
            self.batch = []
            self.batch_bytes = 0

    def flush(self) -> bool:
        """Send what the socket takes; return whether all is sent. Raises OSError when the worker is gone."""
        if self.windows.released:
            self.put(FrameKind.RELEASE, self.windows.take_released())
        if self.batch:
            calls = wire.frame(FrameKind.CALLS, self.batch)
            self.batch = []
            self.batch_bytes = 0
            return self.outbox.send(calls)
        return self.outbox.flush()

    def close(self) -> None:
        """Hang up."""
        self.dead = True
        self.inbox.close()
        self.windows.close()
        self.sock.close()


class Place:
    """A door, and the connection through it. ``lost``: the worker before, while nothing says yet why it ended."""

    __slots__ = ("door", "knock_s", "link", "lost", "verdict_s")

    def __init__(self, door: Door) -> None:
        self.door = door
        self.link: Link | None = None
        self.lost = 0
        self.verdict_s = 0.0
        self.knock_s = 0.0

    def knock(self) -> Link | None:
        """Connect; return the link, or None if the door is busy now. Raises OSError if there is no such door."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)  # noqa: FBT003
        try:
            sock.connect(self.door.path)
        except BlockingIOError:
            sock.close()
            return None
        except OSError:
            sock.close()
            raise
        self.link = Link(sock, self.door)
        self.link.put_hello()
        return self.link
