"""The door at which leases are asked for: members pass, older centers do not, and every refusal is a sentence."""

from __future__ import annotations

from tests.kernel.test_lend_rules import host
from tests.test_node import PEER, STRANGER, ask, node_of, said

from worldos.kernel import lending
from worldos.model.ids import LeaseId, UseId
from worldos.model.lend import LendRule
from worldos.model.limits import SECOND
from worldos.model.need import Need
from worldos.model.realm import Epoch
from worldos.model.wire import LeaseAsk, LeaseGone, LeaseGranted, LeaseRefused, LeaseRenew


def test_a_member_is_granted_what_is_free() -> None:
    node = node_of()
    assert any(isinstance(message, LeaseGranted) for message in said(ask(node, 5, 1000)))


def test_who_is_nobody_is_refused_and_nothing_is_lent() -> None:
    node = node_of()
    message = LeaseAsk(ask=1, use=UseId("v"), need=Need(kind="CPU", amount=1), resources=(), ttl_ns=SECOND, hold=False)
    (refused,) = lending.asked(node, 5, STRANGER, message)
    assert isinstance(refused.message, LeaseRefused)
    assert not any(node.leases.lent.values())


def test_a_member_that_was_sent_by_an_older_center_is_refused() -> None:
    node = node_of()
    node.realms.centers.see(node.realms.site, Epoch(9))
    need = Need(kind="CPU", amount=1)
    message = LeaseAsk(
        ask=1, use=UseId("v"), need=need, resources=(), ttl_ns=1, hold=False, realm=node.realms.site, epoch=Epoch(8)
    )
    (refused,) = lending.asked(node, 5, PEER, message)
    assert "stale epoch" in refused.message.reason


def test_a_guest_is_told_what_its_lease_costs_an_hour_and_a_member_pays_nothing() -> None:
    node = host(LendRule(cpu_permille=1000, memory_permille=1000, price_uwos_hour=20_000))
    node.registry.prices["Memory"] = 10**9
    for number, who in enumerate((STRANGER, PEER), 1):
        need = Need(kind="CPU", amount=1500, memory_bytes=2000)
        resource = next(name for name, kind in node.leases.kinds.items() if kind == "CPU")
        asked = LeaseAsk(ask=number, use=UseId("v"), need=need, resources=(resource,), ttl_ns=SECOND, hold=False)
        (granted,) = (
            message for message in said(lending.asked(node, 5, who, asked), who) if isinstance(message, LeaseGranted)
        )
        assert granted.terms.price_uwos_hour == (30_000 + 10**6 if who == STRANGER else 0)


def test_a_renewal_of_what_was_never_given_says_so() -> None:
    node = node_of()
    (gone,) = lending.renewed(node, 5, PEER, LeaseRenew(lease=LeaseId("x"), number=1))
    assert isinstance(gone.message, LeaseGone)


def test_a_lease_that_is_remembered_but_gone_is_forgotten() -> None:
    node = node_of()
    node.authority.leased[LeaseId("x")] = b"a grant"
    lending.renewed(node, 5, PEER, LeaseRenew(lease=LeaseId("x"), number=1))
    assert not node.authority.leased
