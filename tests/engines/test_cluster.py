"""A cluster begins whole or not at all, says what went wrong where, and ends though a node is gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from worldos.engines import tender
from worldos.engines.cluster import Cluster
from worldos.engines.plan import Prepared, Process, Ran, Seen
from worldos.engines.software import ProgramSoftware
from worldos.errors import BadRequest, LeaseEnded, NodeGone, Unreachable, WorldError
from worldos.sdk.needs import parse_need

SOFTWARE = ProgramSoftware(name="x", version="1", programs=("x",), folders=("/",))


class Lane:
    """The far end of one lease: what its tender answers, and what it was asked, in one common order."""

    kind = "CPU"

    def __init__(self, name: str, asked: list[tuple[str, str]], answers: dict[str, Sequence[Any]]) -> None:
        self.nodes = (name * 8,)
        self.closed = False
        self._asked = asked
        self._answers = {what: list(each) for what, each in answers.items()}

    def submit(self, fn: Callable[..., Any], *_: Any) -> Future[Any]:
        self._asked.append((self.nodes[0][0], fn.__name__))
        future: Future[Any] = Future()
        left = self._answers.get(fn.__name__, [None])
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
        return future

    def close(self) -> None:
        self.closed = True


def cluster_of(*answers: dict[str, Sequence[Any]]) -> tuple[Cluster, list[tuple[str, str]], list[Lane]]:
    asked: list[tuple[str, str]] = []
    lanes = [Lane(name, asked, each) for name, each in zip("abc", answers, strict=False)]
    return Cluster(lanes, "here", lambda _: None), asked, lanes  # type: ignore[arg-type]


def seen(*, ready: bool, code: int | None = None, said: str = "") -> tuple[Seen, ...]:
    return (Seen(name="one", ready=ready, code=code, said=said),)


PLAN = {index: [Process(name="one", argv=("x",))] for index in range(3)}


def test_the_head_is_ready_before_the_others_begin() -> None:
    ready = {"look": [seen(ready=True)]}
    cluster, asked, _ = cluster_of({"look": [seen(ready=False), seen(ready=True)]}, ready, ready)
    cluster.begin(PLAN)
    assert asked[:3] == [("a", "begin"), ("a", "look"), ("a", "look")]
    assert asked[3:5] == [("b", "begin"), ("c", "begin")]


def test_what_can_wait_by_itself_begins_at_once_everywhere() -> None:
    ready = {"look": [seen(ready=True)]}
    cluster, asked, _ = cluster_of(ready, ready, ready)
    cluster.begin(PLAN, head_first=False)
    assert asked[:3] == [("a", "begin"), ("b", "begin"), ("c", "begin")]


def test_a_process_that_ended_is_said_with_its_node_and_last_words() -> None:
    cluster, _, _ = cluster_of({"look": [seen(ready=False, code=3, said="warming up\nno room\n")]})
    with pytest.raises(WorldError, match="one on aaaaaaaa ended with 3: no room"):
        cluster.begin({0: PLAN[0]})


def test_software_is_prepared_on_all_at_once_and_asked_about_until_it_is_there() -> None:
    done = Prepared(done=True)
    cluster, asked, _ = cluster_of({"prepare": [Prepared(done=False, doing="fetching"), done]}, {"prepare": [done]})
    cluster.prepare(SOFTWARE)
    assert asked == [("a", "prepare"), ("b", "prepare"), ("a", "prepare")]


def test_what_a_node_cannot_install_is_said_with_the_node() -> None:
    cluster, _, _ = cluster_of({"prepare": [BadRequest("x 1 is not installed there", hint="install it")]})
    with pytest.raises(BadRequest, match=r"is not installed there \(on aaaaaaaa\)") as refused:
        cluster.prepare(SOFTWARE)
    assert refused.value.hint == "install it"


def test_a_node_that_does_not_answer_is_said() -> None:
    cluster, _, _ = cluster_of({})
    with pytest.raises(Unreachable, match="the node aaaaaaaa does not answer"):
        cluster.result(0, Future(), 0.01)


def test_a_tool_is_asked_about_until_it_has_ended_or_its_time_is_over() -> None:
    ran = Ran(code=0, out=b"", said="")
    cluster, asked, _ = cluster_of({"start": [0], "ended": [None, None, ran]})
    assert cluster.run(0, ("x",), env={}) == ran
    assert [what for _, what in asked] == ["start", "ended", "ended", "ended"]
    cluster, _, _ = cluster_of({"start": [0], "ended": [None]})
    with pytest.raises(Unreachable, match="x on aaaaaaaa did not end in 0 s"):
        cluster.run(0, ("x",), env={}, limit_s=0.0)


def test_a_lost_node_is_given_back_and_the_rest_goes_on() -> None:
    ready = {"look": [seen(ready=True)]}
    replaced = {"look": [seen(ready=True), ()]}  # another lease stands there: nothing runs in it
    cluster, _, lanes = cluster_of(ready, replaced, {"look": [seen(ready=True), LeaseEnded("gone")]})
    cluster.begin(PLAN)
    assert cluster.check() == (0,)
    assert [lane.closed for lane in lanes] == [False, True, True]


def test_a_seat_without_a_lease_is_lost_though_another_is_sought_for_it() -> None:
    ready = {"look": [seen(ready=True)]}
    cluster, asked, lanes = cluster_of(ready, ready)
    cluster.begin({0: PLAN[0], 1: PLAN[1]})
    lanes[1].nodes = ()
    asked.clear()
    assert cluster.check() == (0,)
    assert ("b", "look") not in asked
    assert [seat.index for seat in cluster.live] == [0]


class Net:
    """A network that lets everybody in."""

    def __init__(self) -> None:
        self.members = ["a"]
        self.left: list[int] = []

    def __len__(self) -> int:
        return len(self.members)

    def admit(self, handle: Lane) -> int:
        self.members.append(handle.nodes[0])
        return len(self.members) - 1

    def leave(self, index: int) -> None:
        self.left.append(index)

    def address(self, index: int) -> str:
        return f"10.0.0.{index + 1}"

    def ports(self, index: int, count: int) -> tuple[int, ...]:
        return tuple(range(count))

    def prefix(self, index: int) -> tuple[str, ...]:
        return ("join", str(index))

    def close(self) -> None:
        pass


def late(asked: list[tuple[str, str]], **answers: Sequence[Any]) -> Any:
    lane = Lane("b", asked, {"prepare": [Prepared(done=True)], "look": [seen(ready=True)], **answers})
    lane.need = parse_need("CPU", 2)  # type: ignore[attr-defined]
    return lane


def grown() -> tuple[Cluster, list[tuple[str, str]], Net]:
    cluster, asked, _ = cluster_of({"look": [seen(ready=True)]})
    cluster.net = net = Net()
    cluster.begin({0: PLAN[0]})
    asked.clear()
    return cluster, asked, net


def test_who_comes_later_is_prepared_joined_and_begun_and_may_go_again() -> None:
    cluster, asked, net = grown()
    lane = late(asked)
    seat = cluster.add(lane, SOFTWARE, 2, lambda seat: PLAN[seat.index])
    assert [what for _, what in asked] == ["prepare", "join", "begin", "look"]
    assert (seat.index, seat.address, seat.cores, seat.ports) == (1, "10.0.0.2", 2, (0, 1))
    assert cluster.check() == (0, 1)
    cluster.retire(1, 3.0)
    assert asked[-1] == ("b", "retire")
    assert (net.left, lane.closed, cluster.check()) == ([1], True, (0,))


@pytest.mark.parametrize("what", ["prepare", "join", "begin"])
def test_who_cannot_be_begun_later_is_given_back_and_the_next_is_counted_right(what: str) -> None:
    cluster, asked, net = grown()
    lane = late(asked, **{what: [BadRequest("not here")]})
    with pytest.raises(BadRequest, match="not here"):
        cluster.add(lane, SOFTWARE, 2, lambda seat: PLAN[seat.index])
    assert (lane.closed, cluster.check()) == (True, (0,))
    seat = cluster.add(late(asked), SOFTWARE, 2, lambda _: PLAN[1])
    assert seat.index == len(net) - 1 == (1 if what == "prepare" else 2)  # as seats are counted, so are members


def test_nobody_comes_after_the_end() -> None:
    cluster, asked, _ = grown()
    cluster.end()
    lane = late(asked)
    with pytest.raises(LeaseEnded):
        cluster.add(lane, SOFTWARE, 2, lambda seat: PLAN[seat.index])
    assert lane.closed


def test_without_its_first_node_an_engine_is_over() -> None:
    ready = {"look": [seen(ready=True)]}
    cluster, _, _ = cluster_of({"look": [seen(ready=True), ()]}, ready)
    cluster.begin({0: PLAN[0], 1: PLAN[1]})
    with pytest.raises(NodeGone, match="the first node of the engine is gone"):
        cluster.check()


def test_the_end_reaches_all_though_one_is_gone() -> None:
    ready = {"look": [seen(ready=True)]}
    gone = {**ready, "end": [LeaseEnded("its node is gone")]}
    cluster, asked, lanes = cluster_of(ready, gone, ready)
    cluster.begin(PLAN)
    cluster.end()
    assert [each for each in asked if each[1] == tender.end.__name__] == [("c", "end"), ("b", "end"), ("a", "end")]
    assert all(lane.closed for lane in lanes)
    cluster.end()
