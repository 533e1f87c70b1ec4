r"""The journal: each event in, with a fingerprint of the effects out, so that any incident can be replayed exactly.

One file a life, and a new one past 32 MB: ``WOSJ1\\n``, then records ``length u32 | crc32 u32 | kind u8 | body``. The first
record is a snapshot of the node (kind S); the others are events (kind E: 8 bytes of fingerprint, then the event). A torn last
record is what a power cut leaves; anything else that does not fit is damage, and is named with its place.
The journal holds no key and no result: only what the kernel decides from.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path

import msgspec

from worldos.errors import CorruptFile, DiskFull, NotAllowed
from worldos.kernel.effects import Effect
from worldos.kernel.events import Event
from worldos.node import Node

MAGIC = b"WOSJ1\n"
HEAD = struct.Struct("<IIc")
SNAPSHOT, EVENT = b"S", b"E"
FINGERPRINT_BYTES = 8
FILE_BYTES_MAX = 32 * 1024 * 1024
FILES_KEPT = 4
RECORD_BYTES_MAX = 64 * 1024 * 1024
MISSED_PER_TRY = 64

_encode = msgspec.msgpack.Encoder().encode
_events: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)


class Journal:
    """The journal of a running node. Written through to the kernel at each event, before its effects leave.

    On a full disk what is decided goes on: the file ends at its last whole record, ``failed`` is told once, and a new file
    begins (with a snapshot, so it can be replayed) when there is room again.
    """

    def __init__(self, folder: Path, node: Node, failed: Callable[[str], None]) -> None:
        self._folder = folder
        self._node = node
        self._failed = failed
        self._missed = 0
        self._file = -1
        self._size = 0
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            self._open()
        except OSError as cause:
            raise DiskFull(f"{folder} cannot be written") from cause

    def append(self, event: Event, effects: list[Effect]) -> None:
        """Record an event and what it led to. Call before any effect is carried out."""
        try:
            if self._missed:
                self._begin_again()
                return
            self._write(EVENT, fingerprint(effects) + _encode(event))
            if self._size > FILE_BYTES_MAX:
                self.close()
                self._open()
        except OSError as error:
            if not self._missed:
                self._failed(os.strerror(error.errno or 0))
            self._missed += 1

    def close(self) -> None:
        """End the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _begin_again(self) -> None:
        """Try a new file now and then; its snapshot holds what the missed events led to."""
        if self._missed % MISSED_PER_TRY:
            self._missed += 1
            return
        self.close()
        self._open()
        self._missed = 0

    def _open(self) -> None:
        old = _files(self._folder)
        for file in old[: max(0, len(old) - FILES_KEPT + 1)]:
            file.unlink(missing_ok=True)
        number = int(old[-1].stem) + 1 if old else 1
        path = self._folder / f"{number:08d}.journal"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._size = 0
            self._put(MAGIC)
            self._write(SNAPSHOT, _encode(self._node))
        except OSError:
            self.close()
            path.unlink()
            raise

    def _write(self, kind: bytes, body: bytes) -> None:
        self._put(HEAD.pack(len(body), zlib.crc32(body), kind) + body)

    def _put(self, data: bytes) -> None:
        """Write all of it, or leave the file as it was."""
        try:
            if os.write(self._file, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)


def fingerprint(effects: list[Effect]) -> bytes:
    """Return 8 bytes that tell one list of effects from another."""
    return blake2b(_encode(effects), digest_size=FINGERPRINT_BYTES).digest()


def newest(folder: Path) -> Path | None:
    """Return the file that is written now, or was written last."""
    files = _files(folder)
    return files[-1] if files else None


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.journal") if file.stem.isdecimal())


def read(file: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield each record's kind and body; a torn end stops it, damage raises ``CorruptFile`` with the place."""
    try:
        with file.open("rb") as stream:
            data = stream.read(len(MAGIC))
            data += stream.read(FILE_BYTES_MAX + RECORD_BYTES_MAX) if data == MAGIC else b""
    except OSError as cause:
        raise NotAllowed(f"{file} cannot be read", hint=f"it must be a file of yours: ls -l {file}") from cause
    if not data.startswith(MAGIC):
        raise CorruptFile(f"{file} is not a journal of World OS", hint="journals are in the home's folder journal/")
    at = len(MAGIC)
    while at + HEAD.size <= len(data):
        size, crc, kind = HEAD.unpack_from(data, at)
        body = data[at + HEAD.size : at + HEAD.size + size]
        if size > RECORD_BYTES_MAX or kind not in {SNAPSHOT, EVENT}:
            raise CorruptFile(f"{file} is damaged at byte {at}", hint="what is before that byte was read")
        if len(body) < size:
            return
        if zlib.crc32(body) != crc:
            raise CorruptFile(f"{file} is damaged at byte {at}", hint="what is before that byte was read")
        yield kind, body
        at += HEAD.size + size


def replay(file: Path) -> Iterator[tuple[Event, list[Effect], bool]]:
    """Feed a journal to a node again: each event, the effects now, and whether they are those of then."""
    node: Node | None = None
    for kind, body in read(file):
        try:
            if kind == SNAPSHOT:
                node = msgspec.msgpack.decode(body, type=Node)
                continue
            event = _events.decode(body[FINGERPRINT_BYTES:])
        except (msgspec.DecodeError, UnicodeDecodeError) as cause:
            hint = "it was written by another version: replay it with that one"
            raise CorruptFile(f"{file} has a record that this version cannot read: {cause}", hint=hint) from cause
        if node is None:
            raise CorruptFile(f"{file} has no snapshot at its beginning")
        effects = node.handle(event)
        yield event, effects, fingerprint(effects) == body[:FINGERPRINT_BYTES]
