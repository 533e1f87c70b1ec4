"""Waves: everybody finds its own place, the first wave is never empty, and none is larger than it may be."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.guard.fleet import a_command, a_roll, id_of

from worldos.kernel.guard.command import command_id, encode_command
from worldos.kernel.guard.limits import CANARIES_DRAWN, SETTLE_S
from worldos.kernel.guard.waves import (
    RANKS,
    canaries,
    ends,
    is_slight,
    opens_s,
    proofs,
    rank,
    reports,
    settles_s,
    wave_of,
)
from worldos.model.realm import Level

NAMES = [f"node{number}" for number in range(100)]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 20, 100])
@pytest.mark.parametrize("level", list(Level))
def test_every_node_of_a_listed_realm_has_one_wave_and_the_first_is_never_empty(level: Level, size: int) -> None:
    roll = a_roll(level, NAMES[:size], ["ada"])
    command = a_command(roll)
    known = command_id(encode_command(command))
    waves = [wave_of(command, known, roll, node) for node in roll.nodes]
    assert None not in waves
    last = len(command.waves_ppm)
    sizes = [waves.count(wave) for wave in range(last)]
    assert sum(sizes) == size
    assert sizes[0] >= canaries(size)
    if level >= Level.HOME and size > 1:
        assert sizes[0] < size, "somebody is left to be spared"
    for wave in range(last):
        assert is_slight(command, roll, wave) == (sizes[wave] == 0)
    assert wave_of(command, known, roll, id_of("eve")) is None


@given(st.integers(1, 10**6))
def test_a_first_wave_that_is_drawn_is_expected_to_have_enough_nodes(population: int) -> None:
    roll = a_roll(Level.PLANET, approvers=["ada"], population=population)
    bounds = ends(a_command(roll), roll)
    assert list(bounds) == sorted(bounds)
    assert bounds[-1] == RANKS
    assert bounds[0] * population // RANKS >= min(population, CANARIES_DRAWN)


def test_a_drawn_wave_is_as_large_as_it_says() -> None:
    roll = a_roll(Level.PLANET, approvers=["ada"], population=20_000)
    command = a_command(roll)
    known = command_id(encode_command(command))
    waves = [wave_of(command, known, roll, id_of_number(number)) for number in range(20_000)]
    sizes = [waves.count(wave) for wave in range(6)]
    assert 3 <= sizes[0] <= 40
    cumulative = list(itertools.accumulate(sizes))
    assert 150 <= cumulative[2] <= 260
    assert 1800 <= cumulative[3] <= 2200
    assert cumulative[-1] == 20_000


def id_of_number(number: int) -> str:
    return f"{number:052d}"


def test_the_order_is_another_for_each_command_and_beacon() -> None:
    nodes = [id_of_number(number) for number in range(50)]
    orders = {
        tuple(sorted(nodes, key=lambda node: rank(known, beacon, node)))
        for known in ("a" * 52, "b" * 52)
        for beacon in (bytes(32), bytes(31) + b"1")
    }
    assert len(orders) == 4


def test_a_command_to_few_nodes_is_in_waves_among_these() -> None:
    roll = a_roll(Level.GROUP, approvers=["ada"], population=100_000)
    to = tuple(sorted(id_of(name) for name in NAMES[:6]))
    command = a_command(roll, to=to, blast=6)
    known = command_id(encode_command(command))
    waves = [wave_of(command, known, roll, node) for node in to]
    assert waves.count(0) == 3
    assert wave_of(command, known, roll, id_of("node50")) is None
    single = a_command(roll, to=to[:1], blast=1)
    assert wave_of(single, command_id(encode_command(single)), roll, to[0]) == 0


def test_a_witness_in_the_wave_needs_one_node_less_and_never_more_than_there_are() -> None:
    roll = a_roll(Level.HOME, NAMES[:6], ["ada"])
    command = a_command(roll)
    known = command_id(encode_command(command))
    first = [node for node in roll.nodes if wave_of(command, known, roll, node) == 0]
    later = [node for node in roll.nodes if wave_of(command, known, roll, node) == 1]
    assert proofs(command, known, roll, 0, later[0]) == 3
    assert proofs(command, known, roll, 0, first[0]) == 2
    large = a_roll(Level.PLANET, approvers=["ada"], population=10**6)
    assert proofs(a_command(large), known, large, 0, id_of("w")) == 3


def test_of_many_some_tell_and_of_few_all() -> None:
    few = a_roll(Level.HOME, NAMES[:6], ["ada"])
    assert all(reports(a_command(few), "c" * 52, few, node) for node in few.nodes)
    many = a_roll(Level.PLANET, approvers=["ada"], population=20_000)
    command = a_command(many)
    telling = [n for n in range(20_000) if reports(command, "c" * 52, many, id_of_number(n))]
    assert 100 < len(telling) < 64 * 6


def test_a_wave_opens_after_the_soaks_before_it_and_not_before_it_was_seen() -> None:
    command = a_command(a_roll(Level.PLANET, approvers=["ada"], population=9), soak_s=1000, not_before_s=5000)
    assert [opens_s(command, wave, 0) for wave in range(3)] == [5000, 6000, 7000]
    assert opens_s(command, 1, 9000) == 10_000
    assert [settles_s(command, wave) for wave in range(2)] == [0, SETTLE_S]


@pytest.mark.parametrize("level", [Level.ENTERPRISE, Level.GROUP, Level.NATION, Level.PLANET])
@pytest.mark.parametrize("population", [1, 5, 16, 17, 100, 1000, 20_000, 100_000, 10**6, 10**9])
def test_no_wave_of_a_drawn_realm_needs_proofs_that_it_cannot_have(level: Level, population: int) -> None:
    roll = a_roll(level, approvers=["ada"], population=population)
    command = a_command(roll)
    for wave in range(len(command.waves_ppm) - 1):
        if not is_slight(command, roll, wave) and population > 16:
            assert 1 <= proofs(command, "c" * 52, roll, wave, id_of("w")) <= 3
    assert not is_slight(command, roll, 0)
