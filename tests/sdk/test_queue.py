"""A queue from a program: what is put is there, comes to one consumer at a time, and goes when it is done with."""

from __future__ import annotations

import asyncio
import queue as standard
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.agent.agents import RunningAgent, new_home, running, until

import worldos
from worldos.errors import BadRequest, NoAgent, NotThere, OverQuota
from worldos.sdk.queue import Queue


@pytest.fixture(scope="module")
def agent() -> Iterator[RunningAgent]:
    with TemporaryDirectory(prefix="wos-q-") as folder, running(new_home(Path(folder) / "desk")) as agent:
        yield agent


@pytest.fixture(autouse=True)
def _this_home(agent: RunningAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLDOS_HOME", str(agent.home.path))


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)[:100]


def test_what_is_put_is_got_and_done_with(name: str) -> None:
    with worldos.use("Queue", name=name) as queue:
        for thing in (b"bytes", "text", {"a": (1, 2)}, None):
            queue.put(thing)
        got = [queue.get(timeout=15) for _ in range(4)]
        assert [message.body for message in got] == [b"bytes", "text", {"a": (1, 2)}, None]
        assert [message.raw[:1] for message in got] == [b"b", b"t", b"p", b"p"]
        assert queue.qsize() == 0
        assert all(message.ack() for message in got)
        with pytest.raises(standard.Empty):
            queue.get(timeout=0)


def test_many_go_in_one_write_and_come_in_order(name: str) -> None:
    with Queue(name) as queue:
        assert queue.put_many(range(3000)) == 3000
        assert queue.qsize() == 3000
        assert [message.body for message in queue.drain(ahead=500)] == list(range(3000))
        assert queue.qsize() == 0


def test_what_was_given_back_or_failed_comes_to_another(name: str) -> None:
    with Queue(name) as one, Queue(name) as other:
        one.put("x")
        one.get(timeout=15).nack()
        with pytest.raises(ZeroDivisionError), other.get(timeout=15) as body:
            assert body == 1 / 0
        third = one.get(timeout=15)
        assert third.deliveries == 3
        with third as body:
            assert body == "x"
        assert one.qsize() == 0


def test_what_is_not_done_with_in_time_comes_to_another_and_is_no_longer_ours(name: str) -> None:
    with Queue(name, visible=0.3) as slow, Queue(name) as quick:
        slow.put("x")
        mine = slow.get(timeout=15)
        assert mine.extend(0.5)
        begun_s = time.monotonic()
        theirs = quick.get(timeout=15)
        assert time.monotonic() - begun_s > 0.3
        assert not mine.ack()
        assert theirs.ack()


def test_one_that_fails_too_often_is_a_dead_letter(name: str) -> None:
    with Queue(name, deliveries=2) as queue:
        queue.put("poison")
        for _ in range(2):
            queue.get(timeout=15).nack()
        with pytest.raises(standard.Empty):
            queue.get(timeout=0)
        with queue.dead as dead:
            assert dead.get(timeout=15).body == "poison"


def test_the_same_id_is_put_once(name: str) -> None:
    with Queue(name) as queue:
        assert queue.put(1, id="order-7") == queue.put(2, id="order-7")
        assert queue.qsize() == 1


def test_a_consumer_waits_for_a_message_of_another_thread(name: str) -> None:
    got: list[object] = []
    with Queue(name) as queue, Queue(name) as consumer:
        thread = threading.Thread(target=lambda: got.append(consumer.get(timeout=60).body))
        thread.start()
        queue.put("now")
        thread.join(60)
    assert got == ["now"]


def test_a_loop_acknowledges_what_it_has_gone_on_from(name: str) -> None:
    with Queue(name) as queue:
        queue.put_many(["a", "b", "c"])
        for message in queue:
            if message.body == "b":
                break
        assert queue.qsize() + queue.view().held == 2, "a is done with, b was given back"


def test_a_queue_of_json_loads_no_object(name: str) -> None:
    with Queue(name) as queue, Queue(name, form="json") as plain, Queue(name, form="bytes") as bare:
        plain.put({"a": [1, None]})
        assert queue.get(timeout=15).body == {"a": [1, None]}
        queue.put(Path("x"))
        with pytest.raises(BadRequest, match="none that this queue"):
            assert plain.get(timeout=15).body
        with pytest.raises(BadRequest, match="not JSON"):
            plain.put({1j: 2})
        with pytest.raises(BadRequest, match="bytes alone"):
            bare.put("text")


def test_bad_words_get_a_sentence(name: str) -> None:
    with pytest.raises(BadRequest, match="has a name"):
        worldos.use("Queue")
    with pytest.raises(TypeError, match="no such word: cpus"):
        worldos.use("Queue", name=name, cpus=2)
    with pytest.raises(BadRequest, match="no form"):
        Queue(name, form="xml")  # type: ignore[arg-type]
    with pytest.raises(BadRequest, match="seconds"):
        Queue(name, visible=0)
    with pytest.raises(NotThere):
        Queue(name, make=False)
    with Queue(name) as queue, pytest.raises(BadRequest, match="at most"):
        queue.put(bytes(300_000))


def test_a_full_queue_refuses_until_there_is_room(name: str) -> None:
    with Queue(name, size=50_000) as queue:
        queue.put_many([bytes(10_000)] * 4)
        with pytest.raises(OverQuota):
            queue.put(bytes(20_000))
        timer = threading.Timer(0.3, lambda: [message.ack() for message in Queue(name).get_many(4, timeout=15)])
        timer.start()
        queue.put(bytes(20_000), timeout=20)
        timer.join()
        assert queue.qsize() == 1


def test_it_can_be_awaited(name: str) -> None:
    async def main() -> list[object]:
        got = []
        async with worldos.aio.use("Queue", name=name) as queue:
            await queue.put("a")
            await queue.put_many(["b", "end"])
            async for message in queue:
                got.append(message.body)
                if message.body == "end":
                    await asyncio.to_thread(message.ack)
                    break
        return got

    assert asyncio.run(main()) == ["a", "b", "end"]
    with Queue(name) as queue:
        assert queue.qsize() == 0


def test_what_is_done_is_said_with_what_is_taken_next(name: str) -> None:
    queue = Queue(name)
    queue.put_many(range(5))
    first = queue.get_many(2, timeout=0)
    second = queue.get_many(2, timeout=0, done=first)
    assert [message.body for message in second] == [2, 3]
    assert all(message.settled for message in first)
    assert queue.get_many(5, timeout=0, done=second)[0].body == 4
    assert queue.view().waiting == 0


def test_a_closed_queue_lets_go_of_who_waits_and_may_be_used_again(name: str) -> None:
    queue = Queue(name)
    ended: list[BaseException] = []

    def wait() -> None:
        try:
            queue.get(timeout=180)
        except NoAgent as gone:
            ended.append(gone)

    waiter = threading.Thread(target=wait)
    waiter.start()
    until(lambda: queue._busy, "somebody waits")
    queue.close()
    waiter.join(60)
    assert len(ended) == 1
    queue.put("again")
    assert queue.get(timeout=15).body == "again"
