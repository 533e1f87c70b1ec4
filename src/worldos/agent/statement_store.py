"""The statements of a node on disk: one file of records, appended to, and written anew when most of it was dropped.

A record is ``length u32 | crc32 u32 | msgpack`` of a statement, or of the id of one that is kept no more. What a crash
tears is the end, and is cut off. Where a record was whole and is no more, the file is moved aside with all before it
taken over: what is lost comes again from the other devices. Statements are synced soon, not at once: they are told to
others in the same moment, and who loses its power in that second says them again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from worldos.agent.home import write_durably
from worldos.errors import CorruptFile, DiskFull
from worldos.kernel.effects import Notice, SaveStatements
from worldos.model.statements import STATEMENT_BYTES_MAX, Statement
from worldos.trust.statements import statement_id

MAGIC = b"wos-statements-1\n"
HEAD = struct.Struct("<II")
RECORD_BYTES_MAX = STATEMENT_BYTES_MAX + 1024
SYNC_AFTER_S = 0.05
ANEW_BYTES_MIN = 256 * 1024


class _Dropped(msgspec.Struct, frozen=True, array_like=True, tag=True):
    id: str


class _Kept(msgspec.Struct, frozen=True, array_like=True, tag=True):
    statement: Statement


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Kept | _Dropped).decode


class StatementStore:
    """The file. ``read`` it once, then ``save`` what the node says."""

    def __init__(self, file: Path, note: Callable[[Notice], None]) -> None:
        self._file = file
        self._note = note
        self._descriptor = -1
        self._sync: asyncio.TimerHandle | None = None
        self._kept: dict[str, Statement] = {}
        self._bytes = 0  # of the file
        self._live_bytes = 0  # ... that are still of use

    def read(self) -> tuple[Statement, ...]:
        """Open the file and return what is kept, in the order in which it came."""
        try:
            data = self._file.read_bytes()
        except FileNotFoundError:
            data = b""
        except OSError as cause:
            raise CorruptFile(f"{self._file} cannot be read") from cause
        if data and not data.startswith(MAGIC[: len(data)]):
            raise CorruptFile(f"{self._file} is damaged", hint=f"move it away: mv {self._file} {self._file}.damaged")
        whole, damaged = self._scan(data)
        if damaged:
            self._note(Notice(name="statements damaged", fields={"file": str(self._file), "at": whole}))
            self._file.replace(self._file.with_name(f"{self._file.name}.damaged"))
        if damaged or whole != len(data):
            self._write_anew()
        else:
            self._open(whole)
        return tuple(self._kept.values())

    def save(self, effect: SaveStatements) -> None:
        """Write down what is kept from now on, and what no more."""
        records = b""
        for identifier in effect.dropped:
            old = self._kept.pop(identifier, None)
            if old is not None:
                records += _record(_Dropped(identifier))
                self._live_bytes -= _size(old)
        for statement in effect.statements:
            identifier = statement_id(statement)
            if identifier not in self._kept:
                self._kept[identifier] = statement
                self._live_bytes += _size(statement)
                records += _record(_Kept(statement))
        if not records or self._descriptor < 0:
            return
        try:
            os.write(self._descriptor, records)
            self._bytes += len(records)
            if self._bytes > max(ANEW_BYTES_MIN, 2 * self._live_bytes):
                self._write_anew()
        except (OSError, DiskFull) as error:
            self._note(Notice(name="statements not stored", fields={"why": str(error)}))
            return
        if self._sync is None:
            self._sync = asyncio.get_running_loop().call_later(SYNC_AFTER_S, self._sync_soon)

    def close(self) -> None:
        """Sync and close."""
        if self._sync is not None:
            self._sync.cancel()
            self._sync = None
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.fdatasync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _sync_soon(self) -> None:
        self._sync = None
        if self._descriptor >= 0:
            descriptor = os.dup(self._descriptor)  # it may be closed meanwhile
            asyncio.get_running_loop().run_in_executor(None, _sync_and_close, descriptor)

    def _scan(self, data: bytes) -> tuple[int, bool]:
        """Take over all whole records; return where they end, and whether something that was whole follows."""
        at = len(MAGIC)
        while at + HEAD.size <= len(data):
            length, crc = HEAD.unpack_from(data, at)
            body = data[at + HEAD.size : at + HEAD.size + length]
            if length > RECORD_BYTES_MAX or (len(body) == length and zlib.crc32(body) != crc):
                return at, True
            if len(body) < length:
                return at, False
            try:
                record = _decode(body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return at, True
            if isinstance(record, _Kept):
                self._kept[statement_id(record.statement)] = record.statement
                self._live_bytes += _size(record.statement)
            else:
                old = self._kept.pop(record.id, None)
                self._live_bytes -= 0 if old is None else _size(old)
            at += HEAD.size + length
        return at, False

    def _write_anew(self) -> None:
        data = MAGIC + b"".join(_record(_Kept(statement)) for statement in self._kept.values())
        write_durably(self._file, data)
        self._open(len(data))

    def _open(self, size_bytes: int) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._bytes = size_bytes


def _record(what: _Kept | _Dropped) -> bytes:
    body = _encode(what)
    return HEAD.pack(len(body), zlib.crc32(body)) + body


def _size(statement: Statement) -> int:
    return HEAD.size + len(_encode(_Kept(statement)))


def _sync_and_close(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # a disk that fails says so at the next write
        os.fdatasync(descriptor)
    os.close(descriptor)
