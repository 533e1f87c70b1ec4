"""One thread drives, the others sleep, and nobody sleeps for ever."""

from __future__ import annotations

import threading
import time

import pytest

from worldos.lanes.future import LaneFuture
from worldos.lanes.pack import Function
from worldos.lanes.wheel import Wheel


class Road:
    """A lane on which each turn finishes one call."""

    def __init__(self, calls: int) -> None:
        self.condition = threading.Condition()
        self.futures = [LaneFuture(self, n, Function(1, b"", b"", "work"), 3) for n in range(calls)]
        self.left = list(self.futures)
        self.drivers: set[int] = set()
        self.inside = 0
        self.wheel = Wheel(self.condition, self.turn, lambda: self.left)

    def turn(self, timeout_s: float) -> None:
        self.inside += 1
        assert self.inside == 1, "two drivers at once"
        self.drivers.add(threading.get_ident())
        time.sleep(min(timeout_s, 0.002))
        with self.condition:
            if self.left:
                self.left.pop(0).finish("done", None)
            self.wheel.wake_sleepers()
        self.inside -= 1

    def drive(self, future: LaneFuture, timeout_s: float | None) -> None:
        self.wheel.drive(future, timeout_s)

    def cancel_call(self, future: LaneFuture) -> bool:
        return False


def test_many_threads_wait_and_one_at_a_time_drives() -> None:
    road = Road(40)
    answers: list[str] = []
    threads = [threading.Thread(target=lambda f=f: answers.append(f.result(10))) for f in reversed(road.futures)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == ["done"] * 40
    assert road.wheel.free


def test_who_sleeps_beside_a_driver_keeps_his_own_time() -> None:
    road = Road(1)
    never = LaneFuture(road, 99, Function(1, b"", b"", "work"), 3)
    driver = threading.Thread(target=lambda: never.exception(5))
    driver.start()
    while road.wheel.free:
        time.sleep(0.001)
    other = LaneFuture(road, 98, Function(1, b"", b"", "work"), 3)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        other.result(0.05)
    assert time.monotonic() - began < 4
    with road.condition:
        never.finish(None, None)
    driver.join(15)


def test_a_driver_may_wait_for_another_call_in_a_callback() -> None:
    road = Road(2)
    first, second = road.futures
    heard: list[str] = []

    def turn(timeout_s: float) -> None:
        road.turn(timeout_s)
        if first.done() and not heard:
            heard.append("waits")
            heard.append(second.result(5))

    road.wheel = Wheel(road.condition, turn, lambda: road.left)
    assert first.result(5) == "done"
    assert heard == ["waits", "done"]
    assert road.wheel.free


def test_the_wheel_is_kept_only_while_there_is_reason_and_nobody_waits() -> None:
    road = Road(3)
    assert road.wheel.take()
    assert road.wheel.take() is False
    road.wheel.keep()
    assert not road.left
    assert road.wheel.take() is None


def test_an_error_of_a_turn_leaves_the_wheel_free() -> None:
    road = Road(1)

    def broken(_timeout_s: float) -> None:
        raise KeyboardInterrupt

    wheel = Wheel(road.condition, broken, lambda: True)
    with pytest.raises(KeyboardInterrupt):
        wheel.drive(road.futures[0], 1)
    assert wheel.free
