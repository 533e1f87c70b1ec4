"""Segments: chunks sealed side by side and padded, so that a store sees random bytes of five sizes and nothing else.

A segment has an id (a format byte and 15 random ones) and a random key of its own, used for nothing else. Its pieces are sealed
one by one: AES-256-GCM, or ChaCha20-Poly1305 where there is no hardware for AES; the nonce is the piece's number (12 bytes, big
endian), and the segment's id, the number and the kind are bound to it. What is left to the class is a sealed piece of zeros.
A chunk that does not fit into what is left of a segment is cut in two pieces, so that only the last segment of a file is padded
by more than 4 KiB; that one is sealed again in smaller classes where padding would be more than a quarter of what it holds
and a 32nd of the file.

A piece is packed by zstd if a sample of it shrinks. Pieces must be told sizes, numbers and packing from elsewhere (the manifest):
nothing of that stands in the segment. Source: docs/reference/formats/segment.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from worldos.errors import Damaged
from worldos.store.erasure import Buffer, WritableBuffer
from worldos.store.limits import CHUNK_BYTES_MAX, SEGMENT_BYTES, SEGMENT_BYTES_MAX, SHARE_ALIGN_BYTES, SHARES_MAX

ID_BYTES: Final = 16
KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
FORMAT_AES: Final = 0x10  # version in the upper half, cipher in the lower
FORMAT_CHACHA: Final = 0x11

CUT_BYTES_MIN: Final = 4096  # a chunk is not cut for less than this
PADDING_PART: Final = 4  # the last segment of a file is padded by a quarter of what it holds ...
PADDING_PART_OF_ALL: Final = 32  # ... or by a 32nd of the whole file, whichever is more
ZSTD_LEVEL: Final = 3
SAMPLE_BYTES: Final = 16 << 10  # three of these are tried
SHRINKS_BY: Final = 16  # worth it if at least a sixteenth goes
_PLAIN, _PACKED, _PADDING = b"\0", b"\1", b"\2"
_ZEROS: Final = memoryview(bytes(SEGMENT_BYTES_MAX))  # never written: all one page of the system

Cipher = AESGCM | ChaCha20Poly1305
CIPHERS: Final[dict[int, type[AESGCM] | type[ChaCha20Poly1305]]] = {FORMAT_AES: AESGCM, FORMAT_CHACHA: ChaCha20Poly1305}


def room_bytes(largest: int) -> int:
    """Return what a buffer for segments up to this class needs: the segment, and zeros up to whole shares."""
    return largest + SHARES_MAX * SHARE_ALIGN_BYTES


SEGMENT_ROOM_BYTES: Final = room_bytes(SEGMENT_BYTES_MAX)


class Room(Protocol):
    """A borrowed buffer, as depot/buffers.py lends it."""

    @property
    def view(self) -> memoryview:
        """Its memory."""
        ...

    def release(self) -> None:
        """Give it back."""
        ...


class Placed(Protocol):
    """What must be known to open a piece: a Part, or a Piece of a manifest."""

    @property
    def number(self) -> int: ...  # noqa: D102 - as in Part
    @property
    def sealed_bytes(self) -> int: ...  # noqa: D102
    @property
    def plain_bytes(self) -> int: ...  # noqa: D102
    @property
    def packed(self) -> bool: ...  # noqa: D102


class Part(NamedTuple):
    """One piece inside a segment: its number, where its sealed bytes are, and what comes out of them."""

    number: int
    offset: int
    sealed_bytes: int
    plain_bytes: int
    packed: bool


class Sealed(NamedTuple):
    """A finished segment. Its bytes are the first ``size_bytes`` of the room, which now belongs to who was given this."""

    id: bytes
    key: bytes
    size_bytes: int
    parts: tuple[Part, ...]
    room: Room


class Packer:
    """Makes chunks smaller where that is worth it. For one thread at a time: it has memory that it uses again."""

    def __init__(self) -> None:
        self._whole = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
        self._sample = zstandard.ZstdCompressor(level=1)

    def pack(self, chunk: Buffer) -> bytes | None:
        """Return the chunk as a zstd frame, or nothing if a sample of it, or all of it, does not shrink."""
        size = len(chunk)
        if size > 8 * SAMPLE_BYTES:
            starts = (0, (size - SAMPLE_BYTES) // 2, size - SAMPLE_BYTES)
            sample = b"".join([bytes(chunk[start : start + SAMPLE_BYTES]) for start in starts])
            if not _worth(len(self._sample.compress(sample)), len(sample)):
                return None
        packed = self._whole.compress(chunk)
        return packed if _worth(len(packed), size) else None


def _worth(packed_bytes: int, plain_bytes: int) -> bool:
    return packed_bytes <= plain_bytes - max(1, plain_bytes // SHRINKS_BY)


class SegmentWriter:
    """Takes the chunks of a file in order and hands finished segments to ``done``, in order. For one thread.

    ``take`` lends rooms of ``room_bytes(largest)``, and may wait; ``chance`` gives random bytes that are fit for keys. The
    writer holds one room at a time and never waits for one while it holds another.
    """

    def __init__(
        self,
        take: Callable[[], Room],
        chance: Callable[[int], bytes],
        done: Callable[[Sealed], None],
        *,
        largest: int = SEGMENT_BYTES_MAX,
        form: int = FORMAT_AES,
    ) -> None:
        if largest not in SEGMENT_BYTES:
            raise ValueError(f"no class of segments has {largest} bytes")
        self._take = take
        self._chance = chance
        self._done = done
        self._form = form
        self._make = CIPHERS[form]
        self._packer = Packer()
        self._room: Room | None = None
        self._cipher: Cipher | None = None
        self._id = self._key = b""
        self._parts: list[Part] = []
        self._largest = self._capacity = largest
        self._used = 0
        self._total = 0  # sealed bytes of the file, of all segments

    def add(self, chunk: Buffer, packed: bytes | None = None) -> None:
        """Seal the next chunk, of at most 4 MiB; ``packed`` is what a Packer made of it elsewhere, else one is asked here."""
        if not 0 < len(chunk) <= CHUNK_BYTES_MAX:
            raise ValueError(f"a chunk has 1 to {CHUNK_BYTES_MAX} bytes, not {len(chunk)}")
        self._add(memoryview(chunk).cast("B"), packed or self._packer.pack(chunk))

    def close(self) -> None:
        """Finish the last segments, each in the class that fits."""
        while self._parts:
            size = class_for(self._used, self._total)
            if size >= self._used:
                self._finish(size)
            else:
                self._begin_again(size)

    def abandon(self) -> None:
        """Give back what is held; for a file that is not written after all."""
        room, self._room = self._room, None
        self._parts = []
        if room is not None:
            room.release()

    def _add(self, chunk: memoryview, packed: bytes | None) -> None:
        while len(chunk):
            free = self._capacity - self._used - TAG_BYTES
            if len(packed or chunk) <= free:
                self._seal(packed or chunk, len(chunk), _PACKED if packed else _PLAIN)
                return
            if free < CUT_BYTES_MIN:
                self._finish(self._capacity)
                continue
            head, head_packed = self._head(chunk, packed, free)
            self._seal(head_packed or head, len(head), _PACKED if head_packed else _PLAIN)
            self._finish(self._capacity)
            chunk = chunk[len(head) :]
            packed = self._packer.pack(chunk) if packed else None

    def _head(self, chunk: memoryview, packed: bytes | None, free: int) -> tuple[memoryview, bytes | None]:
        """Cut off so much of a chunk as fits into ``free`` bytes, packed if the whole was."""
        guess = len(chunk) * free // len(packed) * 31 // 32 if packed else 0
        while guess > free:
            head = self._packer.pack(chunk[:guess])
            if head and len(head) <= free:
                return chunk[:guess], head
            guess = guess * 7 // 8
        return chunk[:free], None

    def _seal(self, stored: Buffer, plain_bytes: int, kind: bytes) -> None:
        if self._room is None:
            self._room = self._take()
            self._id = bytes([self._form]) + self._chance(ID_BYTES - 1)
            self._key = self._chance(KEY_BYTES)
            self._cipher = self._make(self._key)
        assert self._cipher is not None
        number, start, end = len(self._parts), self._used, self._used + len(stored) + TAG_BYTES
        assert end <= self._capacity
        into = self._room.view[start:end]
        self._cipher.encrypt_into(_nonce(number), stored, _bound(self._id, number, kind), into)
        self._parts.append(Part(number, start, end - start, plain_bytes, kind == _PACKED))
        self._used = end
        self._total += end - start

    def _finish(self, size: int) -> None:
        """Pad to the class, and hand the segment over."""
        assert self._room is not None
        assert self._cipher is not None
        number, rest = len(self._parts), size - self._used
        bound = _bound(self._id, number, _PADDING)
        if rest >= TAG_BYTES:
            zeros = _ZEROS[: rest - TAG_BYTES]
            self._cipher.encrypt_into(_nonce(number), zeros, bound, self._room.view[self._used : size])
        else:
            self._room.view[self._used : size] = self._cipher.encrypt(_nonce(number), b"", bound)[:rest]
        sealed = Sealed(self._id, self._key, size, tuple(self._parts), self._room)
        self._room, self._cipher, self._parts = None, None, []
        self._used, self._capacity = 0, self._largest
        self._done(sealed)

    def _begin_again(self, size: int) -> None:
        """Open the pieces of the segment at hand, and seal them, with a new key, into segments of this class and others."""
        assert self._room is not None
        view = self._room.view
        stored = [
            (part, _unseal(self._id, self._key, part, view[part.offset : part.offset + part.sealed_bytes]))
            for part in self._parts
        ]
        self._total -= self._used
        self.abandon()
        self._used, self._capacity = 0, size
        for part, data in stored:
            plain = unpack(data, part.plain_bytes) if part.packed else data
            self._add(memoryview(plain), bytes(data) if part.packed else None)


def class_for(rest_bytes: int, total_bytes: int) -> int:
    """Choose the class for the last bytes of a file: the smallest that holds them, if that pads them or the file by little.

    Else the next smaller one: it is filled, and there will be another. O(1).
    """
    fits = next(size for size in SEGMENT_BYTES if size >= rest_bytes)
    place = SEGMENT_BYTES.index(fits)
    if place == 0 or fits - rest_bytes <= max(rest_bytes // PADDING_PART, total_bytes // PADDING_PART_OF_ALL):
        return fits
    return SEGMENT_BYTES[place - 1]


def open_piece(
    segment_id: bytes, key: bytes, piece: Placed, sealed: Buffer, into: WritableBuffer | None = None
) -> Buffer:
    """Return the bytes of a piece, from its sealed bytes; they lie in ``into`` (exactly ``plain_bytes``) if that is given.

    Damaged if they are not what was sealed at this place of this segment.
    """
    if into is not None and len(into) != piece.plain_bytes:
        raise ValueError(f"{piece.plain_bytes} bytes do not fit a buffer of {len(into)}")
    if piece.packed:
        plain = unpack(_unseal(segment_id, key, piece, sealed), piece.plain_bytes)
        if into is None:
            return plain
        into[:] = plain
        return into
    if piece.sealed_bytes != piece.plain_bytes + TAG_BYTES:
        raise Damaged("a piece of a segment has another length than it says")
    if into is None:
        return _unseal(segment_id, key, piece, sealed)
    _unseal_into(segment_id, key, piece, sealed, into)
    return into


def _unseal(segment_id: bytes, key: bytes, piece: Placed, sealed: Buffer) -> bytearray:
    """Return the stored bytes of a piece."""
    plain = bytearray(max(0, piece.sealed_bytes - TAG_BYTES))
    _unseal_into(segment_id, key, piece, sealed, plain)
    return plain


def _unseal_into(segment_id: bytes, key: bytes, piece: Placed, sealed: Buffer, into: WritableBuffer) -> None:
    make = CIPHERS.get(segment_id[0]) if len(segment_id) == ID_BYTES else None
    if make is None:
        raise Damaged("a segment of an unknown format", hint="it was made by a newer World OS: update this one")
    if len(sealed) != piece.sealed_bytes or len(sealed) < TAG_BYTES:
        raise Damaged("a piece of a segment has another length than it says")
    bound = _bound(segment_id, piece.number, _PACKED if piece.packed else _PLAIN)
    try:
        make(key).decrypt_into(_nonce(piece.number), sealed, bound, into)
    except InvalidTag as cause:
        raise Damaged("a piece of a segment is not what was sealed") from cause


def unpack(frame: Buffer, plain_bytes: int) -> bytes:
    """Return what a zstd frame holds, which must be ``plain_bytes`` and at most 4 MiB; else Damaged."""
    try:
        said = zstandard.get_frame_parameters(frame).content_size
        if said != plain_bytes or not 0 < plain_bytes <= CHUNK_BYTES_MAX:
            raise Damaged("a packed piece has another length than it says")
        return zstandard.ZstdDecompressor(max_window_size=CHUNK_BYTES_MAX).decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as cause:
        raise Damaged("a packed piece cannot be unpacked") from cause


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _bound(segment_id: bytes, number: int, kind: bytes) -> bytes:
    return segment_id + number.to_bytes(4, "big") + kind
