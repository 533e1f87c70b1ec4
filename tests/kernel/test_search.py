"""Looking for resources."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.offers import GB, offer, resource
from tests.kernel.worlds import WHERES, worlds

from worldos.kernel.question import facts_of
from worldos.kernel.search import Query, find
from worldos.model.offer import Offer
from worldos.model.where import holds, parse_where

LAB, MUNICH = "earth/eu/acme/berlin/lab", "earth/eu/acme/munich"
OFFERS = [
    offer("b", resource("b", "Storage", "sda", 10 * GB, tags=("SSD", "fast")), name="desk", place=LAB),
    offer("c", resource("c", "GPU", "0", 1000, facts={"model": "H200", "vram": 141 * GB}), name="Rack", place=MUNICH),
    offer("d", name="couch", place=LAB, arch="arm64"),
]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Query(kind="cpu"), ["d/CPU/0", "b/CPU/0", "c/CPU/0"]),
        (Query(kind="gpu"), ["c/GPU/0"]),
        (Query(tag="ssd"), ["b/Storage/sda"]),
        (Query(name="storage SDA"), ["b/Storage/sda"]),
        (Query(kind="memory", name="rack"), ["c/Memory/0"]),
        (Query(kind="CPU", owner="you"), []),
        (Query(kind="CPU", owner="me", place="Berlin"), ["d/CPU/0", "b/CPU/0"]),
        (Query(kind="CPU", place="acme/munich"), ["c/CPU/0"]),
        (Query(kind="CPU", place="ber"), []),
        (Query(text="h200"), ["c/GPU/0"]),
        (Query(kind="CPU", text="ARM64"), ["d/CPU/0"]),
        (Query(text="fast"), ["b/Storage/sda"]),
        (Query(where=parse_where("vram >= 80GB")), ["c/GPU/0"]),
        (Query(kind="CPU", where=parse_where("name == desk and place == 'earth/eu/acme/berlin/lab'")), ["b/CPU/0"]),
        (Query(kind="CPU", near="desk"), ["b/CPU/0", "d/CPU/0"]),
        (Query(kind="CPU", near="d"), ["d/CPU/0", "b/CPU/0"]),
        (Query(kind="CPU", near="berlin"), ["d/CPU/0", "b/CPU/0"]),
        (Query(kind="CPU", near="atlantis"), []),
        (Query(tag="nothing"), []),
    ],
)
def test_resources_are_found_by_what_they_are_and_where(query: Query, found: list[str]) -> None:
    assert [item.id for item in find(OFFERS, query)] == found


def test_near_a_node_without_a_place_are_the_others_without_one() -> None:
    offers = [offer("b", place=""), offer("c", place=""), offer("d", place=LAB)]
    assert [item.id for item in find(offers, Query(kind="CPU", near="c"))] == ["c/CPU/0", "b/CPU/0"]


@given(worlds, st.one_of(st.none(), st.sampled_from(WHERES).map(parse_where)), st.randoms(use_true_random=False))
def test_what_is_found_is_what_fits_in_one_order(offers: list[Offer], where: object, random: object) -> None:
    query = Query(where=where)  # type: ignore[arg-type]
    found = find(offers, query)
    fitting = [
        item.id
        for told in offers
        for item in told.resources
        if where is None or holds(where, facts_of(told, item))  # type: ignore[arg-type]
    ]
    assert sorted(item.id for item in found) == sorted(fitting)
    random.shuffle(offers)  # type: ignore[attr-defined]
    assert find(offers, query) == found
