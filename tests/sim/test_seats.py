"""Seats: what is safe after a while, in order; what a crash takes away, and what a flipped bit does."""

from __future__ import annotations

from tests.sim.worlds import after, world_of

from worldos.kernel.effects import Persist
from worldos.kernel.events import Persisted
from worldos.model.ids import NodeId
from worldos.model.limits import SECOND
from worldos.model.raft import Config, Entry, Snapshot, Vote
from worldos.model.realm import RealmId
from worldos.sim.seats import Stored, written
from worldos.sim.world import World

REALM = RealmId("realm")
CONFIG = Config(voters=(NodeId("a"),))


def persist(number: int, *indices: int, term: int = 1, snapshot: Snapshot | None = None) -> Persist:
    entries = tuple(Entry(term=term, index=index) for index in indices)
    return Persist(realm=REALM, number=number, vote=Vote(term=term), entries=entries, snapshot=snapshot)


def told(world: World) -> list[int]:
    numbers: list[int] = []
    ear = {"stepped": lambda _, m, event, e: numbers.append(event.number) if type(event) is Persisted else None}
    world.watchers.append(type("Ear", (), ear)())
    return numbers


def indices(stored: Stored) -> list[int]:
    return [entry.index for entry in stored.entries]


def test_entries_replace_what_comes_after_their_first_and_a_snapshot_what_is_before() -> None:
    stored = written(written(Stored(), persist(1, 1, 2, 3)), persist(2, 2, term=2))
    assert [(entry.index, entry.term) for entry in stored.entries] == [(1, 1), (2, 2)]
    assert stored.vote == Vote(term=2)
    snapshot = Snapshot(term=2, index=1, config=CONFIG, state=b"")
    assert indices(written(stored, persist(3, snapshot=snapshot))) == [2]


def test_writes_become_safe_in_order_and_the_node_is_told() -> None:
    world = world_of(1)
    numbers, machine = told(world), world.machines[0]
    for number in range(1, 20):
        machine.seats.persist(persist(number, number))
    assert machine.seats.recovered() == {REALM: Stored()}
    after(world, SECOND)
    assert numbers == list(range(1, 20))
    assert indices(machine.seats.recovered()[REALM]) == numbers


def test_a_power_cut_keeps_a_prefix_of_what_was_not_safe_and_a_killed_process_all() -> None:
    kept = set()
    for seed in range(30):
        world = world_of(1, seed=seed)
        machine = world.machines[0]
        for number in range(1, 6):
            machine.seats.persist(persist(number, number))
        machine.seats.stop(power=seed > 0)
        found = indices(machine.seats.recovered()[REALM])
        assert found == list(range(1, len(found) + 1))
        assert seed or len(found) == 5
        kept.add(len(found))
    assert kept == set(range(6))


def test_what_was_under_way_in_a_life_is_not_told_to_the_next() -> None:
    world = world_of(1)
    numbers, machine = told(world), world.machines[0]
    machine.seats.persist(persist(1, 1))
    world.crash(machine)
    world.start(machine)
    after(world, SECOND)
    assert numbers == []


def test_a_flipped_bit_leaves_an_older_state_that_says_so() -> None:
    world = world_of(1)
    machine = world.machines[0]
    for number in range(1, 6):
        machine.seats.persist(persist(number, number))
    after(world, SECOND)
    machine.seats.flip_share = 1.0
    machine.seats.stop(power=True)
    stored = machine.seats.recovered()[REALM]
    assert stored.damaged
    assert len(stored.entries) < 5


def test_a_seat_that_was_dropped_is_not_heard_of_again() -> None:
    world = world_of(1)
    numbers, machine = told(world), world.machines[0]
    machine.seats.persist(persist(1, 1))
    machine.seats.drop(REALM)
    after(world, SECOND)
    assert numbers == []
    assert machine.seats.recovered() == {}
