"""Chunks: a file cut where its contents say so, so that an insertion changes the chunks around it and no others.

FastCDC: a rolling sum of the last 64 bytes decides, between 256 KiB and 4 MiB, 1.25 MiB on average. A chunk's id is its
BLAKE3 keyed by its owner: equal chunks of one owner are one, of two owners are strangers. Where chunks end could tell what a
file is; stores see only padded segments, so a fast public cut is enough (secret ones were broken: eprint 2025/532, 2025/558).
The cut is a choice of the writer: no reader depends on it. Source: W. Xia et al., "The Design of Fast Content-Defined
Chunking for Data Deduplication Based Storage Systems", IEEE TPDS 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from blake3 import blake3
from pyfastcdc import FastCDC

from worldos.store.erasure import Buffer, WritableBuffer
from worldos.store.limits import CHUNK_BYTES_AVERAGE, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN

STREAM_BYTES_MIN = 2 * CHUNK_BYTES_MAX  # the buffer of ``chunks_of``: below this it would move its rest again and again


def _cutter() -> FastCDC:
    return FastCDC(CHUNK_BYTES_AVERAGE, min_size=CHUNK_BYTES_MIN, max_size=CHUNK_BYTES_MAX)


def cut(data: Buffer) -> Iterator[tuple[int, int]]:
    """Yield (offset, length) of each chunk of a whole file in memory, in order."""
    if len(data):
        for chunk in _cutter().cut_buf(data):
            yield chunk.offset, chunk.length


def chunks_of(fill: Callable[[memoryview], int], buffer: WritableBuffer) -> Iterator[memoryview]:
    """Yield the chunks of a stream of any length, the same as ``cut`` gives for all of it at once.

    ``fill`` writes the next bytes into the view that it is given and says how many, 0 at the end (``readinto`` of a file
    does). A chunk is a view of ``buffer`` (8 MiB at least), good until the next one is asked for.
    """
    view = memoryview(buffer).cast("B")
    if len(view) < STREAM_BYTES_MIN:
        raise ValueError(f"to cut a stream takes a buffer of {STREAM_BYTES_MIN} bytes, not {len(view)}")
    held, ended = 0, False
    while not ended:
        while held < len(view) and not ended:
            got = fill(view[held:])
            ended = got <= 0
            held += max(0, got)
        # A chunk near the end of what is held would be cut by that end, and not by its contents.
        sure = held if ended else held - CHUNK_BYTES_MAX + 1
        done = 0
        chunks = _cutter().cut_buf(view[:held]) if held else iter(())
        while done < sure:
            chunk = next(chunks)
            done = chunk.offset + chunk.length
            yield view[chunk.offset : done]
        view[: held - done] = view[done:held]
        held -= done


def chunk_id(chunk_key: bytes, data: Buffer) -> bytes:
    """Return what a chunk is called inside one account, whose key this is: 32 bytes."""
    return blake3(data, key=chunk_key).digest()
