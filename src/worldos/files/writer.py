"""Writing: a stream of bytes becomes sealed segments, shares in stores, and a manifest that says how to get it back.

    fill -> cut -> pack (threads) -> seal (in order, one thread) -> code and digest (threads) -> ship

Bytes are read into lent buffers, sealed from there straight into a segment, and sent from there: on this path nothing is copied
but the end of one buffer to the beginning of the next. An upload is acknowledged when each segment is kept (see shipment.py)
and the signed manifest is; until then no name leads to it, so a program that dies in the middle changes nothing that can be seen.
The memory is that of the equipment, whatever the size. Invariant: an error of any stage comes out at the next call.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from blake3 import blake3
from msgspec.structs import replace
from pyfastcdc import FastCDC

from worldos.depot.buffers import Pool, Room
from worldos.errors import Unreachable, WorldError
from worldos.files.equipment import Equipment, Workshop
from worldos.files.limits import (
    ABANDON_PATIENCE_S,
    CLOSE_PATIENCE_S,
    MANIFEST_DEVICES_MORE,
    SENT_MAX,
    UNFINISHED_BYTES_MAX,
    UNFINISHED_PATIENCE_S,
)
from worldos.files.logs import append
from worldos.files.owing import Sent, pay
from worldos.files.shipment import Parcel, Shipment
from worldos.files.stores import Store
from worldos.store import keys, manifest
from worldos.store.erasure import Code, Codec, coded_bytes, data_shares, encode, share_bytes
from worldos.store.leaves import leaf_digests, root_of
from worldos.store.limits import CHUNK_BYTES_AVERAGE, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, FILE_INLINE_BYTES_MAX
from worldos.store.manifest import Contents, Map, Piece, Segment
from worldos.store.ops import FileRef
from worldos.store.segment import Packer, Sealed, SegmentWriter

Place = Callable[[int, int], Sequence[Store]]
"""Says where shares go: how many stores are wanted, and how many bytes each shall take."""


class Uploads:
    """What all uploads of a session share: where shares go, who pays, who codes."""

    def __init__(self, place: Place, code_of: Callable[[], Code], codec: Codec, owner: str) -> None:
        self.place = place
        self.code_of = code_of
        self.codec = codec
        self.owner = owner
        self.workshop = Workshop()
        self.unfinished: list[Shipment] = []
        self._sent: list[Sent] = []  # what may lack shares
        self._lock = threading.Lock()

    def begin(self, *, write: bytes = b"", expected_bytes: int = -1) -> Upload:
        """Begin an upload; ``write`` is the write secret where it is not a new file."""
        return Upload(self, write or secrets.token_bytes(keys.SECRET_BYTES), expected_bytes)

    def leave(self, sent: Sequence[Sent]) -> None:
        """Take over what is kept and not yet complete: it goes on until the session ends."""
        with self._lock:
            self._sent = [each for each in (*self._sent, *sent) if each.shipment.debt][-SENT_MAX:]
            self.unfinished = [each.shipment for each in self._sent if each.shipment.busy]
            rest = list(self.unfinished)
        while sum(each.size_bytes for each in rest) > UNFINISHED_BYTES_MAX:
            rest.pop(0).finish(UNFINISHED_PATIENCE_S)
            rest = [each for each in rest if each.busy]

    def debt(self) -> int:
        """Return how many shares are still on their way."""
        with self._lock:
            return sum(each.shipment.debt for each in self._sent)

    def close(self) -> None:
        """Let what is on its way arrive, as long as it moves; what does not is left to the carers."""
        with self._lock:
            rest, self.unfinished = self.unfinished, []
        until_s = time.monotonic() + CLOSE_PATIENCE_S
        for shipment in rest:
            shipment.finish(max(0.0, until_s - time.monotonic()))
        with self._lock:
            sent, self._sent = [each for each in self._sent if each.shipment.debt], []
        if sent:
            pay(sent, self.place(max(each.segment.n for each in sent), 0), self.codec, self.owner, until_s)
        self.workshop.close()


class Upload:
    """One file on its way. ``space`` and ``filled`` in turn, then ``finish``; or ``abandon`` at any point."""

    def __init__(self, uploads: Uploads, write: bytes, expected_bytes: int) -> None:
        self._uploads = uploads
        self._write = write
        self._verify = keys.verify_of(keys.read_of(write))
        self._expected_bytes = expected_bytes
        self._hash = blake3(max_threads=blake3.AUTO)
        self._code: Code | None = None
        self._equipment: Equipment | None = None
        self._room: Room | None = None
        self._small = bytearray(FILE_INLINE_BYTES_MAX + 1)
        self._held = 0  # bytes in the buffer that is being filled
        self._ended = False
        self._error: BaseException | None = None
        self._sealing: ThreadPoolExecutor | None = None
        self._writer: SegmentWriter | None = None
        self._sealed: list[Future[tuple[Segment, Shipment]]] = []
        self._shipments: list[Shipment] = []
        self._keys: list[bytes] = []
        self._pieces: list[Piece] = []
        self._stores: Sequence[Store] = ()
        self.size_bytes = 0

    # -- taking bytes in ---------------------------------------------------------------------------------------------------

    def space(self) -> memoryview:
        """Return where the next bytes go; never empty. Waits while stores are slower than the source."""
        self._check()
        if self._room is None:
            if self._held < len(self._small):
                return memoryview(self._small)[self._held :]
            self._grow()
        assert self._room is not None
        if self._held == len(self._room.view):
            self._cut(at_end=False)
        return self._room.view[self._held :]

    def filled(self, count: int) -> None:
        """Say how many bytes were laid into ``space``."""
        if count <= 0:
            return
        target = self._room.view if self._room is not None else memoryview(self._small)
        self._hash.update(target[self._held : self._held + count])
        self._held += count
        self.size_bytes += count

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take in bytes."""
        view = memoryview(data).cast("B")
        while len(view):
            space = self.space()
            count = min(len(space), len(view))
            space[:count] = view[:count]
            self.filled(count)
            view = view[count:]

    def finish(self, *, modified_ns: int, mode: int = 0o644, media: str = "", inline: bool = True) -> FileRef:
        """Return what the name shall stand for: all of it is kept when this returns."""
        digest = self._hash.digest()
        about = FileRef(
            size_bytes=self.size_bytes, modified_ns=modified_ns, digest=digest, media=media, mode=mode & 0o7777
        )
        if self._room is None and self._held <= FILE_INLINE_BYTES_MAX and inline:
            self._ended = True
            return replace(about, inline=bytes(self._small[: self._held]))
        try:
            if self._room is None:
                self._grow()
            self._cut(at_end=True)
            segments = self._close_segments()
            self._keep_manifest(segments, about)
        except BaseException:
            self.abandon()
            raise
        self._end()
        done = [future.result() for future in self._sealed]
        self._uploads.leave([Sent(segment, self._verify, shipment) for segment, shipment in done])
        return replace(about, write=self._write)

    def abandon(self) -> None:
        """Take it all back: what stores have of it already is dropped there, as far as they answer."""
        if self._ended:
            return
        self._error = self._error or Unreachable("this upload was given up")
        if self._sealing is not None:
            self._sealing.shutdown(wait=True, cancel_futures=True)
        if self._writer is not None:
            self._writer.abandon()
        done = [future.result() for future in self._sealed if not future.cancel() and future.exception() is None]
        for segment, shipment in done:
            shipment.finish(ABANDON_PATIENCE_S)  # so that what is dropped does not come after its drop
            ids = manifest.share_ids(segment, self._verify)
            for store in self._stores:
                if not store.doubted:
                    store.ask(lambda link, ids=ids: link.drop(ids))  # type: ignore[misc]
        self._end()

    # -- cutting -------------------------------------------------------------------------------------------------------------

    def _grow(self) -> None:
        """Leave the small beginning for real buffers: this file does not fit into a name's own entry."""
        self._code = code = self._uploads.code_of()
        self._equipment = self._uploads.workshop.take(code)
        share = share_bytes(self._equipment.largest, code.k)
        expected = max(0, self._expected_bytes)
        each_bytes = max(share, expected // code.k + expected // 16 + share)
        self._stores = self._uploads.place(code.n, each_bytes)
        self._sealing = ThreadPoolExecutor(1, "wos-seal")
        self._writer = SegmentWriter(self._take_room, os.urandom, self._ship, largest=self._equipment.largest)
        self._room = self._equipment.reading.take()
        self._room.view[: self._held] = self._small[: self._held]

    def _cut(self, *, at_end: bool) -> None:
        """Send the chunks of the full buffer on their way; what may not be a whole chunk goes to the next buffer."""
        assert self._room is not None and self._equipment is not None and self._sealing is not None  # noqa: PT018
        room, held = self._room, self._held
        sure = held if at_end else held - CHUNK_BYTES_MAX
        done = 0
        chunks: list[memoryview] = []
        if held:
            for cut in _cutter().cut_buf(room.view[:held]):
                if done > sure:
                    break
                done = cut.offset + cut.length
                chunks.append(room.view[cut.offset : done])
        self._room = None
        if not at_end:
            fresh = self._equipment.reading.take()
            fresh.view[: held - done] = room.view[done:held]
            self._room = fresh
        self._held = held - done
        packing = self._uploads.workshop.packing
        for chunk in chunks:
            self._sealing.submit(self._guarded, self._add, chunk, packing.submit(_pack, chunk))
        self._sealing.submit(room.release)

    # -- sealing: all of this in the one sealing thread ------------------------------------------------------------------------

    def _guarded(self, work: Callable[..., None], *arguments: object) -> None:
        if self._error is not None:
            return
        try:
            work(*arguments)
        except BaseException as error:  # noqa: BLE001 - it comes out at the next call of who writes
            self._error = error

    def _add(self, chunk: memoryview, packed: Future[bytes | None]) -> None:
        assert self._writer is not None
        self._writer.add(chunk, packed.result())

    def _take_room(self) -> Room:
        assert self._equipment is not None
        return self._take(self._equipment.segments)

    def _take(self, pool: Pool) -> Room:
        """Borrow a buffer; where all are out, have those stores give theirs back that hold up the others."""
        begun_s = time.monotonic()
        while True:
            try:
                return pool.take(timeout_s=0.02)
            except Unreachable:
                for shipment in list(self._shipments):
                    shipment.look_after(time.monotonic() - begun_s)
                if self._error is not None:
                    raise

    def _ship(self, sealed: Sealed) -> None:
        number = len(self._sealed)
        self._keys.append(sealed.key)
        self._pieces += [
            Piece(number, part.number, part.offset, part.sealed_bytes, part.plain_bytes, part.packed)
            for part in sealed.parts
        ]
        self._sealed.append(self._uploads.workshop.coding.submit(self._code_and_send, sealed, number))

    # -- coding: in the coding threads -----------------------------------------------------------------------------------------

    def _code_and_send(self, sealed: Sealed, number: int) -> tuple[Segment, Shipment]:
        assert self._equipment is not None and self._code is not None  # noqa: PT018
        code, rooms = self._code, [sealed.room]
        try:
            size = share_bytes(sealed.size_bytes, code.k)
            shares: list[memoryview] = data_shares(
                sealed.room.view[: coded_bytes(sealed.size_bytes, code.k)], sealed.size_bytes, code.k
            )
            if code.n > code.k:
                room = self._take(self._equipment.parity)
                rooms.append(room)
                parity = [room.view[start : start + size] for start in range(0, (code.n - code.k) * size, size)]
                encode(self._uploads.codec, code, shares, parity)
                shares += parity
            digests = [leaf_digests(share) for share in shares]
            roots = tuple([root_of(each, size) for each in digests])
            segment = Segment(id=sealed.id, k=code.k, n=code.n, size_bytes=sealed.size_bytes, roots=roots)
            ids = manifest.share_ids(segment, self._verify)
            parcels = [Parcel(*each) for each in zip(ids, shares, digests, strict=True)]
        except BaseException:
            for each in rooms:
                each.release()
            raise

        def released() -> None:
            for each in rooms:
                each.release()

        stores = self._rotated(number)
        shipment = Shipment(code, parcels, stores, self._uploads.owner, released)
        self._shipments.append(shipment)
        return segment, shipment

    def _rotated(self, number: int) -> list[Store]:
        """Begin at another store for each segment, so that all serve reads alike."""
        stores = [store for store in self._stores if not store.refused_room]
        if not stores:
            stores = list(self._stores)
        turn = number % len(stores) if stores else 0
        return stores[turn:] + stores[:turn]

    # -- the end -----------------------------------------------------------------------------------------------------------------

    def _close_segments(self) -> list[Segment]:
        assert self._sealing is not None and self._writer is not None  # noqa: PT018
        self._sealing.submit(self._guarded, self._writer.close)
        self._sealing.shutdown(wait=True)
        self._check()
        segments = []
        for future in self._sealed:
            segment, shipment = future.result()
            shipment.wait_kept()
            segments.append(segment)
        return segments

    def _keep_manifest(self, segments: list[Segment], about: FileRef) -> None:
        assert self._code is not None
        made = Map(segments=tuple(segments))
        contents = Contents(
            public=keys.signing_key(self._write).public,
            salt=keys.salt_of(self._write),
            size_bytes=about.size_bytes,
            modified_ns=about.modified_ns,
            mode=about.mode,
            media=about.media,
            digest=about.digest,
            pieces=tuple(self._pieces),
            keys=tuple(self._keys),
        )
        entry = manifest.sign_manifest(self._write, 1, made, contents, (os.urandom(12), os.urandom(12)))
        append(self._stores, [entry], devices=self._code.k + MANIFEST_DEVICES_MORE)
        for store in self._stores:
            if not store.doubted:  # a guest's depot refuses; whoever looks after it lives with us
                store.ask(lambda link: link.care(entry.log, self._verify, self._uploads.owner))

    def _check(self) -> None:
        if self._error is not None:
            error = self._error
            self.abandon()
            if isinstance(error, WorldError):
                raise error
            raise Unreachable("a file could not be written") from error

    def _end(self) -> None:
        self._ended = True
        equipment, self._equipment = self._equipment, None
        room, self._room = self._room, None
        if room is not None:
            room.release()
        if equipment is not None:
            self._uploads.workshop.give_back(equipment)


class _Packers(threading.local):
    """A packer for each thread: it has memory that it uses again."""

    def __init__(self) -> None:
        self.packer = Packer()


_packers = _Packers()


def _pack(chunk: memoryview) -> bytes | None:
    return _packers.packer.pack(chunk)


def _cutter() -> FastCDC:
    return FastCDC(CHUNK_BYTES_AVERAGE, min_size=CHUNK_BYTES_MIN, max_size=CHUNK_BYTES_MAX)
