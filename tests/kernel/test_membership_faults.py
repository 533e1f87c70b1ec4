"""Membership in trouble: crashes, sleeps, cuts and bad wires, on sites of 2 to 50 nodes."""

from __future__ import annotations

import pytest
from tests.kernel.site import ALIVE, DEAD, SUSPECT, A, B, C, Site, everyone_is_well

from worldos.kernel.membership import Membership
from worldos.kernel.suspicion import suspicion_ns
from worldos.model.limits import MINUTE, MS, PROBE_PERIOD_NS, SECOND, SUSPICION_MAX_NS, SUSPICION_MIN_NS
from worldos.model.swim import ACCUSERS_MAX, StatusChanged, first_incarnation


@pytest.mark.parametrize("size", [2, 5, 50])
def test_a_quiet_site_suspects_nobody(size: int) -> None:
    site = Site(size)
    site.run(20 * SECOND)
    assert everyone_is_well(site)
    assert site.changes(SUSPECT) == []
    assert all(node.statistics()["health"] == 0 for node in site.nodes.values())


def test_quiet_costs_each_node_about_two_messages_a_round() -> None:
    site = Site(5)
    site.run(5 * SECOND)
    site.sent = 0
    site.run(20 * SECOND)
    assert site.sent <= 5 * 2 * (20 * SECOND // PROBE_PERIOD_NS + 2) + 20


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("size", [2, 5, 50])
def test_a_silent_lease_partner_is_suspected_within_a_second(size: int, seed: int) -> None:
    site = Site(size, seed=seed)
    holder, provider = site.names[0], site.names[-1]
    site.nodes[holder].focus([provider])
    site.run(3 * SECOND + site.dice.below(SECOND))
    site.crash(provider)
    died_ns = site.now_ns
    assert site.run(2 * SECOND, lambda: site.nodes[holder].status(provider) is SUSPECT)
    assert site.now_ns - died_ns <= SECOND


@pytest.mark.parametrize("size", [2, 5, 50])
def test_a_crashed_node_is_dead_for_everyone_in_time_and_nobody_else_is(size: int) -> None:
    site = Site(size)
    site.run(3 * SECOND)
    victim = site.names[1]
    site.crash(victim)
    died_ns = site.now_ns
    assert site.run(SUSPICION_MAX_NS + 10 * SECOND, lambda: site.views(victim) == {DEAD})
    assert site.now_ns - died_ns >= SUSPICION_MIN_NS
    print(f"{size} nodes: dead for all {(site.now_ns - died_ns) // MS} ms after the crash")
    site.run(5 * SECOND)
    assert {node for _, _, node in site.changes(SUSPECT)} == {victim}


def test_many_accusers_make_a_death_quick() -> None:
    alone = suspicion_ns(accusers=1, reachable=10, hinted=False)
    two = suspicion_ns(accusers=2, reachable=10, hinted=False)
    all_of_them = suspicion_ns(accusers=ACCUSERS_MAX, reachable=10, hinted=False)
    assert alone == SUSPICION_MAX_NS > two > all_of_them == SUSPICION_MIN_NS
    assert suspicion_ns(accusers=1, reachable=2, hinted=False) == SUSPICION_MIN_NS  # nobody could confirm


@pytest.mark.parametrize("size", [2, 5])
def test_a_closed_link_to_a_crashed_node_is_a_suspicion_in_a_fifth_of_a_second(size: int) -> None:
    site = Site(size)
    site.run(3 * SECOND)
    site.crash(B) if size == 2 else site.crash(site.names[1])
    victim = site.names[1]
    for name, node in site.nodes.items():
        site.do(name, node.unlinked(site.now_ns, victim))
    died_ns = site.now_ns
    assert site.run(SECOND, lambda: site.views(victim) == {SUSPECT})
    assert site.now_ns - died_ns <= 200 * MS
    assert site.run(10 * SECOND, lambda: site.views(victim) == {DEAD})
    assert site.now_ns - died_ns <= 200 * MS + SUSPICION_MIN_NS


def test_a_closed_link_to_a_node_that_answers_by_another_way_is_nothing() -> None:
    site = Site(3)
    site.run(3 * SECOND)
    site.cut((A, B), (B, A))
    site.do(A, site.nodes[A].unlinked(site.now_ns, B))
    site.do(B, site.nodes[B].unlinked(site.now_ns, A))
    site.run(20 * SECOND)
    assert site.changes(SUSPECT) == []


@pytest.mark.parametrize("size", [2, 5])
def test_a_restarted_node_is_alive_at_once(size: int) -> None:
    site = Site(size)
    site.run(3 * SECOND)
    victim = site.names[1]
    site.crash(victim)
    site.run(SUSPICION_MAX_NS + 10 * SECOND)
    assert site.views(victim) == {DEAD}
    site.start(victim, boot=2)
    first = site.names[0]
    site.do(first, site.nodes[first].linked(site.now_ns, victim, 2))
    site.do(victim, site.nodes[victim].linked(site.now_ns, first, 1))
    assert site.nodes[first].status(victim) is ALIVE
    assert site.run(2 * SECOND, lambda: everyone_is_well(site))


def test_a_node_that_restarted_unnoticed_is_told_as_such() -> None:
    site = Site(2)
    site.run(SECOND)
    assert StatusChanged(node=B, status=ALIVE, old=ALIVE, boot=2) in site.nodes[A].linked(site.now_ns, B, 2)


def test_a_node_with_an_older_life_number_than_known_comes_back_too() -> None:
    site = Site(3)
    site.run(SECOND)
    for boot in (9, 2):  # the second is a home that was put back from a copy
        site.start(B, boot=boot)
        for name in (A, C):
            site.do(name, site.nodes[name].linked(site.now_ns, B, boot))
            site.do(B, site.nodes[B].linked(site.now_ns, name, 1))
        site.run(12 * SECOND)
        assert everyone_is_well(site)
    assert site.nodes[B].roster.incarnation > first_incarnation(9)


@pytest.mark.parametrize("size", [2, 5, 50])
def test_a_node_that_slept_accuses_nobody_and_is_back_when_it_wakes(size: int) -> None:
    site = Site(size)
    site.run(3 * SECOND)
    sleeper = site.names[0]
    site.pause(sleeper)
    site.run(30 * SECOND)
    assert site.views(sleeper) == {DEAD}
    site.resume(sleeper)
    woke_ns = site.now_ns
    assert site.run(3 * SECOND, lambda: everyone_is_well(site))
    print(f"{size} nodes: well again {(site.now_ns - woke_ns) // MS} ms after the sleeper woke")
    site.run(10 * SECOND)
    assert everyone_is_well(site)
    assert [who for _, who, _ in site.changes(SUSPECT) if who == sleeper] == []


def test_a_short_sleep_is_a_suspicion_that_ends_at_the_first_answer() -> None:
    site = Site(2)
    site.nodes[A].focus([B])
    site.run(3 * SECOND)
    site.pause(B)
    site.run(1500 * MS)
    assert site.nodes[A].status(B) is SUSPECT
    site.resume(B)
    woke_ns = site.now_ns
    assert site.run(SECOND, lambda: site.nodes[A].status(B) is ALIVE)
    assert site.now_ns - woke_ns <= 10 * MS
    assert site.changes(DEAD) == []


def test_a_clock_that_begins_anew_kills_nobody() -> None:
    node = Membership.begin(me=A, boot=1, seed=1, now_ns=10**15)
    node.linked(10**15, B, 1)
    node.tick(5)
    assert 5 <= node.next_deadline_ns <= 5 + PROBE_PERIOD_NS
    assert node.status(B) is ALIVE


@pytest.mark.parametrize("size", [2, 5, 50])
def test_nobody_dies_of_a_wire_that_loses_a_fifth(size: int) -> None:
    site = Site(size, loss_percent=20)
    site.run(30 * SECOND if size == 50 else 5 * MINUTE)
    suspected, dead = len(site.changes(SUSPECT)), len(site.changes(DEAD))
    node_minutes = size * site.now_ns / MINUTE
    print(f"{size} nodes, loss 20 %: {suspected / node_minutes:.1f} suspicions, {dead} deaths, a node-minute")
    assert dead == 0


def test_a_crash_on_a_wire_that_loses_a_fifth_is_found_by_all() -> None:
    site = Site(50, loss_percent=20)
    site.run(5 * SECOND)
    victim = site.names[7]
    site.crash(victim)
    assert site.run(30 * SECOND, lambda: site.views(victim) == {DEAD})
    assert {node for _, _, node in site.changes(DEAD)} == {victim}


@pytest.mark.parametrize("size", [3, 5, 50])
def test_a_cut_between_two_nodes_is_bridged_by_the_others(size: int) -> None:
    site = Site(size)
    site.run(3 * SECOND)
    one, other = site.names[:2]
    site.nodes[one].focus([other])
    site.cut((one, other), (other, one))
    site.run(20 * SECOND)
    assert site.changes(SUSPECT) == []


def test_a_cut_in_one_direction_between_three_is_bridged() -> None:
    site = Site(3)
    site.run(3 * SECOND)
    site.cut((A, B))
    site.run(20 * SECOND)
    assert site.changes(SUSPECT) == []


def test_a_cut_in_one_direction_between_two_is_silence_for_both_and_does_not_flap() -> None:
    site = Site(2)
    site.run(3 * SECOND)
    site.cut((A, B))
    site.run(20 * SECOND)
    assert site.nodes[A].status(B) is site.nodes[B].status(A) is DEAD
    assert len(site.changes(ALIVE)) == 2  # from the start
    site.cuts.clear()
    assert site.run(3 * SECOND, lambda: everyone_is_well(site))


@pytest.mark.parametrize("size", [2, 5, 50])
def test_two_halves_go_on_alone_and_find_each_other_again(size: int) -> None:
    site = Site(size)
    site.run(3 * SECOND)
    left, right = site.names[: size // 2], site.names[size // 2 :]
    site.cut(*[pair for x in left for y in right for pair in ((x, y), (y, x))])
    site.run(60 * SECOND)
    for half, away in ((left, right), (right, left)):
        for name in half:
            assert site.nodes[name].alive() == tuple(sorted(set(half) - {name}))
            assert all(site.nodes[name].status(node) is DEAD for node in away)
    site.cuts.clear()
    healed_ns = site.now_ns
    assert site.run(10 * SECOND, lambda: everyone_is_well(site))
    print(f"{size} nodes: one again {(site.now_ns - healed_ns) // MS} ms after the cut healed")


def test_an_isolated_node_finds_itself_alone_and_comes_back() -> None:
    site = Site(5)
    site.run(3 * SECOND)
    lonely = site.names[0]
    site.cut(*[pair for other in site.names[1:] for pair in ((lonely, other), (other, lonely))])
    site.run(60 * SECOND)
    assert site.nodes[lonely].alive() == ()
    site.cuts.clear()
    assert site.run(5 * SECOND, lambda: everyone_is_well(site))
