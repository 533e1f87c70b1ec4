"""News is told often enough, the newest first, and not for ever."""

from __future__ import annotations

from worldos.kernel.gossip import NEWS_PER_MESSAGE_MAX, TELLINGS_PER_DOUBLING, Gossip
from worldos.model.ids import NodeId


def test_news_is_told_a_few_times_per_doubling_of_the_site_and_then_no_more() -> None:
    for reachable in (2, 8, 200):
        gossip = Gossip()
        gossip.tell(NodeId("a"))
        told = sum(len(gossip.take(reachable)) for _ in range(200))
        assert told == TELLINGS_PER_DOUBLING * reachable.bit_length()


def test_the_least_told_goes_first_and_a_message_carries_a_bounded_number() -> None:
    gossip = Gossip()
    names = [NodeId(f"n{i:02}") for i in range(2 * NEWS_PER_MESSAGE_MAX)]
    for name in names:
        gossip.tell(name)
    first, second = gossip.take(99), gossip.take(99)
    assert len(first) == NEWS_PER_MESSAGE_MAX
    assert sorted([*first, *second]) == names


def test_fresh_news_about_a_node_is_told_from_the_start() -> None:
    gossip = Gossip()
    gossip.tell(NodeId("a"))
    for _ in range(3):
        gossip.take(2)
    gossip.tell(NodeId("a"))
    assert gossip.told == {"a": 0}


def test_what_holds_no_more_is_not_told() -> None:
    gossip = Gossip()
    gossip.tell(NodeId("a"))
    gossip.hush(NodeId("a"))
    gossip.hush(NodeId("never said"))
    assert gossip.take(9) == []
