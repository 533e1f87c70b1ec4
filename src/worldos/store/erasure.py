"""Erasure codes: n shares, of which any k give everything back.

The code is systematic and contiguous: the first k shares are the segment itself, cut in k equal parts, so that a small piece
lies in one share and is read without any decoding. The others are sums of these in GF(2^8) by a Cauchy matrix: row i >= k has
1 / (i xor j) at column j. Each square part of such a matrix is regular, so *any* k shares do; that is not so of ISA-L's
Vandermonde matrix, which loses data for 46 of 8 008 sets at 10-of-16. Bytes at one offset of all shares are one word of the
code: a range of bytes is decoded from the same range of k shares alone.

A ``Codec`` is whoever multiplies. ``TableCodec`` needs no native code and writes the same bytes as ISA-L (depot/codec.py).
Source: ISA-L ``gf_gen_cauchy1_matrix``; evidence in docs/decisions/0010-erasure-isal.md.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from worldos.store.galois import POLYNOMIAL, Rows, combined, inverse, inverted, times, unit_rows
from worldos.store.limits import SHARE_ALIGN_BYTES, SHARES_MAX

Buffer: TypeAlias = bytes | bytearray | memoryview
WritableBuffer: TypeAlias = bytearray | memoryview

TABLE_BLOCK_BYTES: Final = 128 << 10  # what TableCodec works on at a time: few calls of numpy, all in the cache


class Code(msgspec.Struct, frozen=True):
    """How many shares are enough, of how many."""

    k: int
    n: int

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.n <= SHARES_MAX:
            raise ValueError(f"no code: {self.k} of {self.n} shares (1 <= k <= n <= {SHARES_MAX})")

    def __str__(self) -> str:
        return f"{self.k}-of-{self.n}"


class Codec(Protocol):
    """Whoever multiplies buffers by coefficients and adds them up. Safe to use from many threads."""

    @property
    def name(self) -> str:
        """What does the work, for ``wos status`` and benches."""
        ...

    def combine(self, rows: Sequence[bytes], sources: Sequence[Buffer], targets: Sequence[WritableBuffer]) -> None:
        """Write into each target the sum of all sources, each times its coefficient in the target's row.

        All buffers have one length; no target overlaps a source.
        """
        ...


@functools.lru_cache(maxsize=256)
def parity_rows(k: int, n: int) -> Rows:
    """Return the coefficients of the shares k to n - 1, a row each."""
    return tuple(bytes(inverse(row ^ column) for column in range(k)) for row in range(k, n))


@functools.lru_cache(maxsize=256)
def _all_rows(k: int, n: int) -> Rows:
    return unit_rows(k) + parity_rows(k, n)


def decode_rows(k: int, n: int, have: Sequence[int], want: Sequence[int]) -> Rows:
    """Return how the shares ``want`` are made of exactly k shares ``have``; columns in the order of ``have``."""
    return _decode_rows(k, n, tuple(have), tuple(want))


@functools.lru_cache(maxsize=4096)
def _decode_rows(k: int, n: int, have: tuple[int, ...], want: tuple[int, ...]) -> Rows:
    if len(have) != k or len(set(have)) != k or not all(0 <= index < n for index in (*have, *want)):
        raise ValueError(f"shares {list(have)} cannot give {list(want)} of a code {k}-of-{n}")
    matrix = _all_rows(k, n)
    back = inverted([matrix[index] for index in have])
    return tuple(combined(matrix[index], back) for index in want)


def share_bytes(segment_bytes: int, k: int) -> int:
    """Return the length of each share of a segment: a k-th of it, rounded up to 64 bytes."""
    part = -(-segment_bytes // k)
    return -(-part // SHARE_ALIGN_BYTES) * SHARE_ALIGN_BYTES


def coded_bytes(segment_bytes: int, k: int) -> int:
    """Return the length of the k data shares side by side: the segment and a few bytes of zeros."""
    return share_bytes(segment_bytes, k) * k


def data_shares(buffer: WritableBuffer, segment_bytes: int, k: int) -> list[memoryview]:
    """Cut the segment at the beginning of ``buffer`` into its k data shares, in place; the last is filled up with zeros.

    The buffer has room for ``coded_bytes``; the views are on it.
    """
    size, total = share_bytes(segment_bytes, k), coded_bytes(segment_bytes, k)
    view = memoryview(buffer).cast("B")
    if len(view) < total:
        raise ValueError(f"{k} shares of {size} bytes do not fit in {len(view)} bytes")
    view[segment_bytes:total] = bytes(total - segment_bytes)
    return [view[start : start + size] for start in range(0, total, size)]


def spans(offset: int, length: int, size: int) -> list[tuple[int, int, int]]:
    """Return where a range of a segment lies: (share, offset in it, length), for data shares of ``size`` bytes."""
    found = []
    while length > 0:
        index, start = divmod(offset, size)
        part = min(length, size - start)
        found.append((index, start, part))
        offset, length = offset + part, length - part
    return found


def encode(codec: Codec, code: Code, shares: Sequence[Buffer], parity: Sequence[WritableBuffer]) -> None:
    """Write the n - k parity shares of k data shares."""
    if parity:
        codec.combine(parity_rows(code.k, code.n), shares, parity)


def decode(
    codec: Codec, code: Code, have: Mapping[int, Buffer], want: Sequence[int], out: Sequence[WritableBuffer]
) -> None:
    """Write the shares ``want`` (data or parity), or the same range of each, from any k of the shares ``have``."""
    if len(have) < code.k:
        raise ValueError(f"{len(have)} shares are too few for {code}")
    chosen = sorted(have)[: code.k]  # data shares first: the more of them, the fewer products
    codec.combine(decode_rows(code.k, code.n, chosen, want), [have[index] for index in chosen], out)


class TableCodec:
    """A codec for machines without native code; slower, and bit for bit the same.

    With numpy it doubles each source seven times (a shift, and 0x1d where a bit fell out) and adds the doublings that a
    coefficient names: all of it vectorised, 28 operations a source however many targets. Without, products come out of a table of
    256 bytes by ``bytes.translate`` and are added as big integers.
    """

    def __init__(self, *, numpy: bool = True) -> None:
        self._numpy: Any = _load_numpy() if numpy else None
        self.name = "tables and numpy" if self._numpy else "tables"

    def combine(self, rows: Sequence[bytes], sources: Sequence[Buffer], targets: Sequence[WritableBuffer]) -> None:
        """Write into each target the sum of all sources, each times its coefficient in the target's row."""
        size = check_shapes(rows, sources, targets)
        views = [memoryview(source).cast("B") for source in sources]
        into = [memoryview(target).cast("B") for target in targets]
        by_block = self._block_of_words if self._numpy else self._block_of_integers
        for start in range(0, size, TABLE_BLOCK_BYTES):
            end = min(size, start + TABLE_BLOCK_BYTES)
            by_block(rows, [view[start:end] for view in views], [view[start:end] for view in into])

    def _block_of_words(self, rows: Sequence[bytes], sources: list[memoryview], targets: list[memoryview]) -> None:
        np = self._numpy
        sums = [np.frombuffer(target, dtype=np.uint8) for target in targets]
        for one in sums:
            one.fill(0)
        value = np.empty(len(sources[0]), dtype=np.uint8)
        fell_out = np.empty(len(value), dtype=np.bool_)
        carry, top_bit = fell_out.view(np.uint8), value.view(np.int8)  # a byte below zero has its top bit set
        for column, source in enumerate(sources):
            value[:] = np.frombuffer(source, dtype=np.uint8)
            named = [row[column] for row in rows]
            for bit in range(max(named).bit_length()):
                if bit:
                    np.less(top_bit, 0, out=fell_out)
                    np.add(value, value, out=value)
                    np.multiply(carry, POLYNOMIAL & 0xFF, out=carry)
                    np.bitwise_xor(value, carry, out=value)
                for number, one in zip(named, sums, strict=True):
                    if number >> bit & 1:
                        np.bitwise_xor(one, value, out=one)

    @staticmethod
    def _block_of_integers(rows: Sequence[bytes], sources: list[memoryview], targets: list[memoryview]) -> None:
        blocks = [bytes(source) for source in sources]
        for row, target in zip(rows, targets, strict=True):
            total = 0
            for number, block in zip(row, blocks, strict=True):
                if number:
                    total ^= int.from_bytes(block if number == 1 else block.translate(times(number)), "little")
            target[:] = total.to_bytes(len(target), "little")


def check_shapes(rows: Sequence[bytes], sources: Sequence[Buffer], targets: Sequence[WritableBuffer]) -> int:
    """Return the one length in bytes of all buffers; ValueError if coefficients and buffers do not fit each other."""
    sizes = {memoryview(one).nbytes for one in (*sources, *targets)}
    if not sources or len(rows) != len(targets) or any(len(row) != len(sources) for row in rows) or len(sizes) > 1:
        raise ValueError(
            f"{len(rows)} rows, {len(sources)} sources and {len(targets)} targets of {sorted(sizes)} bytes do not fit"
        )
    return sizes.pop()


def _load_numpy() -> Any:
    """Return numpy, or nothing where it is not installed; importing it takes 0.1 s, so it waits until it is wanted."""
    try:
        return importlib.import_module("numpy")
    except ImportError:
        return None
