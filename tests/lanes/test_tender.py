"""The background thread works when it must, and costs nothing when it need not."""

from __future__ import annotations

import threading
import time

from harness import eventually

from worldos.lanes.tender import Tender
from worldos.lanes.wheel import Wheel


class Work:
    """Something to drive."""

    def __init__(self) -> None:
        self.left = 0
        self.done_by: list[str] = []
        self.closed = False
        self.wheel = Wheel(threading.Condition(), self.turn, lambda: self.left and not self.closed)
        self.tender = Tender(self.wheel, lambda: self.closed)

    def turn(self, _timeout_s: float) -> None:
        self.tender.turns += 1
        if self.left:
            self.left -= 1
            self.done_by.append(threading.current_thread().name)


def test_it_drives_when_nobody_else_does_and_then_sleeps() -> None:
    work = Work()
    work.left = 3
    work.tender.wake()
    assert eventually(lambda: work.done_by == ["worldos-lane"] * 3)
    assert eventually(lambda: work.tender.sleeps)
    work.left = 2
    work.tender.wake()
    assert eventually(lambda: len(work.done_by) == 5), "it can be woken again"
    work.closed = True
    work.tender.end()


def test_it_leaves_the_wheel_to_who_drives() -> None:
    work = Work()
    work.tender.wake()
    until = time.monotonic() + 0.1
    while time.monotonic() < until:
        work.left = 1
        work.wheel.pump(0)
    assert work.done_by.count("worldos-lane") <= len(work.done_by) // 10
    work.closed = True
    work.tender.end()
