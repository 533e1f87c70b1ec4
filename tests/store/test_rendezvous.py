"""One order for all, even shares of the work, and nobody moved who need not be."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from worldos.store.rendezvous import order

NODES = [f"node{number}" for number in range(10)]


@given(st.binary(max_size=64), st.permutations(NODES))
def test_the_order_is_one_however_the_nodes_were_told(key: bytes, nodes: list[str]) -> None:
    assert order(key, nodes) == order(key, NODES)


@given(st.binary(max_size=64), st.sampled_from(NODES))
def test_a_node_that_goes_moves_nobody_else(key: bytes, gone: str) -> None:
    assert order(key, [node for node in NODES if node != gone]) == [n for n in order(key, NODES) if n != gone]


def test_the_work_is_spread_evenly() -> None:
    first = Counter(order(number.to_bytes(4, "big"), NODES)[0] for number in range(2000))
    assert set(first) == set(NODES)
    assert max(first.values()) < 2 * min(first.values())
