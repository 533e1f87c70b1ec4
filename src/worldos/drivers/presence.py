"""Presence: signs that somebody uses this machine, quick and cheap enough to be looked at fifty times a second.

*Input*: the devices below /dev/input, where this user may read them; else the interrupts of what people type and point with;
and the time of the last read of a terminal, which a shell makes when somebody types (the kernel moves it in steps of 8 s at
most, so the first key after a rest is always seen, and who goes on typing is seen every 8 s). *Load*: processor time at normal
priority. Guests run at nice 19 (lanes/gentle.py), which /proc/stat counts apart, so all of it is somebody else's.

What a keyboard says is thrown away unread: that something came is all that is looked at. Nothing of this leaves the machine.
Source: Linux drivers/tty/tty_io.c (tty_update_time), Documentation/input/input.rst, proc(5).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final

from worldos.drivers.machine import Machine

INPUTS: Final = "/dev/input"
TERMINALS: Final = "/dev/pts"
CONSOLES: Final = tuple(f"/dev/tty{number}" for number in range(1, 13))
INPUTS_MAX: Final = 64
TERMINALS_MAX: Final = 1024
EVENT_BYTES: Final = 4096
BY_INTERRUPT: Final = ("i8042", "elan", "syna", "pnp0c50", "hid")
TICKS_S: Final = os.sysconf("SC_CLK_TCK")
STAT_BYTES: Final = 256
INTERRUPTS_EVERY: Final = 3  # looks: the table is long

AT_A_DEVICE: Final = "somebody uses its keyboard, mouse or screen"
AT_A_TERMINAL: Final = "somebody types at one of its terminals"


class Presence:
    """The signs since the last look. ``close`` it: it holds devices open."""

    def __init__(self, machine: Machine) -> None:
        self._root = machine.root
        self._machine = machine
        self.inputs: list[int] = list(self._opened())
        self._read_ns: dict[str, int] = {}
        self._interrupts = -1
        self._looks = 0
        self._stat = self._open_stat()
        self._busy_ticks = -1
        self._busy_ns = 0
        self.moved()

    def close(self) -> None:
        """Let go of the devices."""
        for descriptor in (*self.inputs, *((self._stat,) if self._stat >= 0 else ())):
            os.close(descriptor)
        self.inputs, self._stat = [], -1

    def moved(self) -> str:
        """Return what somebody did since the last look, or nothing."""
        signs = (
            AT_A_DEVICE if self._device_moved() else "",
            AT_A_TERMINAL if self._terminal_read() else "",
        )
        return next((sign for sign in signs if sign), "")

    def load_milli(self, now_ns: int) -> int:
        """Return how many thousandths of a processor worked at normal priority since the last look; 0 at the first."""
        ticks = self._normal_ticks()
        before, since_ns = self._busy_ticks, now_ns - self._busy_ns
        if before < 0 or ticks < before:
            self._busy_ticks, self._busy_ns = ticks, now_ns
            return 0
        if since_ns <= 0:
            return 0
        self._busy_ticks, self._busy_ns = ticks, now_ns
        return (ticks - before) * (1_000_000_000 // TICKS_S) * 1000 // since_ns

    def _device_moved(self) -> bool:
        if not self.inputs:
            return self._interrupted()
        moved = False
        for descriptor in list(self.inputs):
            try:
                while os.read(descriptor, EVENT_BYTES):
                    moved = True
            except BlockingIOError:
                continue
            except OSError:  # unplugged
                pass
            self.inputs.remove(descriptor)
            os.close(descriptor)
        return moved

    def _interrupted(self) -> bool:
        self._looks += 1
        if self._looks % INTERRUPTS_EVERY:
            return False
        count = 0
        for line in self._machine.text("/proc/interrupts").splitlines()[1:]:
            fields = line.split()
            if any(word in fields[-1].lower() for word in BY_INTERRUPT if len(fields) > 1):
                count += sum(int(field) for field in fields[1:] if field.isdecimal())
        before, self._interrupts = self._interrupts, count
        return 0 <= before < count

    def _terminal_read(self) -> bool:
        before, self._read_ns = self._read_ns, dict(self._terminals())
        return any(read_ns > before.get(name, read_ns) for name, read_ns in self._read_ns.items())

    def _terminals(self) -> Iterator[tuple[str, int]]:
        numbers = (name for name in self._machine.names(TERMINALS)[:TERMINALS_MAX] if name.isdecimal())
        for name in (*CONSOLES, *(f"{TERMINALS}/{number}" for number in numbers)):
            with contextlib.suppress(OSError):
                yield name, os.stat(self._root + name).st_atime_ns

    def _normal_ticks(self) -> int:
        """Return the time in user mode at normal priority, of all processors: the first figure of /proc/stat."""
        if self._stat < 0:
            return 0
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int(os.pread(self._stat, STAT_BYTES, 0).split(maxsplit=2)[1])
        return 0

    def _open_stat(self) -> int:
        try:
            return os.open(f"{self._root}/proc/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return -1

    def _opened(self) -> Iterator[int]:
        names = [name for name in self._machine.names(INPUTS) if name.startswith("event")]
        for name in names[:INPUTS_MAX]:
            with contextlib.suppress(OSError):
                yield os.open(f"{self._root}{INPUTS}/{name}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
