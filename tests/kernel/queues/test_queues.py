"""Queues by name: made, dropped, full together, and dead letters between them."""

from __future__ import annotations

import pytest
from tests.kernel.line.works import Site
from tests.kernel.queues.test_queue import ANN, name

from worldos.kernel.queues.queues import Queues
from worldos.kernel.work.limits import QUEUE_BYTES_MAX, QUEUE_NAME_CHARS_MAX, QUEUES_MAX, REMEMBERED_MS
from worldos.kernel.work.state import Work
from worldos.model.work import (
    MESSAGE_BYTES_MAX,
    MESSAGES_MAX,
    Ack,
    Message,
    Nack,
    Put,
    QueueDropped,
    QueueMade,
    Refused,
    Take,
)


@pytest.fixture
def site() -> Site:
    return Site()


def put(queue: str, *numbers: int, size: int = 0) -> Put:
    return Put(queue=queue, messages=tuple(Message(name(number), bytes(size)) for number in numbers))


def test_a_queue_is_made_once_keeps_what_it_has_and_takes_over_settings(site: Site) -> None:
    site.do(QueueMade(queue="q"), put("q", 1), QueueMade(queue="q", deliveries_max=2, bytes_max=5000))
    view = site.work.queues.view("q")
    assert view is not None
    assert (view.waiting, view.deliveries_max, view.bytes_max) == (1, 2, 5000)


def test_what_is_said_to_no_queue_is_refused(site: Site) -> None:
    assert "no queue q" in site.refusal(put("q", 1))
    assert "no queue q" in site.refusal(Take(queue="q", consumer=ANN, request=1))
    site.do(QueueDropped(queue="q"))


def test_a_name_must_be_one(site: Site) -> None:
    for wrong in ("", " q", "a\nb", "x" * (QUEUE_NAME_CHARS_MAX + 1)):
        assert "name" in site.refusal(QueueMade(queue=wrong))


def test_a_dropped_queue_is_gone_with_all_that_was_in_it(site: Site) -> None:
    empty = site.work.snapshot()
    site.do(QueueMade(queue="q"), put("q", 1, 2, size=1000), Take(queue="q", consumer=ANN, request=1))
    site.do(Ack(queue="q", consumer=ANN, ids=(name(1),)))
    site.do(QueueDropped(queue="q"))
    assert site.work.snapshot() == empty
    assert (site.work.queues._size_bytes, site.work.queues._remembered) == (0, 0)


def test_there_are_only_so_many_queues(site: Site) -> None:
    for number in range(QUEUES_MAX):
        site.do(QueueMade(queue=f"q-{number}"))
    assert str(QUEUES_MAX) in site.refusal(QueueMade(queue="one-more"))
    site.do(QueueMade(queue="q-0", deliveries_max=2))


def test_all_queues_together_hold_only_so_much(site: Site) -> None:
    site.do(QueueMade(queue="a", bytes_max=2**34), QueueMade(queue="b", bytes_max=2**34))
    number = 0
    while not isinstance(site.say(put("ab"[number % 2], number, size=MESSAGE_BYTES_MAX)), Refused):
        number += 1
    assert number == QUEUE_BYTES_MAX // MESSAGE_BYTES_MAX - 1, "and their names take up the rest"
    site.do(Take(queue="a", consumer=ANN, request=1))
    site.do(Ack(queue="a", consumer=ANN, ids=(name(0),)))
    site.do(put("b", number, size=MESSAGE_BYTES_MAX))


def test_dead_letters_find_a_queue_and_are_taken_from_it_as_often_as_anybody_likes(site: Site) -> None:
    site.do(QueueMade(queue="q", deliveries_max=1, dead="grave"), put("q", 1))
    site.do(Take(queue="q", consumer=ANN, request=1))
    site.do(Nack(queue="q", consumer=ANN, ids=(name(1),)))
    for request in range(1, 1100):
        assert len(site.do(Take(queue="grave", consumer=ANN, request=request)).messages) == 1
        site.do(Nack(queue="grave", consumer=ANN, ids=(name(1),)))
    assert [view.queue for view in site.work.queues.views()] == ["grave", "q"]


def test_what_was_held_too_long_is_buried_though_nobody_asks_for_that_queue(site: Site) -> None:
    site.do(QueueMade(queue="q", deliveries_max=1), put("q", 1))
    site.do(Take(queue="q", consumer=ANN, request=1, visible_ms=100))
    site.say(later_ms=2000)
    assert site.work.queues.ready("q.dead", site.wall_ms) == 1


def test_only_so_many_messages_that_are_done_with_are_remembered(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldos.kernel.queues.queues.REMEMBERED_MAX", 5000)
    site.do(QueueMade(queue="q"))
    for turn in range(6):
        numbers = range(turn * MESSAGES_MAX, (turn + 1) * MESSAGES_MAX)
        site.do(put("q", *numbers), Take(queue="q", consumer=ANN, request=turn, count=MESSAGES_MAX))
        site.do(Ack(queue="q", consumer=ANN, ids=tuple(map(name, numbers))))
    assert site.work.queues._remembered == 5000
    assert len(site.work.snapshot()) < 5000 * 20


def test_only_so_many_consumers_take_from_all_queues_and_idle_ones_are_forgotten(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worldos.kernel.queues.queues.ALL_CONSUMERS_MAX", 3)
    site.do(QueueMade(queue="a"), QueueMade(queue="b"))
    for queue, consumer in (("a", "one-1"), ("a", "two-2"), ("b", "one-1")):
        site.do(Take(queue=queue, consumer=consumer, request=1))
    assert "3 consumers" in site.refusal(Take(queue="b", consumer="two-2", request=1))
    site.do(Take(queue="a", consumer="two-2", request=2))
    site.say(later_ms=REMEMBERED_MS)
    assert site.work.queues._consumers == 0
    site.do(Take(queue="b", consumer="two-2", request=1))


def test_the_sums_are_made_again_from_a_snapshot(site: Site) -> None:
    site.do(QueueMade(queue="q"), put("q", 1, 2, 3, size=100), Take(queue="q", consumer=ANN, request=1))
    site.do(Ack(queue="q", consumer=ANN, ids=(name(1),)))
    one, other = site.work.queues, Work.restore(site.work.snapshot()).queues
    sums = (one._size_bytes, one._remembered, one._consumers)
    assert sums == (other._size_bytes, other._remembered, other._consumers)
    assert one.views() == other.views()


def test_queues_that_cannot_be_are_not_taken_from_a_snapshot(site: Site) -> None:
    site.do(QueueMade(queue="q"), put("q", 1, 2))
    kept = site.work.queues.kept()
    kept[0].orders = 1
    with pytest.raises(ValueError, match="q"):
        Queues.again(kept)
    with pytest.raises(ValueError, match="q"):
        Queues.again([kept[0], kept[0]])
