"""Gentle: how work for others runs beside its owner's: only on what is left over of processors and disks.

Five things, for each alone leaves a hole. The cage puts the whole lease into a group that is idle for the scheduler
(``cpu.idle``): groups decide before policies do (seen on Linux 6.18), so SCHED_IDLE alone gains nothing beside work in another
group. Where there is no such group the kernel makes one of every session (autogroup), of the usual weight: ours gets the least,
and so do those that guests begin later (``keep_gentle``). SCHED_IDLE, so that whoever else is in the group has a processor at
once; nice 19, where that policy is not known; the idle class of the disk's scheduler. Nothing of it asks for a right; what a
kernel lacks is left out.

Who wakes beside such a guest waits 15 us, and once in a hundred times or more for a tick of the kernel's clock (4 ms at 250 Hz),
as beside any idle process: the scheduler gives even these a turn, and turns end at ticks (bench/bench_comfort.py).
Source: sched(7), ioprio_set(2), Linux kernel/sched/fair.c (check_preempt_wakeup_fair), kernel/sched/autogroup.c.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Final

NICE: Final = 19
IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "armv7l": 314, "ppc64le": 273, "s390x": 282}
IOPRIO_WHO_PROCESS: Final = 1
IOPRIO_CLASS_IDLE: Final = 3 << 13
_libc: Final = ctypes.CDLL(None, use_errno=True)


def be_gentle() -> None:
    """Make this process, and all that it starts, one that runs on what others leave; it leads a session of its own."""
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICE), "ascii")
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    number = IOPRIO_SET.get(platform.machine())
    if number is not None:
        _libc.syscall(number, IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASS_IDLE)


def keep_gentle(pids: Iterable[int]) -> None:
    """Give the groups of these processes' sessions the least weight: who begins a session gets a group with the usual one."""
    for pid in pids:
        with contextlib.suppress(OSError):  # gone, or the kernel wants to be asked more slowly
            group = Path(f"/proc/{pid}/autogroup")
            said = group.read_text("ascii").split()  # "/autogroup-71 nice 0"; nothing where another group holds it
            if said and said[-1] != str(NICE):
                group.write_text(str(NICE), "ascii")
