"""What keeps an engine at its size: here over handles and a cluster of this test, and the real sizing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from worldos.engines import keeping
from worldos.engines.keeping import Keeper, Load
from worldos.engines.plan import Seat
from worldos.engines.sizing import IDLE_NS, WAITS_NS
from worldos.errors import NoCapacity, NodeGone
from worldos.sdk.events import Event


class Handle:
    """A lease, as much of it as is looked at."""

    def __init__(self) -> None:
        self.called: dict[str, Callable[[Any], object]] = {}

    def event(self, topic: str, callback: Callable[[Any], object]) -> None:
        self.called[topic] = callback


class Cluster:
    """Seats that live until a test says that they are lost."""

    def __init__(self, cores: Sequence[int]) -> None:
        self.handles = [Handle() for _ in cores]
        self.seats = [self._seat(index, size) for index, size in enumerate(cores)]
        self.here = set(range(len(cores)))
        self.lost: set[int] = set()

    def _seat(self, index: int, cores: int) -> Seat:
        return Seat(index=index, node=f"n{index}", address=f"10.0.0.{index + 1}", milli_cpu=cores * 1000)

    @property
    def live(self) -> list[Seat]:
        return [self.seats[index] for index in sorted(self.here)]

    def check(self) -> tuple[int, ...]:
        if 0 in self.lost:
            raise NodeGone("the first node of the engine is gone")
        self.here -= self.lost
        return tuple(sorted(self.here))


class Engaged:
    """An engine in use, and the machines that can be had for it."""

    name = "Engine"

    def __init__(self, *cores: int) -> None:
        self.cluster = Cluster(cores)
        self.engine = self.leasing = self
        self.free = 100
        self.busy = 0
        self.idle: set[int] = set()
        self.asked: list[Any] = []
        self.went: list[tuple[int, float | None]] = []

    def load(self, engaged: Engaged) -> Load:
        assert engaged is self
        return Load(cores=self.busy, idle=frozenset(self.idle))

    def again(self, handle: Handle) -> Handle:
        return self.more(2, handle)

    def more(self, cores: int, handle: Handle | None = None) -> Handle:
        self.asked.append(handle or cores)
        if self.free < cores:
            raise NoCapacity("no node has a core free")
        self.free -= cores
        self.cluster.seats.append(self.cluster._seat(len(self.cluster.seats), cores))
        return Handle()

    def add(self, handle: Handle) -> Seat:
        seat = self.cluster.seats[-1]
        self.cluster.handles.append(handle)
        self.cluster.here.add(seat.index)
        return seat

    def retire(self, seat: Seat, within_s: float | None = None) -> None:
        self.went.append((seat.index, within_s))
        self.cluster.here.discard(seat.index)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    now_ns = [0]
    monkeypatch.setattr(keeping.time, "monotonic_ns", lambda: now_ns[0])
    return now_ns


def test_a_lost_machine_is_replaced_by_one_like_it() -> None:
    engaged = Engaged(4, 2, 2)
    keeper = Keeper(engaged, 8, 8)  # type: ignore[arg-type]
    keeper.look(0.0)
    assert engaged.asked == []
    engaged.cluster.lost.add(2)
    keeper.look(2.0)
    assert engaged.asked == [engaged.cluster.handles[2]]
    assert engaged.cluster.here == {0, 1, 3}


def test_what_cannot_be_replaced_now_is_tried_again_later() -> None:
    engaged = Engaged(4, 2)
    engaged.free = 0
    keeper = Keeper(engaged, 6, 6)  # type: ignore[arg-type]
    engaged.cluster.lost.add(1)
    for now_s in (0.0, 2.0, 9.9):
        keeper.look(now_s)
    assert len(engaged.asked) == 1
    engaged.free = 10
    keeper.look(10.0)
    keeper.look(30.0)
    assert len(engaged.asked) == 2
    assert len(engaged.cluster.here) == 2


def test_without_its_head_there_is_no_engine() -> None:
    engaged = Engaged(4, 2)
    engaged.cluster.lost.add(0)
    with pytest.raises(NodeGone):
        Keeper(engaged, 6, 6).look(0.0)  # type: ignore[arg-type]


def test_a_range_follows_what_there_is_to_do(clock: list[int]) -> None:
    engaged = Engaged(2)
    keeper = Keeper(engaged, 2, 6)  # type: ignore[arg-type]
    engaged.busy = 20
    keeper.look(0.0)
    clock[0] = WAITS_NS
    keeper.look(2.0)
    assert engaged.asked == [4]
    engaged.busy, engaged.idle = 0, {0, 1}
    keeper.look(4.0)
    clock[0] += IDLE_NS
    keeper.look(40.0)
    assert engaged.went == [(1, None)]  # never the first, which is the promise


def test_what_was_added_goes_when_another_needs_it_more_and_is_not_replaced(clock: list[int]) -> None:
    engaged = Engaged(2)
    keeper = Keeper(engaged, 2, 6)  # type: ignore[arg-type]
    engaged.busy = 20
    keeper.look(0.0)
    clock[0] = WAITS_NS
    keeper.look(2.0)
    engaged.busy = 2

    engaged.cluster.handles[1].called["lease wanted"](Event("lease wanted", 1, {"within_s": 7.0}))
    keeper.look(4.0)
    assert engaged.went == [(1, 7.0)]
    keeper.look(6.0)
    assert engaged.asked == [4]


def test_a_range_is_not_followed_where_nobody_knows_what_there_is_to_do(clock: list[int]) -> None:
    engaged = Engaged(2)
    engaged.load = lambda _: None  # type: ignore[assignment, method-assign]
    keeper = Keeper(engaged, 2, 6)  # type: ignore[arg-type]
    for now_s in range(5):
        clock[0] += WAITS_NS
        keeper.look(float(now_s))
    assert engaged.asked == []
