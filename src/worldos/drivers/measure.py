"""Measuring: how fast this machine computes and how fast a disk takes bytes.

It costs time, so the agent asks once and keeps the answer. *Speed* is one integer in "millions of instructions per
second" by convention, not by counting: a turn of the Python loop below counts as 250 instructions and a hashed byte
as 4. Work is done in short slices and the best slice counts, because a neighbour on the same processor only ever
makes a slice slower. It says how one core compares with another for work like ours; it is no benchmark of anything
else.

*Disk* writes a small file of its own beside ``folder``'s files, and removes it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time

import msgspec

LOOP_TURNS = 4_000
HASH_BYTES = 64 * 1024
INSTRUCTIONS_PER_TURN = 250
INSTRUCTIONS_PER_BYTE = 4
INSTRUCTIONS_PER_SLICE = LOOP_TURNS * INSTRUCTIONS_PER_TURN + HASH_BYTES * INSTRUCTIONS_PER_BYTE

DISK_WRITE_BYTES = 8 * 1024 * 1024
DISK_CHUNK_BYTES = 1024 * 1024
DISK_SYNC_BYTES = 4096
DISK_SYNCS = 9
DISK_FREE_BYTES_MIN = 256 * 1024 * 1024


class DiskSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """What a disk does: bytes a second to the medium, and how long a small write takes to be safe (median)."""

    write_bytes_s: int
    sync_us: int


def measure_speed(seconds: float = 0.05) -> int:
    """Return this core's speed in ``speed_mips``; takes ``seconds``, in this thread."""
    block = bytes(HASH_BYTES)
    _slice(block)  # the first slice pays for cold caches
    end = time.perf_counter_ns() + int(seconds * 1e9)
    best_ns = _slice(block)
    while time.perf_counter_ns() < end:
        best_ns = min(best_ns, _slice(block))
    return INSTRUCTIONS_PER_SLICE * 1000 // max(1, best_ns)


def measure_disk(folder: str) -> DiskSpeed | None:
    """Return the write speed of the disk that holds ``folder``; ``None`` where it has too little room to try.

    The figure is for data that reached the medium (fdatasync), as a stored file must.
    """
    status = os.statvfs(folder)
    if status.f_bavail * status.f_frsize < DISK_FREE_BYTES_MIN:
        return None
    block = os.urandom(DISK_CHUNK_BYTES)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        start = time.perf_counter_ns()
        for _ in range(DISK_WRITE_BYTES // DISK_CHUNK_BYTES):
            file.write(block)
        os.fdatasync(file.fileno())
        write_ns = max(1, time.perf_counter_ns() - start)
        syncs_ns = sorted(_sync_ns(file.fileno(), block[:DISK_SYNC_BYTES]) for _ in range(DISK_SYNCS))
    return DiskSpeed(
        write_bytes_s=DISK_WRITE_BYTES * 1_000_000_000 // write_ns,
        sync_us=max(1, syncs_ns[DISK_SYNCS // 2] // 1000),
    )


def _slice(block: bytes) -> int:
    """Do a fixed piece of work; return how long it took, in ns."""
    start = time.perf_counter_ns()
    value = 1
    for turn in range(LOOP_TURNS):
        value = (value * 1_103_515_245 + turn) & 0x7FFF_FFFF
    hashlib.sha256(block).digest()
    return time.perf_counter_ns() - start


def _sync_ns(descriptor: int, block: bytes) -> int:
    start = time.perf_counter_ns()
    os.write(descriptor, block)
    os.fdatasync(descriptor)
    return time.perf_counter_ns() - start
