"""The write-ahead log of a council seat: nothing is said to be kept that a power cut could still take.

A folder a realm, and in it one live file, ``<first round>.wal`` of records (see ``records``). The first record is the *whole*
state (vote, snapshot, log); each one after it is a *round*: all that was appended since the round before (see ``wal_writer``). A
snapshot, and each opening, begins a new file; the old one goes when the new one is on the disk, so half a change is none.

The *witness* is 32 bytes outside of the folder: how far the log was once on the disk. A log behind its witness was cut, lost or
brought back from an old backup. It is written after each round and synced at each new file: never ahead of the log, and behind
it only by what a power cut took. Whatever is damaged is named, moved aside to ``damaged/``, and remembered over restarts until
``mended``: a seat that forgot what it promised must not vote (FAST 2018, see ``records``).
A write or sync that fails is never tried again: what the disk holds then is unknown (Rebello et al., ATC 2020). ``failed`` is
called once, nothing more is acknowledged, and the seat stops; the next opening believes what is whole.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from worldos.agent.home import make_folder, write_durably
from worldos.agent.records import BORDER_BYTES, Record, frame, scan
from worldos.errors import DiskFull, NotAllowed, WorldError
from worldos.home import sync_folder
from worldos.kernel.stored import Recovered, Stored
from worldos.model.raft import Entry, Snapshot, Vote

if TYPE_CHECKING:
    from worldos.agent.wal_writer import WalWriter

AHEAD_BYTES = 256 * 1024  # room zeroed ahead: a sync of bytes inside a file costs 3/4 of one that makes it longer
ERASE_WAIT_S = 10.0
DAMAGED = "damaged"
WITNESS = struct.Struct("<8sQQII")  # magic, round, life, spare, checksum of the rest
WITNESS_MAGIC = b"WOSWIT1\n"


class Written(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a round says, once for each append. ``whole``: forget all before it. ``damaged``: None says nothing new."""

    vote: Vote | None = None
    entries: tuple[Entry, ...] = ()
    snapshot: Snapshot | None = None
    whole: bool = False
    damaged: str | None = None


_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[tuple[Written, ...]] = msgspec.msgpack.Decoder(tuple[Written, ...])


class Wal:
    """The log of one seat. ``done(number)``: all appends up to it are on the disk; called in the event loop."""

    def __init__(
        self,
        folder: Path,
        witness: Path,
        writer: WalWriter,
        *,
        done: Callable[[int], None],
        failed: Callable[[WorldError], None],
    ) -> None:
        self.folder = folder
        self.done = done
        self.failed = failed
        self._writer = writer
        self._witness = witness
        self._file = -1
        self._at = 0  # where the next record goes
        self._room = 0  # so far the file is zeroed or written
        self._round = 0
        self._seen: mmap.mmap | None = (
            None  # the witness: a store into memory, where a call would give the processor away
        )
        self._broken = False
        try:
            make_folder(folder)
            self.recovered, self._stored = self._recover()
            self._life = self.recovered.life
            self._damaged = self.recovered.damaged
            self._begin_file([self._whole()], aside=bool(self._damaged))
        except OSError as cause:
            self._release()
            raise DiskFull(f"{folder} cannot be written") from cause
        except WorldError:
            self._release()
            raise

    # -- in the event loop -------------------------------------------------------------------------

    def append(self, number: int, vote: Vote | None, entries: tuple[Entry, ...], snapshot: Snapshot | None) -> None:
        """Write this down; ``done`` says when it is on the disk."""
        self._stored.persist(vote, entries, snapshot)
        if snapshot is not None:
            self._writer.put(self, number, self._whole(), whole=True)
        else:
            self._writer.put(self, number, _encode(Written(vote=vote, entries=entries)), whole=False)

    def mended(self) -> None:
        """Note that this seat has caught up: it may vote again in its next lives too."""
        self._damaged = ""
        self._writer.put(self, 0, _encode(Written(damaged="")), whole=False)

    def close(self) -> None:
        """Let go of the file, after all that was appended."""
        self._writer.forget(self, erase=False)

    def erase(self) -> None:
        """Forget this log and everything in it: this seat is no more. It waits for the disk, so that a new one may begin here."""
        self._broken = True
        self._writer.forget(self, erase=True).wait(ERASE_WAIT_S)

    def _whole(self) -> bytes:
        stored = self._stored
        return _encode(
            Written(
                vote=stored.vote,
                entries=tuple(stored.entries),
                snapshot=stored.snapshot,
                whole=True,
                damaged=self._damaged,
            )
        )

    # -- in the writer's thread --------------------------------------------------------------------

    def write_round(self, bodies: list[bytes], *, whole: bool) -> bool:
        """Put a round on the disk; False if that is not sure. ``whole``: the first of the bodies is, so a new file begins."""
        if self._broken:
            return False
        try:
            if whole:
                self._begin_file(bodies, aside=False)
            else:
                self._write(bodies)
                self._witness_round(sync=False)
        except (OSError, DiskFull):
            self._broken = True
            self._cut()
            raise
        return True

    def release(self, *, erase: bool) -> None:
        """Close the file; ``erase``: nothing is left of it."""
        self._broken = True
        self._release()
        if erase:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._witness.unlink(missing_ok=True)

    def _release(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._seen is not None:
            self._seen.close()
            self._seen = None

    def _write(self, bodies: list[bytes]) -> None:
        data = frame(self._round + 1, self._life, _joined(bodies))
        if self._at + len(data) > self._room:
            room = self._at + len(data) + AHEAD_BYTES
            room -= room % BORDER_BYTES
            _put(self._file, bytes(room - self._room), self._room)
            self._room = room
            _put(self._file, data, self._at)
            _sync(self._file)
        else:
            _put_through(self._file, data, self._at)
        self._at += len(data)
        self._round += 1

    def _cut(self) -> None:
        """Take half a record off again where that is still possible; the next opening does without, too."""
        if self._file >= 0:
            try:
                os.ftruncate(self._file, self._at)
            except OSError:
                return

    def _begin_file(self, bodies: list[bytes], *, aside: bool) -> None:
        """Write the whole state to a new file; then the old ones go."""
        old = _files(self.folder)
        path = self.folder / f"{self._round + 1:016x}.wal"
        if path in old:  # half a file of a life that ended before it was begun
            path.unlink()
            old.remove(path)
        if self._file >= 0:
            os.close(self._file)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._at = self._room = 0
        self._write(bodies)
        sync_folder(self.folder)
        self._witness_round(sync=True)
        if aside:
            shutil.rmtree(self.folder / DAMAGED, ignore_errors=True)
            (self.folder / DAMAGED).mkdir(mode=0o700)
        for file in old:
            if aside:
                file.rename(self.folder / DAMAGED / file.name)
            else:
                file.unlink()

    def _witness_round(self, *, sync: bool) -> None:
        data = _witness_bytes(self._round, self._life)
        if self._seen is None:
            write_durably(self._witness, data)
            with self._witness.open("r+b") as file:
                self._seen = mmap.mmap(file.fileno(), len(data))
        else:
            self._seen[:] = data
            if sync:
                self._seen.flush()

    # -- at the beginning --------------------------------------------------------------------------

    def _recover(self) -> tuple[Recovered, Stored]:
        """Read what is there; sets the round from which this life counts on."""
        witnessed = _read_witness(self._witness)
        files = _files(self.folder)
        records, damage = _believable(files)
        last_round = records[-1].round if records else 0
        last_life = records[-1].life if records else 0
        if witnessed is None:
            damage = damage or f"{self._witness} cannot be believed"
            witnessed = (0, 0)
        elif not damage and (witnessed[0] > last_round or witnessed[1] > last_life):
            damage = f"{self.folder} ends with round {last_round}, and held round {witnessed[0]} once"
        elif not damage and witnessed == (0, 0) and last_round > 1:  # round 1 is the empty log of a seat just begun
            damage = f"{self._witness} is gone"
        stored, remembered, unread = _replayed(records)
        self._round = max(last_round, witnessed[0])
        recovered = Recovered(
            vote=stored.vote,
            snapshot=stored.snapshot,
            entries=tuple(stored.entries),
            damaged=damage or unread or remembered,
            life=max(last_life, witnessed[1]) + 1,
        )
        return recovered, stored


def _joined(bodies: list[bytes]) -> bytes:
    """Return the msgpack array of what is encoded already."""
    return b"\xdd" + len(bodies).to_bytes(4, "big") + b"".join(bodies)


def _put(descriptor: int, data: bytes, at: int) -> None:
    """Write all of it, or raise."""
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, at)
        if count == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view, at = view[count:], at + count


def _put_through(descriptor: int, data: bytes, at: int) -> None:
    """Write all of it to the disk itself: in one call, where there is one. Each call may have to wait for its turn to go on."""
    if not hasattr(os, "RWF_DSYNC"):
        _put(descriptor, data, at)
        _sync(descriptor)
    elif os.pwritev(descriptor, [data], at, os.RWF_DSYNC) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _sync(descriptor: int) -> None:
    """Have what was written on the disk, with as much about the file as it takes to read it."""
    getattr(os, "fdatasync", os.fsync)(descriptor)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.wal"))


def _believable(files: list[Path]) -> tuple[list[Record], str]:
    """Return the records of the newest file that begins with a whole state, and what is wrong with them or after them."""
    damage = ""
    for file in reversed(files):
        try:
            found = scan(file.read_bytes())
        except PermissionError as cause:
            raise NotAllowed(f"{file} cannot be read", hint=f"it must be a file of yours: ls -l {file}") from cause
        if found.records:
            return found.records, damage or (found.damage and f"{file}: {found.damage}")
        damage = damage or (found.damage and f"{file}: {found.damage}")
    return [], damage


def _replayed(records: list[Record]) -> tuple[Stored, str, str]:
    """Return what the records come to, whether that was damaged before, and what cannot be read."""
    stored, damaged = Stored(), ""
    for record in records:
        try:
            said = _decoder.decode(record.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return stored, damaged, f"round {record.round} cannot be read by this version: {error}"
        for written in said:
            if written.whole:
                stored = Stored()
            stored.persist(written.vote, written.entries, written.snapshot)
            damaged = damaged if written.damaged is None else written.damaged
    return stored, damaged, ""


def _witness_bytes(round_number: int, life: int) -> bytes:
    data = WITNESS.pack(WITNESS_MAGIC, round_number, life, 0, 0)[:-4]
    return data + zlib.crc32(data).to_bytes(4, "little")


def _read_witness(file: Path) -> tuple[int, int] | None:
    """Return round and life; zeros where there is none, None where it is damaged."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return 0, 0
    if len(data) != WITNESS.size or _witness_bytes(*WITNESS.unpack(data)[1:3]) != data:
        return None
    _, round_number, life, _, _ = WITNESS.unpack(data)
    return round_number, life
