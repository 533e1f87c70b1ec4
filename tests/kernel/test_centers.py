"""Centers: what is believed about a realm never goes back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worldos.kernel.centers import Centers
from worldos.model.ids import NodeId
from worldos.model.limits import EPOCH_LEAP_MAX
from worldos.model.realm import Center, Contact, Epoch, Level, RealmId, rank

REALM = RealmId("r")


def contact(node: str) -> Contact:
    return Contact(node=NodeId(node), name=node, site=REALM, root_cert=b"", addresses=())


def center(node: str, number: int, *, provisional: bool = False) -> Center:
    return Center(
        realm=REALM,
        name="home",
        level=Level.HOME,
        epoch=Epoch(number, provisional),
        primary=contact(node),
        council=(contact(node),),
        path="home",
        lineage=(REALM,),
    )


def test_a_newer_reign_is_believed_and_an_older_one_is_not() -> None:
    centers = Centers()
    assert centers.hear(center("a", 2))
    assert not centers.hear(center("b", 1))
    assert centers.hear(center("b", 3))
    assert centers.known[REALM].primary.node == "b"


def test_of_one_number_the_legitimate_reign_is_newer() -> None:
    centers = Centers()
    assert centers.hear(center("a", 4, provisional=True))
    assert centers.hear(center("b", 4))
    assert centers.is_stale(REALM, Epoch(4, provisional=True))
    assert not centers.hear(center("a", 4, provisional=True))


def test_of_two_islands_of_one_number_that_meet_the_smaller_id_stays() -> None:
    for order in (("a", "b"), ("b", "a")):
        centers = Centers()
        for node in order:
            centers.hear(center(node, 5, provisional=True))
        assert centers.known[REALM].primary.node == "a"


def test_a_leap_to_the_end_of_all_numbers_is_not_believed() -> None:
    centers = Centers()
    centers.hear(center("a", 7))
    assert not centers.hear(center("liar", 7 + EPOCH_LEAP_MAX + 1))
    assert not centers.see(REALM, Epoch(1 << 60))
    assert centers.hear(center("a", 8))


def test_the_fence_outlives_what_is_known() -> None:
    centers = Centers()
    centers.hear(center("a", 3))
    centers.forget(REALM)
    assert centers.is_stale(REALM, Epoch(2))
    assert centers.next_provisional(REALM) == Epoch(4, provisional=True)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 6), st.booleans()), max_size=12))
def test_whatever_is_heard_in_whatever_order_the_newest_stays(said: list[tuple[str, int, bool]]) -> None:
    centers = Centers()
    newest = rank(Epoch(0, provisional=True))
    for node, number, provisional in said:
        centers.hear(center(node, number, provisional=provisional))
        newest = max(newest, rank(Epoch(number, provisional)))
        assert rank(centers.known[REALM].epoch) == newest
