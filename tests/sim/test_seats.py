"""Seats: what is safe after a while, in order; what a crash takes away, and what a flipped bit does."""

from __future__ import annotations

from tests.sim.worlds import after, world_of

from worldos.kernel.effects import Persist
from worldos.kernel.events import Persisted
from worldos.model.limits import SECOND
from worldos.model.raft import Entry, Vote
from worldos.model.realm import RealmId
from worldos.sim.machine import Machine
from worldos.sim.world import World

REALM = RealmId("realm")


def persist(number: int, *indices: int, term: int = 1) -> Persist:
    entries = tuple(Entry(term=term, index=index) for index in indices)
    return Persist(realm=REALM, number=number, vote=Vote(term=term), entries=entries, snapshot=None)


def told(world: World) -> list[int]:
    numbers: list[int] = []
    ear = {"stepped": lambda _, m, event, e: numbers.append(event.number) if type(event) is Persisted else None}
    world.watchers.append(type("Ear", (), ear)())
    return numbers


def indices(machine: Machine) -> list[int]:
    return [entry.index for entry in machine.seats.recover()[REALM].entries]


def write(machine: Machine, count: int) -> None:
    for number in range(1, count + 1):
        machine.seats.persist(persist(number, number))


def test_writes_become_safe_in_order_and_the_node_is_told() -> None:
    world = world_of(1)
    numbers, machine = told(world), world.machines[0]
    write(machine, 19)
    seat = machine.seats.seats[REALM]
    assert seat.last == 0
    after(world, SECOND)
    assert numbers == [1, 19]  # the first flush took one, the next all that had come meanwhile
    assert (seat.last, seat.vote) == (19, Vote(term=1))
    assert indices(machine) == list(range(1, 20))


def test_a_power_cut_keeps_a_prefix_of_what_was_not_safe_and_a_killed_process_all() -> None:
    kept = set()
    for seed in range(40):
        world = world_of(1, seed=seed)
        machine = world.machines[0]
        write(machine, 5)
        machine.seats.stop(power=seed > 0)
        found = indices(machine)
        assert found == list(range(1, len(found) + 1))
        assert seed or len(found) == 5
        kept.add(len(found))
    assert kept == set(range(6))


def test_what_was_under_way_in_a_life_is_not_told_to_the_next() -> None:
    world = world_of(1)
    numbers, machine = told(world), world.machines[0]
    write(machine, 1)
    world.crash(machine)
    world.start(machine)
    after(world, SECOND)
    assert numbers == []


def test_a_flipped_bit_and_an_old_backup_are_named() -> None:
    for spoil in (lambda seats: seats.rot(REALM), lambda seats: seats.go_back()):
        world = world_of(1)
        machine = world.machines[0]
        write(machine, 3)
        after(world, SECOND)
        machine.seats.save()
        machine.seats.persist(persist(4, 4))
        after(world, SECOND)
        machine.seats.stop(power=False)
        spoil(machine.seats)
        assert machine.seats.recover()[REALM].damaged


def test_a_seat_that_was_dropped_is_not_heard_of_again() -> None:
    world = world_of(1)
    numbers, machine = told(world), world.machines[0]
    write(machine, 1)
    machine.seats.drop(REALM)
    after(world, SECOND)
    assert numbers == []
    assert machine.seats.recover() == {}
