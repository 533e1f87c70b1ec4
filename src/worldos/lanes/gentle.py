"""Gentle: how work for others runs beside its owner's: only on what is left over of processors and disks.

Four things, for each alone leaves a hole: SCHED_IDLE, so that whoever else wants a processor has it at once; nice 19, where that
policy is not known; the idle class of the disk's scheduler; and the session's own autogroup, for where the kernel makes one
of every session, it shares by groups and looks at no policy in them. The cage does the same for the whole lease (``cpu.shares``,
``cpu.weight``). Nothing of it asks for a right; what a kernel lacks is left out.
Source: sched(7), ioprio_set(2), Linux Documentation/scheduler/sched-design-CFS.rst.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from typing import Final

NICE: Final = 19
IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "armv7l": 314, "ppc64le": 273, "s390x": 282}
IOPRIO_WHO_PROCESS: Final = 1
IOPRIO_CLASS_IDLE: Final = 3 << 13
_libc: Final = ctypes.CDLL(None, use_errno=True)


def be_gentle() -> None:
    """Make this process, and all that it starts, one that runs on what others leave; it leads a session of its own."""
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w", encoding="ascii") as group:
        group.write(str(NICE))
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    number = IOPRIO_SET.get(platform.machine())
    if number is not None:
        _libc.syscall(number, IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASS_IDLE)
