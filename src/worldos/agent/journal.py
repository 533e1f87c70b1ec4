r"""The journal: each event in, with a fingerprint of the effects out, so that any incident can be replayed exactly.

One file a life, and a new one past 32 MB: ``WOSJ1\\n``, then records ``length u32 | crc32 u32 | kind u8 | body``. The first
record is a snapshot of the node (kind S); the others are events (kind E: 8 bytes of fingerprint, then the event). A torn last
record is what a power cut leaves; anything else that does not fit is damage, and is named with its place.
The journal holds no key and no result: only what the kernel decides from.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import msgspec

from worldos.errors import CorruptFile
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

_encode = msgspec.msgpack.Encoder().encode
_events: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)


class Journal:
    """The journal of a running node. Written through to the kernel at each event, before its effects leave."""

    def __init__(self, folder: Path, node: Node) -> None:
        self._folder = folder
        self._node = node
        folder.mkdir(mode=0o700, exist_ok=True)
        self._open()

    def append(self, event: Event, effects: list[Effect]) -> None:
        """Record an event and what it led to. Call before any effect is carried out."""
        self._write(EVENT, fingerprint(effects) + _encode(event))
        if self._size > FILE_BYTES_MAX:
            self.close()
            self._open()

    def close(self) -> None:
        """End the file."""
        os.close(self._file)

    def _open(self) -> None:
        old = sorted(self._folder.glob("*.journal"))
        for file in old[: max(0, len(old) - FILES_KEPT + 1)]:
            file.unlink(missing_ok=True)
        number = int(old[-1].stem) + 1 if old else 1
        path = self._folder / f"{number:08d}.journal"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.write(self._file, MAGIC)
        self._write(SNAPSHOT, _encode(self._node))

    def _write(self, kind: bytes, body: bytes) -> None:
        record = HEAD.pack(len(body), zlib.crc32(body), kind) + body
        try:
            self._size += os.write(self._file, record)
        except OSError:
            self._size = 0  # a full disk: what is decided goes on, the file is replayable up to here


def fingerprint(effects: list[Effect]) -> bytes:
    """Return 8 bytes that tell one list of effects from another."""
    return blake2b(_encode(effects), digest_size=FINGERPRINT_BYTES).digest()


def newest(folder: Path) -> Path | None:
    """Return the file that is written now, or was written last."""
    files = sorted(folder.glob("*.journal"))
    return files[-1] if files else None


def read(file: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield each record's kind and body; a torn end stops it, damage raises ``CorruptFile`` with the place."""
    data = file.read_bytes()
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
        except msgspec.DecodeError as cause:
            hint = "it was written by another version: replay it with that one"
            raise CorruptFile(f"{file} has a record that this version cannot read: {cause}", hint=hint) from cause
        if node is None:
            raise CorruptFile(f"{file} has no snapshot at its beginning")
        effects = node.handle(event)
        yield event, effects, fingerprint(effects) == body[:FINGERPRINT_BYTES]
