"""What is believed: by the weight of rumors, and within bounds."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel.site import ALIVE, DEAD, LEFT, RUMORS, A, B, C, Site, rumor

from worldos.kernel.membership import Membership
from worldos.model.ids import NodeId
from worldos.model.limits import DEAD_KEPT_NS, MEMBERS_MAX, SECOND
from worldos.model.swim import Ack, Ping, Rumor, merged


def test_a_site_takes_no_more_than_its_bound_and_dead_ones_make_room() -> None:
    node = Membership.begin(me=A, boot=1, seed=1, now_ns=0)
    for i in range(MEMBERS_MAX):
        node.linked(0, NodeId(f"x{i}"), 1)
    assert node.linked(0, B, 1) == []
    assert node.statistics()["no_room"] == 1
    node.heard(0, NodeId("x1"), Ping(number=1, target=A, rumors=(rumor(NodeId("x0"), LEFT, 2 << 16),)))
    node.linked(0, B, 1)
    assert node.status(B) is ALIVE
    assert node.status(NodeId("x0")) is None


def test_the_long_dead_are_forgotten() -> None:
    site = Site(2)
    site.run(SECOND)
    site.crash(B)
    site.run(10 * SECOND)
    node = site.nodes[A]
    assert node.status(B) is DEAD
    site.now_ns += DEAD_KEPT_NS
    node.due_ns = site.now_ns  # an hour of rounds would be slow to wait for
    site.do(A, [])
    site.run(31 * SECOND)
    assert node.status(B) is None


@settings(max_examples=60)
@given(st.lists(RUMORS, min_size=1, max_size=4))
def test_a_node_ends_with_the_merged_rumor_whatever_the_order(heard: list[Rumor]) -> None:
    expected = heard[0]
    for other in heard[1:]:
        expected = merged(expected, other)
    for order in permutations([*heard, heard[0]]):
        node = Membership.begin(me=A, boot=1, seed=1, now_ns=0)
        node.linked(0, C, 1)
        for said in order:
            node.heard(0, C, Ack(number=0, rumors=(said,)))
        assert node.roster.rumor(B) == expected
