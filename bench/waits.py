"""For whom did a process wait? By the kernel's own record of who was put on which processor, and when (tracefs, root only).

A process waits from when it is woken, or put aside while it could go on, until it runs. For each span of that it is known who had
the processor that it was meant for. This holds however busy the machine is otherwise, where a latency measured says little.
The record is mounted in a mount namespace of this process alone, and switched off at the end.
Source: Linux Documentation/trace/events.rst.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

CLONE_NEWNS: Final = 0x0002_0000
MS_PRIVATE_REC: Final = 0x4_4000
FIRST: Final = 2  # wake-ups of an interpreter that has just begun
BUFFER_KB: Final = 20_000
EVENTS: Final = ("sched_switch", "sched_wakeup", "sched_wakeup_new")
SWITCH: Final = re.compile(
    r"\[(\d+)\].*? (\d+\.\d+): sched_switch: .*prev_pid=(\d+) .*prev_state=(\S+) ==> .*next_pid=(\d+)"
)
WAKE: Final = re.compile(r" (\d+\.\d+): sched_wakeup(?:_new)?: .*pid=(\d+) .*target_cpu=(\d+)")


class Waited(NamedTuple):
    """What a process waited from each wake-up until it slept again, us: while a guest had its processor, and while others had."""

    guest_us: list[float]
    other_us: list[float]


class Event(NamedTuple):
    """Somebody was put on a processor, or woken for it. ``left``: whoever was there before; ``goes_on``: he could go on."""

    at_us: float
    cpu: int
    pid: int
    is_wake: bool = False
    left: int = 0
    goes_on: bool = False


class Waits:
    """The record. ``begin``, let things happen, ``end``."""

    def __init__(self, at: Path) -> None:
        self._at = at
        self._write("trace_clock", "mono")
        self._write("buffer_size_kb", str(BUFFER_KB))
        self.switch("1")

    def switch(self, on: str) -> None:
        """Have the events recorded, or no more."""
        for name in EVENTS:
            self._write(f"events/sched/{name}/enable", on)

    def begin(self) -> None:
        """Begin anew."""
        self._write("trace", "")
        self._write("tracing_on", "1")

    def end(self, pid: int, guests: set[int]) -> Waited:
        """Stop, and return for whom a process waited."""
        self._write("tracing_on", "0")
        return waited((self._at / "trace").read_text("utf-8", "replace"), pid, guests)

    def _write(self, name: str, text: str) -> None:
        (self._at / name).write_text(text)


def events(text: str) -> list[Event]:
    """Return what a record says, in order of time."""
    found = []
    for line in text.splitlines():
        if switch := SWITCH.search(line):
            cpu, at_s, left, state, pid = switch.groups()
            goes_on = state.startswith("R")
            found.append(Event(float(at_s) * 1e6, int(cpu), int(pid), left=int(left), goes_on=goes_on))
        elif wake := WAKE.search(line):
            at_s, pid, cpu = wake.groups()
            found.append(Event(float(at_s) * 1e6, int(cpu), int(pid), is_wake=True))
    return sorted(found)


def waited(text: str, pid: int, guests: set[int]) -> Waited:
    """Go through a record."""
    all_of_it = Waited([], [])
    guest_us = other_us = last_us = 0.0
    on: dict[int, int] = {}
    waits_for = -1  # the processor
    for event in events(text):
        if waits_for >= 0 and on.get(waits_for, 0):
            if on[waits_for] in guests:
                guest_us += event.at_us - last_us
            else:
                other_us += event.at_us - last_us
        last_us = event.at_us
        if event.is_wake:
            if event.pid == pid:
                waits_for = event.cpu
            continue
        on[event.cpu] = event.pid
        if event.left == pid:
            waits_for = event.cpu if event.goes_on else -1
            if not event.goes_on:
                all_of_it.guest_us.append(guest_us)
                all_of_it.other_us.append(other_us)
                guest_us = other_us = 0.0
        if event.pid == pid:
            waits_for = -1
    return Waited(all_of_it.guest_us[FIRST:], all_of_it.other_us[FIRST:])


@contextlib.contextmanager
def recorded() -> Iterator[Waits | None]:
    """Give the record, or nothing where this process may not have it."""
    libc = ctypes.CDLL(None, use_errno=True)
    with tempfile.TemporaryDirectory() as name:
        place = name.encode()
        if os.geteuid() or libc.unshare(CLONE_NEWNS) or libc.mount(None, b"/", None, MS_PRIVATE_REC, None):
            yield None
            return
        if libc.mount(b"tracefs", place, b"tracefs", 0, None):
            yield None
            return
        waits = Waits(Path(name))
        try:
            yield waits
        finally:
            waits.switch("0")
            libc.umount2(place, 2)
