"""How many cores on which nodes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.engines.limits import NODES_MAX
from worldos.engines.seats import divided, one_more
from worldos.errors import BadRequest, NoCapacity


def test_what_one_node_holds_stays_on_one_node() -> None:
    assert divided(4000, [2000, 8000, 4000]) == (4000,)


def test_what_no_node_holds_is_spread_over_as_few_as_hold_it() -> None:
    assert divided(6000, [4000, 1000, 3500]) == (4000, 2000)


def test_a_number_of_nodes_is_filled_as_evenly_as_they_are_free() -> None:
    assert divided(6000, [8000, 8000, 8000], nodes=3) == (2000, 2000, 2000)
    assert divided(5000, [4000, 1000], nodes=2) == (4000, 1000)
    assert divided(1500, [2000, 2000, 2000], nodes=3) == (500, 500, 500)


def test_more_than_is_free_is_refused_with_what_is_free() -> None:
    with pytest.raises(NoCapacity, match="9 cores are wanted, 4 are free on 2 nodes"):
        divided(9000, [2000, 2000])
    with pytest.raises(NoCapacity, match="3 nodes are wanted, 2 have cores free"):
        divided(3000, [2000, 2000, 0], nodes=3)


def test_one_node_alone_is_asked_for_all_of_it_whatever_is_known_of_it() -> None:
    assert divided(9000, [2000]) == (9000,)
    assert divided(1000, []) == (1000,)


def test_less_than_a_core_on_each_node_must_go_evenly() -> None:
    with pytest.raises(BadRequest, match="less than one on each"):
        divided(1000, [2000] * 3, nodes=3)


@pytest.mark.parametrize("nodes", [-1, NODES_MAX + 1])
def test_a_number_of_nodes_has_a_bound(nodes: int) -> None:
    with pytest.raises(BadRequest, match="1 to"):
        divided(1000, [1000], nodes=nodes)


@given(st.integers(1, 64), st.lists(st.integers(0, 16), max_size=10), st.integers(0, 10))
def test_seats_hold_all_of_it_and_no_node_more_than_it_has(cores: int, free: list[int], nodes: int) -> None:
    try:
        seats = divided(cores * 1000, [amount * 1000 for amount in free], nodes)
    except (BadRequest, NoCapacity):
        return
    assert sum(seats) == cores * 1000
    assert list(seats) == sorted(seats, reverse=True)
    assert not nodes or len(seats) == nodes
    if len(seats) > 1:
        most = sorted((amount * 1000 for amount in free), reverse=True)
        assert all(size <= amount for size, amount in zip(seats, most, strict=False))


def test_one_seat_more_is_as_large_as_the_freest_node_and_no_larger_than_wanted() -> None:
    assert one_more(8, [3900, 500, 2000]) == 3000
    assert one_more(1, [3900]) == 1000
    with pytest.raises(NoCapacity):
        one_more(1, [900])
