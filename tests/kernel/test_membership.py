"""What a node answers, believes and remembers, word by word."""

from __future__ import annotations

import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel.site import ALIVE, DEAD, LEFT, SUSPECT, A, B, C, Site, everyone_is_well, pair, rumor, sends

from worldos.kernel.membership import Membership
from worldos.model.ids import NodeId
from worldos.model.limits import MINUTE, MS, SECOND
from worldos.model.swim import (
    NUMBER_MAX,
    Ack,
    Nack,
    Ping,
    PingRequest,
    Rumor,
    SendSwim,
    Status,
    StatusChanged,
    SwimMessage,
)


def test_a_newcomer_linked_to_one_is_known_to_all_and_knows_all() -> None:
    site = Site(5)
    site.run(3 * SECOND)
    newcomer = NodeId("new")
    site.names.append(newcomer)
    site.start(newcomer, boot=1)
    first = site.names[0]
    site.do(first, site.nodes[first].linked(site.now_ns, newcomer, 1))
    site.do(newcomer, site.nodes[newcomer].linked(site.now_ns, first, 1))
    assert site.run(2 * SECOND, lambda: everyone_is_well(site))


def test_who_leaves_has_left_for_all_and_is_silent() -> None:
    site = Site(5)
    site.run(3 * SECOND)
    leaver = site.names[2]
    site.do(leaver, site.nodes[leaver].leave(site.now_ns))
    sent_by_leaver = site.nodes[leaver].probes.number
    assert site.run(SECOND, lambda: site.views(leaver) <= {LEFT, ALIVE} and LEFT in site.views(leaver))
    site.run(20 * SECOND)
    others = [node for name, node in site.nodes.items() if name != leaver]
    assert {node.status(leaver) for node in others} == {LEFT}
    assert site.nodes[leaver].probes.number == sent_by_leaver
    assert site.changes(SUSPECT) == []


def test_a_forgotten_node_gets_no_answer_and_no_rumor_brings_it_back_until_it_is_linked_again() -> None:
    site = Site(3)
    site.run(SECOND)
    node = site.nodes[A]
    node.forget(B)
    assert node.status(B) is None
    assert node.heard(site.now_ns, B, Ping(number=1, target=A)) == []
    node.heard(site.now_ns, C, Ping(number=2, target=A, rumors=(rumor(B, ALIVE, 99 << 16),)))
    assert node.status(B) is None
    node.linked(site.now_ns, B, 3)
    assert node.status(B) is ALIVE


def test_a_ping_is_acked_with_its_number() -> None:
    assert [m.number for m in sends(pair().heard(0, B, Ping(number=7, target=A)), B) if isinstance(m, Ack)] == [7]


def test_a_ping_for_somebody_else_is_not_acked() -> None:
    assert sends(pair().heard(0, B, Ping(number=7, target=C)), B) == []


def test_an_accused_node_rises_above_the_rumor() -> None:
    node = pair()
    effects = node.heard(0, B, Ping(number=7, target=A, rumors=(rumor(A, DEAD, 5 << 16),)))
    (ack,) = sends(effects, B)
    assert ack.rumors[0] == rumor(A, ALIVE, (5 << 16) + 1)


def test_the_highest_number_there_is_cannot_be_risen_above_and_breaks_nothing() -> None:
    node = pair()
    (ack,) = sends(node.heard(0, B, Ping(number=7, target=A, rumors=(rumor(A, DEAD, NUMBER_MAX),))), B)
    msgspec.msgpack.decode(msgspec.msgpack.encode(ack), type=Ack)


def test_who_believes_something_old_is_told_the_new() -> None:
    node = pair()
    node.heard(0, C, Ack(number=0, rumors=(rumor(NodeId("d"), DEAD, 9 << 16),)))
    node.roster.gossip.told.clear()
    (ack,) = sends(node.heard(0, B, Ping(number=7, target=A, rumors=(rumor(NodeId("d"), ALIVE, 1 << 16),))), B)
    assert rumor(NodeId("d"), DEAD, 9 << 16) in ack.rumors


def test_hearsay_against_a_node_that_just_answered_is_brought_to_it_and_not_believed() -> None:
    node = pair()
    accusation = rumor(B, SUSPECT, 1 << 16, C)
    effects = node.heard(0, C, Ping(number=7, target=A, rumors=(accusation,)))
    assert node.status(B) is ALIVE
    assert accusation in sends(effects, B)[0].rumors


def test_an_errand_ends_in_the_answer_of_the_target() -> None:
    node = pair()
    (ping,) = sends(node.heard(0, B, PingRequest(number=7, target=C)), C)
    assert isinstance(ping, Ping)
    (ack,) = sends(node.heard(MS, C, Ack(number=ping.number)), B)
    assert isinstance(ack, Ack)
    assert (ack.number, ack.target) == (7, C)


def test_an_errand_that_fails_ends_in_a_nack() -> None:
    node = pair()
    node.heard(0, B, PingRequest(number=7, target=C))
    said: list[SwimMessage] = []
    while node.next_deadline_ns <= SECOND:
        said += sends(node.tick(node.next_deadline_ns), B)
    assert [message.number for message in said if isinstance(message, Nack)] == [7]


def test_an_errand_to_a_stranger_is_refused_at_once() -> None:
    (nack,) = sends(pair().heard(0, B, PingRequest(number=7, target=NodeId("stranger"))), B)
    assert isinstance(nack, Nack)


def test_an_ack_to_a_ping_from_before_the_doubt_proves_nothing() -> None:
    node = pair()
    node.roster.members[B].proven_ns = None
    node.heard(0, C, Ack(number=0, rumors=(rumor(B, SUSPECT, 1 << 16, C),)))
    assert node.status(B) is SUSPECT
    before = node.probes.number
    node.heard(MS, B, Ack(number=before))
    assert node.status(B) is SUSPECT
    node.heard(MS, B, Ack(number=before + 10**6))  # never asked
    assert node.status(B) is SUSPECT
    (ping, *_) = [m for m in sends(node.heard(MS, B, Ping(number=3, target=A)), B) if isinstance(m, Ping)]
    node.heard(2 * MS, B, Ack(number=ping.number))
    assert node.status(B) is ALIVE


def test_who_sleeps_in_the_middle_of_a_probe_or_of_a_doubt_accuses_nobody_when_it_wakes() -> None:
    node = pair()
    now_ns = 0
    while not any(probe.indirect for probe in node.probes.open.values()):
        now_ns = node.next_deadline_ns
        node.tick(now_ns)
    now_ns = node.next_deadline_ns + MINUTE
    node.tick(now_ns)
    assert node.alive() == (B, C)
    while not node.roster.suspects:
        now_ns = node.next_deadline_ns
        node.tick(now_ns)
    left_ns = min(node.roster.suspects.values()) - now_ns
    now_ns = node.next_deadline_ns + MINUTE
    node.tick(now_ns)
    assert node.statistics()["dead"] == 0
    assert left_ns - SECOND <= min(node.roster.suspects.values()) - now_ns <= left_ns


def test_our_own_late_timer_makes_us_wait_longer() -> None:
    node = pair()
    node.tick(node.next_deadline_ns + SECOND)
    assert node.statistics()["late"] == 1
    assert node.statistics()["health"] == 1


def test_a_failed_probe_is_our_fault_unless_the_helpers_found_the_same() -> None:
    for nack_first, health in ((True, 0), (False, 1)):
        node = Membership.begin(me=A, boot=1, seed=1, now_ns=0)
        node.linked(0, B, 1)
        node.linked(0, C, 1)
        node.focus([B])
        while node.status(B) is ALIVE:
            now_ns = node.next_deadline_ns
            for message in sends(node.tick(now_ns), C):
                if isinstance(message, PingRequest) and nack_first:
                    node.heard(now_ns, C, Nack(number=message.number))
                if isinstance(message, Ping):
                    node.heard(now_ns, C, Ack(number=message.number))
                    node.probes.health = 0
        assert node.statistics()["health"] == health


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), at_ns=st.integers(0, 8 * SECOND), loss=st.integers(0, 40))
def test_a_node_that_was_saved_in_mid_flight_goes_on_as_if_it_had_not_been(seed: int, at_ns: int, loss: int) -> None:
    def story(*, saved: bool) -> list[tuple[int, NodeId, StatusChanged]]:
        site = Site(4, seed=seed, loss_percent=loss)
        site.run(2 * SECOND)
        site.crash(site.names[3])
        site.run(at_ns)
        if saved:
            for name, node in site.nodes.items():
                site.nodes[name] = msgspec.msgpack.decode(msgspec.msgpack.encode(node), type=Membership)
        site.run(10 * SECOND)
        return [*site.told, (site.sent, A, StatusChanged(node=A, status=ALIVE, old=None, boot=0))]

    assert story(saved=True) == story(saved=False)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_words_from_peers_break_nothing_and_leave_the_invariants(data: st.DataObject) -> None:
    names = st.sampled_from([A, B, C, NodeId("d"), NodeId("e")])
    any_rumor = st.builds(
        Rumor, node=names, status=st.sampled_from(list(Status)), boot=st.integers(0, 3),
        incarnation=st.integers(0, 4 << 16) | st.just(NUMBER_MAX),
        accusers=st.sets(names, max_size=4).map(lambda s: tuple(sorted(s))),
    )  # fmt: skip
    number = st.integers(0, (1 << 28) + 40)
    several = st.lists(any_rumor, max_size=4).map(tuple)
    message = (
        st.builds(Ping, number=number, target=names, rumors=several)
        | st.builds(Ack, number=number, target=names, rumors=several)
        | st.builds(PingRequest, number=number, target=names, rumors=several)
        | st.builds(Nack, number=number, rumors=several)
    )
    node, now_ns = pair(), 0
    for _ in range(data.draw(st.integers(1, 30))):
        now_ns += data.draw(st.sampled_from([0, MS, 100 * MS, SECOND, 5 * SECOND]))
        match data.draw(st.sampled_from(["heard", "tick", "linked", "unlinked", "forget"])):
            case "heard":
                effects = node.heard(now_ns, data.draw(names), data.draw(message))
            case "tick":
                effects = node.tick(now_ns)
            case "linked":
                effects = node.linked(now_ns, data.draw(names), data.draw(st.integers(1, 3)))
            case "unlinked":
                effects = node.unlinked(now_ns, data.draw(names))
            case _:
                effects = []
                node.forget(data.draw(names))
        for effect in effects:
            assert effect.node != A
            if isinstance(effect, SendSwim):
                msgspec.msgpack.decode(msgspec.msgpack.encode(effect.message), type=SwimMessage)
        roster = node.roster
        by_status = {status: set(roster.here(status)) for status in Status}
        assert set(roster.suspects) == by_status[SUSPECT]
        assert sorted(roster.gone) == sorted(by_status[DEAD])
        assert roster.reachable == 1 + len(roster.here())
        assert {probe.target: number for number, probe in node.probes.open.items()} == node.probes.probing


@pytest.mark.parametrize("size", [2, 20, 50])
def test_what_an_event_costs(size: int) -> None:
    site = Site(size)
    site.run(SECOND)
    site.events = 0
    began = time.perf_counter()
    site.run(20 * SECOND if size < 50 else 3 * SECOND)
    took = time.perf_counter() - began
    print(f"{size} nodes: {1e6 * took / site.events:.1f} us an event, this file's own wire included")
