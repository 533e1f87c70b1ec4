"""Tenancies by hand: what is asked of the node, when, and what is remembered. With real agents: test_foreign_stores.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.agent.agents import new_home

from worldos.agent.start import open_home
from worldos.agent.tenancies import REMEMBERED_MAX, RETRY_NS, RETRY_NS_MAX, TENANCY_BYTES, TENANT, Tenancies
from worldos.config import Home
from worldos.kernel.events import UseAsked
from worldos.model.ids import LeaseId, NodeId, ResourceId
from worldos.model.local import LeaseAdded, LeaseLost, UseGranted, UseRefused
from worldos.model.need import LeaseTerms, Need

SECOND = 10**9


class Story:
    """Tenancies of a node that can look further; ``asked`` is what they told it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / "desk").exists():
            new_home(folder / "desk")
        self.node = open_home(Home(folder / "desk")).node
        self.node.uses.looks_further = True
        self.asked: list[UseAsked] = []
        self.now_ns = 0
        self.tenancies = Tenancies(folder / "tenancies", self.node, self.asked.append)

    def look(self, after_ns: int = 0) -> list[UseAsked]:
        """What is asked at a look, some time after the one before."""
        self.now_ns += after_ns
        before = len(self.asked)
        self.tenancies.look(self.now_ns, 1)
        return self.asked[before:]

    def grant(self, asked: UseAsked, node: str) -> LeaseTerms:
        terms = lease_of(node, asked.needs[0])
        self.tenancies.heard(UseGranted(use=asked.use, leases=(terms,)))
        return terms


def lease_of(node: str, need: Need) -> LeaseTerms:
    return LeaseTerms(
        lease=LeaseId(f"lease of {node}"),
        node=NodeId(node),
        boot=1,
        need=need,
        resources=(ResourceId(f"{node}/store/depot"),),
        ttl_ns=SECOND,
    )


@pytest.fixture
def story(folder: Path) -> Story:
    return Story(folder)


def test_a_node_of_no_realm_asks_nobody(story):
    story.node.uses.looks_further = False
    assert story.look() == []


def test_one_more_is_asked_for_until_there_are_enough(story):
    nodes = ["a", "b", "c", "d"]
    for node in nodes:
        (asked,) = story.look(RETRY_NS)
        assert (asked.client, asked.needs[0].kind, asked.needs[0].amount) == (TENANT, "Store", TENANCY_BYTES)
        assert story.look() == []  # it is under way
        story.grant(asked, node)
    assert story.look(RETRY_NS) == []


def test_after_a_refusal_nobody_is_asked_for_a_while_and_each_time_longer(story):
    (asked,) = story.look()
    story.tenancies.heard(UseRefused(use=asked.use, reason="none", hint=""))
    waited_ns = RETRY_NS
    while waited_ns < 4 * RETRY_NS_MAX:
        assert story.look(min(waited_ns, RETRY_NS_MAX) - 1) == []
        (asked,) = story.look(1)
        story.tenancies.heard(UseRefused(use=asked.use, reason="none", hint=""))
        waited_ns *= 2


def test_a_lost_store_is_asked_for_again_by_its_name(story):
    (asked,) = story.look()
    terms = story.grant(asked, "a")
    story.tenancies.heard(LeaseLost(use=asked.use, lease=terms.lease, why="it sleeps", replacing=False))
    again = story.look(RETRY_NS)
    assert [each.needs[0].near for each in again] == ["a", ""]
    story.tenancies.heard(LeaseAdded(use=again[0].use, terms=lease_of("a", again[0].needs[0])))
    assert "a" not in [each.needs[0].near for each in story.look(RETRY_NS)]


def test_the_next_life_knows_where_things_lie(story, folder):
    (asked,) = story.look()
    story.grant(asked, "a")
    assert [each.needs[0].near for each in Story(folder).look()] == ["a", ""]


@pytest.mark.parametrize("left", [b"", b"\xc1", b"\x91\x01"])
def test_what_cannot_be_read_is_forgotten(folder, left):
    (folder / "tenancies").write_bytes(left)
    assert [each.needs[0].near for each in Story(folder).look()] == [""]


def test_only_so_many_are_remembered(story):
    for number in range(REMEMBERED_MAX + 3):
        story.tenancies.heard(LeaseAdded(use="u", terms=lease_of(f"n{number}", Need(kind="Store", amount=1))))
    assert len(Story(story.folder).look()) == REMEMBERED_MAX
