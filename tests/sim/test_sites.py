"""Sites: accounts of their own at places of their own, linked where both sides believe, and walls around any of them."""

from __future__ import annotations

import time

import pytest

from worldos.kernel.effects import Welcome
from worldos.kernel.events import PeerSaid
from worldos.model.limits import MS, SECOND
from worldos.model.realm import Contact
from worldos.model.wire import LeaseGone
from worldos.sim.machine import Machine, Place, root_of
from worldos.sim.world import SitePlan, World


def two_sites() -> World:
    world = World(1, [SitePlan(2), SitePlan(2, Place(30_000, 40_000))], drift=False)
    world.run_until(world.now_ns + 2 * SECOND)
    return world


def welcome(world: World, one: Machine, other: Machine) -> None:
    for me, peer in ((one, other), (other, one)):
        contact = Contact(
            node=peer.id, name=peer.name, site=peer.site.account, root_cert=root_of(peer.number), addresses=()
        )
        world.carry_out(me, Welcome(contact=contact))


def links(world: World) -> set[tuple[int, int]]:
    return {pair for pair, session in world.sessions.sessions.items() if session.up}


@pytest.fixture
def kin(monkeypatch: pytest.MonkeyPatch) -> World:
    """Two sites, and a link between machines 0 and 2 that both nodes want."""
    world = two_sites()
    for machine in world.machines:
        monkeypatch.setattr(type(machine.node), "_linked", lambda self, event: [])
    welcome(world, world.machines[0], world.machines[2])
    world.run_until(world.now_ns + 2 * SECOND)
    return world


def test_machines_of_two_accounts_are_strangers_until_both_welcome_each_other() -> None:
    world = two_sites()
    assert links(world) == {(0, 1), (2, 3)}
    assert world.sites[0].account != world.sites[1].account


def test_between_sites_light_takes_its_time(kin: World) -> None:
    heard: list[int] = []
    ear = {
        "stepped": lambda _, m, event, e: (
            heard.append(kin.now_ns) if type(event) is PeerSaid and type(event.message) is LeaseGone else None
        )
    }
    kin.watchers.append(type("Ear", (), ear)())
    assert (0, 2) in links(kin)
    sent_ns = kin.now_ns
    kin.machines[0].wire.send(kin.machines[2].id, LeaseGone(lease="x", why="a test"))
    kin.run_until(kin.now_ns + SECOND)
    assert 52 * MS <= heard[0] - sent_ns < 60 * MS


def test_a_wall_around_a_site_cuts_it_off_and_not_what_is_inside(kin: World) -> None:
    wall = kin.sessions.raise_wall({0, 1})
    kin.run_until(kin.now_ns + 5 * SECOND)
    assert links(kin) == {(0, 1), (2, 3)}
    kin.sessions.take_down(wall)
    kin.run_until(kin.now_ns + 2 * SECOND)
    assert links(kin) == {(0, 1), (0, 2), (2, 3)}


def test_a_wall_may_stop_one_direction_only(kin: World) -> None:
    heard: list[int] = []
    ear = {
        "stepped": lambda _, m, event, e: (
            heard.append(m.number) if type(event) is PeerSaid and type(event.message) is LeaseGone else None
        )
    }
    kin.watchers.append(type("Ear", (), ear)())
    kin.sessions.raise_wall({0, 1}, stops_in=False)
    for source, target in ((0, 2), (2, 0)):
        kin.machines[source].wire.send(kin.machines[target].id, LeaseGone(lease="x", why="a test"))
    kin.run_until(kin.now_ns + SECOND)
    assert heard == [0]


def test_who_forgets_is_a_stranger_again(kin: World) -> None:
    kin.machines[0].wire.forget(kin.machines[2].id, "no kin any more")
    kin.run_until(kin.now_ns + 5 * SECOND)
    assert (0, 2) not in links(kin)


def test_a_world_of_many_sites_starts_soon() -> None:
    """Keys, claims and key logs are made once each; ten thousand machines take ten times as long."""
    began_s = time.perf_counter()
    world = World(1, [SitePlan(5, Place(number * 10, 0)) for number in range(200)])
    assert len(world.machines) == 1000
    assert time.perf_counter() - began_s < 30
