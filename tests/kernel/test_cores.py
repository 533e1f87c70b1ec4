"""Cores: split and joined again they are as many as were asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.offers import cpu

from worldos.kernel.cores import merge_cores, split_cores
from worldos.kernel.match import Choice
from worldos.model.ids import NodeId, ResourceId


@given(st.integers(1001, 20_000), st.data())
def test_what_is_split_and_joined_is_what_was_asked_for(milli: int, data: st.DataObject) -> None:
    split = split_cores((cpu(milli),))
    assert split is not None
    nodes = data.draw(st.lists(st.sampled_from("abc"), min_size=len(split), max_size=len(split)))
    chosen = tuple(
        Choice(node=NodeId(n), resource=ResourceId("r"), resources=(ResourceId("r"),), score=1, considered=3)
        for n in nodes
    )
    needs, places = merge_cores(split, chosen)
    assert sum(need.amount for need in needs) == milli
    assert len({place.node for place in places}) == len(places) == len(set(nodes))
