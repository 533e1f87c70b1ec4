"""A queue: once to one at a time, until somebody says that it is done with."""

from __future__ import annotations

import pytest
from tests.kernel.line.works import Site

from worldos.kernel.queues.queue import OneQueue, Queue, message_bytes
from worldos.kernel.work.limits import CONSUMERS_MAX, QUEUE_MESSAGE_BYTES, REMEMBERED_MS, TAKE_BYTES_MAX
from worldos.model.work import (
    MESSAGES_MAX,
    Ack,
    Applied,
    Extend,
    Message,
    Nack,
    Put,
    QueueMade,
    Take,
)

ANN, BOB = "ann-1", "bob-1"


@pytest.fixture
def site() -> Site:
    site = Site()
    site.do(QueueMade(queue="q", deliveries_max=3))
    return site


def name(number: int) -> bytes:
    return number.to_bytes(8, "big")


def put(*numbers: int, size: int = 1) -> Put:
    return Put(queue="q", messages=tuple(Message(name(number), bytes(size)) for number in numbers))


class Taker:
    """A consumer that numbers its takings."""

    def __init__(self, site: Site, consumer: str) -> None:
        self.site, self.consumer, self.request = site, consumer, 0

    def take(self, count: int = 1, visible_ms: int = 1000) -> list[int]:
        self.request += 1
        said = Take(queue="q", consumer=self.consumer, request=self.request, count=count, visible_ms=visible_ms)
        return [int.from_bytes(message.id, "big") for message, _ in self.site.do(said).messages]

    def ack(self, *numbers: int) -> tuple[bytes, ...]:
        return self.site.do(Ack(queue="q", consumer=self.consumer, ids=tuple(map(name, numbers)))).missed

    def nack(self, *numbers: int) -> tuple[bytes, ...]:
        return self.site.do(Nack(queue="q", consumer=self.consumer, ids=tuple(map(name, numbers)))).missed

    def extend(self, number: int, visible_ms: int) -> tuple[bytes, ...]:
        said = Extend(queue="q", consumer=self.consumer, ids=(name(number),), visible_ms=visible_ms)
        return self.site.do(said).missed


@pytest.fixture
def ann(site: Site) -> Taker:
    return Taker(site, ANN)


@pytest.fixture
def bob(site: Site) -> Taker:
    return Taker(site, BOB)


def test_messages_come_in_the_order_in_which_they_were_put(site: Site, ann: Taker, bob: Taker) -> None:
    site.do(put(1, 2, 3))
    assert (ann.take(2), bob.take(2), ann.take()) == ([1, 2], [3], [])


def test_a_message_that_was_acknowledged_never_comes_again(site: Site, ann: Taker, bob: Taker) -> None:
    site.do(put(1))
    ann.take()
    assert ann.ack(1) == ()
    site.say(later_ms=10_000)
    assert bob.take() == []
    assert ann.ack(1) == (), "an ack that is said twice"


def test_what_was_held_too_long_comes_to_others_in_its_old_place(site: Site, ann: Taker, bob: Taker) -> None:
    site.do(put(1, 2, 3))
    assert ann.take(visible_ms=1000) == [1]
    site.say(later_ms=999)
    assert bob.take() == [2]
    site.say(later_ms=1)
    assert bob.take(2) == [1, 3]
    assert ann.ack(1) == (name(1),), "it is bob's by now"


def test_who_is_late_may_still_acknowledge_while_nobody_else_took_it(site: Site, ann: Taker, bob: Taker) -> None:
    site.do(put(1))
    ann.take(visible_ms=100)
    site.say(later_ms=200)
    assert ann.ack(1) == ()
    assert bob.take() == []


def test_a_message_that_is_given_back_is_there_at_once(site: Site, ann: Taker, bob: Taker) -> None:
    site.do(put(1, 2))
    ann.take()
    assert bob.nack(1) == (name(1),)
    assert bob.take() == [2]
    assert ann.nack(1) == ()
    assert bob.take() == [1]


def test_time_can_be_extended_by_who_holds_it(site: Site, ann: Taker, bob: Taker) -> None:
    site.do(put(1))
    ann.take(visible_ms=1000)
    site.say(later_ms=900)
    assert ann.extend(1, 1000) == ()
    assert bob.extend(1, 1000) == (name(1),)
    site.say(later_ms=900)
    assert bob.take() == []
    site.say(later_ms=100)
    assert bob.take() == [1]
    assert ann.extend(1, 1000) == (name(1),)


def test_asking_twice_hands_out_the_same_and_an_old_asking_nothing(site: Site, ann: Taker) -> None:
    site.do(put(1, 2, 3))
    assert ann.take(2) == [1, 2]
    ann.request -= 1
    assert ann.take(2) == [1, 2]
    ann.ack(1)
    ann.request -= 1
    assert ann.take(2) == [2], "what is done with is not handed out again"
    assert ann.take() == [3]
    assert "older" in site.refusal(Take(queue="q", consumer=ANN, request=1))


def test_a_message_says_how_often_it_was_taken(site: Site, ann: Taker) -> None:
    site.do(put(1))
    for number in (1, 2, 3):
        answer = site.do(Take(queue="q", consumer=ANN, request=number, visible_ms=100))
        assert [count for _, count in answer.messages] == [number]
        site.say(later_ms=100)


def test_what_is_taken_too_often_is_a_dead_letter_and_is_not_put_again(site: Site, ann: Taker) -> None:
    site.do(put(1, 2))
    for _ in range(3):
        assert ann.take() == [1]
        ann.nack(1)
    assert ann.take() == [2]
    view = site.work.queues.view("q")
    assert view is not None
    assert (view.dead, view.dead_waiting) == ("q.dead", 1)
    answer = site.do(Take(queue="q.dead", consumer=ANN, request=1))
    assert answer.messages == ((Message(name(1), bytes(1)), 1),)
    site.do(put(1))
    assert ann.take() == []


def test_putting_twice_puts_once_also_after_it_was_done(site: Site, ann: Taker) -> None:
    site.do(put(1), put(1, 2))
    assert ann.take(9) == [1, 2]
    ann.ack(1, 2)
    site.do(put(1, 2), later_ms=REMEMBERED_MS - 1)
    assert ann.take(9) == []
    site.do(put(1), later_ms=1)
    assert ann.take(9) == [1], "after so long it is another message"


def test_a_full_queue_refuses_all_of_a_put_and_takes_again_what_it_has(site: Site, ann: Taker) -> None:
    size = 1 + 8 + QUEUE_MESSAGE_BYTES
    site.do(QueueMade(queue="q", bytes_max=2 * size), put(1, 2))
    assert "full" in site.refusal(put(2, 3))
    site.do(put(1, 2))
    ann.take()
    ann.ack(1)
    site.do(put(2, 3))


def test_no_more_is_handed_out_than_an_answer_holds_but_always_one(site: Site, ann: Taker) -> None:
    size = TAKE_BYTES_MAX // 2
    site.do(put(1, size=TAKE_BYTES_MAX))
    site.do(put(2, 3, size=size))
    site.do(put(4, size=size))
    assert [ann.take(9), ann.take(9), ann.take(9)] == [[1], [2, 3], [4]]


def test_only_so_many_consumers_are_remembered_those_that_asked_last(site: Site) -> None:
    for number in range(CONSUMERS_MAX + 10):
        site.do(Take(queue="q", consumer=f"consumer-{number}", request=7))
    view = site.work.queues.view("q")
    assert view is not None
    assert view.consumers == CONSUMERS_MAX
    assert isinstance(site.say(Take(queue="q", consumer="consumer-0", request=1)), Applied)


def test_what_is_due_is_known_without_looking_at_all(site: Site, ann: Taker) -> None:
    site.do(put(*range(100)))
    queues = site.work.queues
    assert (queues.ready("q", site.wall_ms), queues.next_due_ms("q")) == (100, 0)
    ann.take(100, visible_ms=500)
    assert (queues.ready("q", site.wall_ms), queues.next_due_ms("q")) == (0, site.wall_ms + 500)
    assert queues.ready("q", site.wall_ms + 500) > 0


def test_the_list_of_what_is_due_does_not_grow_with_each_extension() -> None:
    queue = OneQueue(Queue(made=QueueMade(queue="q")))
    queue.put(Message(name(1), b""), 0)
    queue.take(Take(queue="q", consumer=ANN, request=1), 0)
    for moment in range(10_000):
        queue.extend(Extend(queue="q", consumer=ANN, ids=(name(1),)), moment)
    assert len(queue._due) < 2000
    assert message_bytes(Message(name(1), b"abc")) == 3 + 8 + QUEUE_MESSAGE_BYTES
    assert MESSAGES_MAX >= 1024
