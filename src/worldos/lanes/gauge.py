"""The gauge of a worker: what each call took of time, of the processor, of memory, of disks.

Memory is the most that lay in it during the call (the high-water mark of the resident set), above what the process had before its
first call; the kernel is asked to begin that mark anew after each measured call. Where it may not be asked (a sandbox's /proc can
only be read), the mark of the whole life says something only in a call that raises it. What a call's child processes take is not
in it. Calls below ``TIMED_NS`` are not measured: they cost one comparison. Memory and disks are looked at once in ``LOOK_NS`` at
most (4 us): what short calls took counts for the next that is looked at.
Units: ns inside, us and bytes outside. Source: proc(5) clear_refs, getrusage(2); Linux fs/proc/task_mmu.c.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from typing import Final

from worldos.lanes.wire import Measured

TIMED_NS: Final = 100_000  # shorter calls are not worth a word about what they took
MARK_NS: Final = 1_000_000
LOOK_NS: Final = 1_000_000
KB: Final = 1024
BLOCK_BYTES: Final = 512  # what getrusage counts reads and writes in
_RESET_PEAK: Final = b"5"


class Gauge:
    """Measures the calls of this process, which come one after the other."""

    __slots__ = (
        "_base_kb",
        "_cpu_ns",
        "_looked_ns",
        "_marked_ns",
        "_peak_kb",
        "_read",
        "_reset_fd",
        "_written",
        "measured",
    )

    def __init__(self) -> None:
        try:
            self._reset_fd = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            self._reset_fd = -1
        self._reset()
        used = resource.getrusage(resource.RUSAGE_SELF)
        self._base_kb = self._peak_kb = used.ru_maxrss
        self._read, self._written = used.ru_inblock, used.ru_oublock
        self._cpu_ns = 0  # of this process, as of ``_marked_ns``
        self._marked_ns = 0
        self._looked_ns = 0
        self.measured: list[Measured] = []

    def begin(self, now_ns: int) -> None:
        """A call begins."""
        if now_ns - self._marked_ns > MARK_NS:
            self._cpu_ns, self._marked_ns = time.process_time_ns(), now_ns

    def end(self, call: int, busy_ns: int, now_ns: int) -> None:
        """A call that took at least ``TIMED_NS`` has ended: put down what it took."""
        cpu_ns, before_ns = time.process_time_ns(), self._cpu_ns
        self._cpu_ns, self._marked_ns = cpu_ns, now_ns
        wall_us, cpu_us = busy_ns // 1000, max(0, cpu_ns - before_ns) // 1000
        if now_ns - self._looked_ns < LOOK_NS:
            self.measured.append(Measured(call, wall_us, cpu_us))
            return
        self._looked_ns = now_ns
        used = resource.getrusage(resource.RUSAGE_SELF)
        peak_kb = used.ru_maxrss
        is_known = self._reset_fd >= 0 or peak_kb > self._peak_kb
        self._peak_kb = max(peak_kb, self._peak_kb)
        memory_bytes = max(1, peak_kb - self._base_kb) * KB if is_known else 0
        read_bytes = max(0, used.ru_inblock - self._read) * BLOCK_BYTES
        written_bytes = max(0, used.ru_oublock - self._written) * BLOCK_BYTES
        self.measured.append(Measured(call, wall_us, cpu_us, memory_bytes, read_bytes, written_bytes))
        self._read, self._written = used.ru_inblock, used.ru_oublock
        self._reset()

    def taken(self) -> list[Measured]:
        """Return what was put down, once."""
        measured, self.measured = self.measured, []
        return measured

    def _reset(self) -> None:
        if self._reset_fd >= 0:
            with contextlib.suppress(OSError):
                os.write(self._reset_fd, _RESET_PEAK)
