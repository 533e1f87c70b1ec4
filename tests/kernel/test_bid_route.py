"""Where a center sends a bid on to."""

from __future__ import annotations

import msgspec
import pytest
from tests.kernel.contacts import contact, cpus
from tests.kernel.offers import cpu

from worldos.kernel.bid_route import (
    ChildRoute,
    Route,
    Target,
    children_to_ask,
    keeping,
    may_contain,
    superior_to_ask,
)
from worldos.model.ids import NodeId
from worldos.model.need import Need
from worldos.model.realm import BidAsk, RealmId


def child(realm: str, free: int = 4000, *, credibility: int = 1000, path: str = "", depth: int = 0) -> ChildRoute:
    return ChildRoute(
        realm=RealmId(realm),
        node=NodeId(f"p-{realm}"),
        path=path or f"earth/acme/{realm}",
        summary=cpus(free, depth=depth),
        credibility=credibility,
    )


def ask(
    *needs: Need, within: str = "", trail: tuple[str, ...] = ("me",), down: bool = False, site: str = "me"
) -> BidAsk:
    return BidAsk(
        bid=1,
        home=contact("home", site),
        realm=RealmId("acme"),
        needs=needs or (cpu(),),
        within=within,
        trail=tuple(map(RealmId, trail)),
        hops=2,
        wait_ns=10**9,
        down=down,
    )


def route(*children: ChildRoute, superior: bool = True) -> Route:
    above = (RealmId("earth"), NodeId("p-earth")) if superior else None
    return Route(realm=RealmId("acme"), path="earth/acme", superior=above, children=children)


def order(message: BidAsk, *children: ChildRoute) -> list[str]:
    return [target.realm for target in children_to_ask(message, route(*children))]


def test_the_roomiest_of_the_believed_come_first_and_who_cannot_is_not_asked() -> None:
    children = [child("a"), child("b", 400_000), child("c", 0), child("d", 400_000, credibility=100), child("e", 500)]
    assert order(ask(), *children) == ["b", "a", "d"]
    (target,) = children_to_ask(ask(), route(child("a")))
    assert target == Target(realm=RealmId("a"), node=NodeId("p-a"), is_child=True, promised=True)


def test_who_has_room_and_lends_to_nobody_is_named() -> None:
    shut = [msgspec.structs.replace(child(name), summary=cpus(4000, lent=False)) for name in ("b", "c")]
    children = route(child("a"), child("d", 500), *shut)
    assert keeping(ask(site="far"), children) == ["b", "c"]
    assert keeping(ask(site="b"), children) == ["c"], "its own account is lent to"
    assert keeping(ask(site="far", within="acme/c"), children) == ["c"]
    assert keeping(ask(site="far"), route(child("a"))) == []


def test_no_more_are_remembered_than_two_rounds_can_ask() -> None:
    assert order(ask(), *(child(f"c{at}") for at in range(9))) == ["c0", "c1", "c2", "c3", "c4", "c5"]


def test_a_child_where_the_bid_has_been_is_not_asked_again() -> None:
    assert order(ask(trail=("me", "a")), child("a"), child("b"), child("acme")) == ["b"]


def test_a_child_that_nobody_believes_is_asked_last_but_asked() -> None:
    assert order(ask(), child("liar", 10**9, credibility=0), child("z", 1000)) == ["z", "liar"]


def test_a_realm_near_what_is_wanted_goes_first() -> None:
    assert order(ask(cpu(near="acme/b")), child("a"), child("b")) == ["b", "a"]


def test_only_what_is_lent_counts_for_another_account() -> None:
    own = msgspec.structs.replace(child("me"), summary=cpus(4000, lent=False))
    assert order(ask(trail=()), own) == ["me"]
    assert order(ask(trail=(), site="other"), own) == []


def test_a_bid_for_one_realm_goes_only_where_that_may_be() -> None:
    children = [child("berlin"), child("paris"), child("eu", depth=2)]
    assert order(ask(within="acme/berlin"), *children) == ["berlin"]
    assert order(ask(within="berlin"), *children) == ["berlin", "eu"]
    assert not children_to_ask(ask(within="berlin"), route(child("berlin")))[0].promised


def test_a_bid_goes_up_unless_it_came_down_or_has_been_there_or_all_of_it_lies_here() -> None:
    up = Target(realm=RealmId("earth"), node=NodeId("p-earth"))
    assert superior_to_ask(ask(), route()) == up
    assert superior_to_ask(ask(), route(superior=False)) is None
    assert superior_to_ask(ask(down=True), route()) is None
    assert superior_to_ask(ask(trail=("earth",)), route()) is None
    assert superior_to_ask(ask(within="acme"), route()) is None
    assert superior_to_ask(ask(within="earth"), route()) == up
    assert superior_to_ask(ask(within="mars/acme"), route()) == up


@pytest.mark.parametrize(
    ("within", "path", "deepest", "expected"),
    [
        ("", "a", True, True),
        ("acme", "", True, True),
        ("acme", "earth/acme/berlin", True, True),
        ("ACME/Berlin", "earth/acme/berlin", True, True),
        ("acme/berlin", "earth/acme", False, True),
        ("acme/berlin", "earth/acme", True, False),
        ("acme/berlin", "earth/acme/paris", False, False),
        ("earth/eu", "earth/us", False, False),
        ("eu/acme", "earth/us", False, True),
        ("a/a/b", "x/a/a", False, True),
    ],
)
def test_a_path_says_where_a_realm_may_lie(within: str, path: str, deepest: bool, expected: bool) -> None:
    assert may_contain(within, path, deepest=deepest) is expected
