"""Bids and guests: only the center of a site sends guests, a stale one in vain, and a guest leaves when its business ends."""

from __future__ import annotations

import msgspec
import pytest
from tests.kernel.realms.village import Village

from worldos.kernel import lending
from worldos.kernel.decisions import Acted
from worldos.kernel.effects import Decided
from worldos.kernel.realms import GUEST, bidding
from worldos.model.limits import GUEST_NS
from worldos.model.local import UseGranted, UseRefused
from worldos.model.need import Need
from worldos.model.realm import BidAnswer, BidAsk, Epoch, GuestTold, RealmId
from worldos.model.wire import LeaseAsk, LeaseRefused

ACME = RealmId("acme")


@pytest.fixture
def village() -> Village:
    village = Village(home=1, office=2)
    village.run(4)
    village.found("home0", "acme")
    assert village.join("home0", "home0", ACME) == ""
    assert village.join("home0", "office0", ACME) == ""
    assert village.lend("office0") == ""
    village.run(5)
    return village


def test_a_guest_comes_by_the_word_of_the_center_only(village: Village) -> None:
    node = village.nodes["office1"]
    told = GuestTold(guest=village.contact("home0"), realm=village.site("office1"), epoch=Epoch(1), ttl_ns=GUEST_NS)
    stranger = village.nodes["home0"].node
    assert bidding.guest_told(node.realms, village.now_ns, stranger, told, node) == []
    center = village.nodes["office0"].node
    stale = msgspec.structs.replace(told, epoch=Epoch(0))
    assert all("Welcome" not in type(e).__name__ for e in bidding.guest_told(node.realms, 1, center, stale, node))
    assert bidding.guest_told(node.realms, village.now_ns, center, told, node)
    assert GUEST in node.realms.kin.reasons(stranger)


def test_to_who_stands_in_for_a_realm_its_council_and_nobody_else_sends_guests(village: Village) -> None:
    node, other = village.nodes["home0"], village.contact("office1")
    reign = node.realms.reigns[ACME]
    epoch, center = reign.epoch, reign.center
    reign.epoch = Epoch(9, provisional=True)
    reign.center = msgspec.structs.replace(center, epoch=reign.epoch, council=(village.contact("office0"),))
    told = GuestTold(guest=other, realm=ACME, epoch=reign.epoch, ttl_ns=GUEST_NS)
    try:
        assert bidding.guest_told(node.realms, village.now_ns, other.node, told, node) == [], "not for itself"
        assert GUEST not in node.realms.kin.reasons(other.node)
        bidding.guest_told(node.realms, village.now_ns, village.nodes["office0"].node, told, node)
        assert GUEST in node.realms.kin.reasons(other.node)
    finally:
        reign.epoch, reign.center = epoch, center


def test_who_was_not_sent_gets_no_lease(village: Village) -> None:
    node, stranger = village.nodes["office1"], village.nodes["home0"].node
    need = Need(kind="CPU", amount=1000)
    ask = LeaseAsk(ask=1, use="u", need=need, resources=(), ttl_ns=10**10, hold=False)
    (refused,) = lending.asked(node, village.now_ns, stranger, ask)
    assert isinstance(refused.message, LeaseRefused)
    assert "own account only" in refused.message.reason


def test_an_ask_in_a_stale_epoch_is_refused(village: Village) -> None:
    node, stranger = village.nodes["office1"], village.nodes["home0"].node
    node.realms.centers.see(node.realms.site, Epoch(9))
    need = Need(kind="CPU", amount=1000)
    ask = LeaseAsk(
        ask=1, use="u", need=need, resources=(), ttl_ns=10**10, hold=False, realm=node.realms.site, epoch=Epoch(8)
    )
    (refused,) = lending.asked(node, village.now_ns, stranger, ask)
    assert "stale epoch" in refused.message.reason


def test_a_guest_with_a_lease_stays_and_one_without_leaves(village: Village) -> None:
    granted = village.use("home0", cores=2, realm="acme/office")
    assert isinstance(granted, UseGranted)
    host = village.nodes[village.names[granted.leases[0].node]]
    guest = village.nodes["home0"].node
    village.run(GUEST_NS / 1e9 + 5)
    assert GUEST in host.realms.kin.reasons(guest)


def test_whom_a_center_names_to_another_site_is_put_down(village: Village) -> None:
    node, asker = village.nodes["office0"], village.contact("home0")
    need = Need(kind="CPU", amount=1000)
    ask = BidAsk(
        bid=7, home=asker, realm=node.realms.site, needs=(need,), within="", trail=(), hops=1, wait_ns=10**9, down=True
    )
    effects = bidding.asked(node.realms, village.now_ns, asker.node, ask, node)
    (named,) = [msgspec.msgpack.decode(e.entry, type=Acted) for e in effects if isinstance(e, Decided)]
    assert (named.what, named.about, named.fields["bid"]) == ("named", asker.node, 7)
    assert set(str(named.fields["nodes"]).split()) == {village.nodes[name].node for name in ("office0", "office1")}


def test_a_bid_to_a_node_that_is_no_center_is_answered_so(village: Village) -> None:
    node = village.nodes["office1"]
    ask = BidAsk(
        bid=3,
        home=village.contact("home0"),
        realm=ACME,
        needs=(Need(kind="CPU", amount=1000),),
        within="",
        trail=(),
        hops=1,
        wait_ns=10**9,
        down=True,
    )
    (answer,) = bidding.asked(node.realms, village.now_ns, village.nodes["home0"].node, ask, node)
    assert isinstance(answer.message, BidAnswer)
    assert "not the center" in answer.message.why


def test_a_superior_that_is_cut_off_is_not_waited_for(village: Village) -> None:
    village.cut(["home0"], ["office0", "office1"])
    village.run(0.2)
    assert isinstance(village.use("office1", realm="acme/home", seconds=1), UseRefused)
