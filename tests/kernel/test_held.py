"""Held leases: renewed in time, never believed in past their time, and given up with a reason."""

from __future__ import annotations

import msgspec

from worldos.kernel.effects import Send, Tell
from worldos.kernel.held import HeldLeases, can_move, tell_lost
from worldos.model import limits
from worldos.model.ids import ClientId, LeaseId, NodeId, ResourceId, UseId
from worldos.model.limits import MS, SECOND
from worldos.model.local import LeaseLost, LeaseWanted
from worldos.model.need import LeaseTerms, Need
from worldos.model.wire import LeaseRelease, LeaseRenew, LeaseRenewed, LeaseYielding

A, B = NodeId("a"), NodeId("b")
L1, L2 = LeaseId("a-1-1"), LeaseId("b-1-1")
ME = ClientId("c")
TTL_NS = 9 * SECOND
RENEW_NS = TTL_NS // limits.LEASE_RENEW_PART


def terms(lease: LeaseId = L1, node: NodeId = A, kind: str = "CPU") -> LeaseTerms:
    need = Need(kind=kind, amount=1000)
    return LeaseTerms(lease=lease, node=node, boot=1, need=need, resources=(ResourceId("r"),), ttl_ns=TTL_NS)


def holding(*more: LeaseTerms, asked_ns: int = 0) -> HeldLeases:
    held = HeldLeases()
    for each in more or (terms(),):
        held.add(asked_ns, each, UseId("u"), ME)
    return held


def renewal(held: HeldLeases, now_ns: int) -> LeaseRenew:
    effects, lost = held.tick(now_ns)
    assert lost == []
    (effect,) = effects
    assert isinstance(effect, Send)
    assert isinstance(effect.message, LeaseRenew)
    return effect.message


def test_a_third_of_the_ttl_after_it_was_asked_for_a_lease_is_renewed() -> None:
    held = holding(asked_ns=100)
    assert held.due_ns == 100 + RENEW_NS
    assert held.tick(100 + RENEW_NS - 1) == ([], [])
    assert renewal(held, 100 + RENEW_NS) == LeaseRenew(lease=L1, number=1)
    assert held.due_ns == 100 + 2 * RENEW_NS


def test_a_lease_is_good_for_its_ttl_from_when_the_answered_renewal_was_sent() -> None:
    held = holding()
    sent = renewal(held, RENEW_NS)
    held.renewed(A, LeaseRenewed(lease=L1, number=sent.number))
    assert held.leases[L1].good_until_ns == RENEW_NS + TTL_NS


def test_an_older_answer_that_comes_late_takes_nothing_away() -> None:
    held = holding()
    first, second = renewal(held, RENEW_NS), renewal(held, 2 * RENEW_NS)
    held.renewed(A, LeaseRenewed(lease=L1, number=second.number))
    held.renewed(A, LeaseRenewed(lease=L1, number=first.number))
    assert held.leases[L1].good_until_ns == 2 * RENEW_NS + TTL_NS
    assert held.leases[L1].renewals == {}


def test_an_answer_to_nothing_that_was_asked_is_not_believed() -> None:
    held = holding()
    sent = renewal(held, RENEW_NS)
    held.renewed(B, LeaseRenewed(lease=L1, number=sent.number))
    held.renewed(A, LeaseRenewed(lease=L1, number=99))
    held.renewed(A, LeaseRenewed(lease=L2, number=1))
    assert held.leases[L1].good_until_ns == TTL_NS


def test_a_lease_past_its_time_is_lost_and_given_back_whoever_slept() -> None:
    held = holding()
    effects, lost = held.tick(TTL_NS + 5 * SECOND)
    assert [each.why for each in lost] == ["its node did not renew it in time"]
    assert effects == [Send(node=A, message=LeaseRelease(lease=L1))]
    assert held.due_ns == limits.NEVER_NS


def test_a_program_gives_back_only_what_is_its_own() -> None:
    held = holding()
    assert held.release_use(ClientId("other"), UseId("u")) == []
    assert held.release_use(ME, UseId("other")) == []
    assert held.release_use(ME, UseId("u")) == [Send(node=A, message=LeaseRelease(lease=L1))]
    assert not held.is_held(L1)


def test_when_a_program_ends_all_its_leases_go_back() -> None:
    held = holding(terms(), terms(L2, B))
    assert {effect.node for effect in held.release_client(ME)} == {A, B}
    assert held.leases == {}


def test_only_the_node_of_a_lease_may_say_that_it_is_gone() -> None:
    held = holding()
    assert held.gone(B, L1, "a lie") == []
    assert [each.why for each in held.gone(A, L1, "no worker starts")] == ["no worker starts"]
    assert held.gone(A, L1, "again") == []


def test_a_dead_node_ends_its_leases_and_no_others() -> None:
    held = holding(terms(), terms(L2, B))
    assert [each.held.terms.lease for each in held.node_dead(A, "gone")] == [L1]
    assert held.nodes() == [B]


def test_doubt_is_told_once_each_way() -> None:
    held = holding()
    assert len(held.doubt(A, doubted=True)) == 1
    assert held.doubt(A, doubted=True) == []
    assert len(held.doubt(A, doubted=False)) == 1
    assert held.doubt(B, doubted=True) == []


def test_a_tick_that_comes_early_does_nothing() -> None:
    held = holding(terms(), terms(L2, B))
    held.release_client(ME)
    assert held.due_ns <= RENEW_NS  # it is not searched anew when something goes: the tick finds out
    assert held.tick(10 * MS) == ([], [])
    assert held.due_ns == limits.NEVER_NS


def test_cores_and_cards_can_move_and_what_holds_state_cannot() -> None:
    kinds = {"CPU": True, "GPU": True, "Memory": False, "Storage": False, "Network": False}
    for kind, movable in kinds.items():
        held = holding(terms(kind=kind))
        assert can_move(held.leases[L1]) is movable


def test_a_program_hears_what_it_lost_and_why() -> None:
    (lost,) = holding().node_dead(A, "its node is gone")
    told = tell_lost(lost, replacing=True)[0]
    message = LeaseLost(use=UseId("u"), lease=L1, why="its node is gone", replacing=True)
    assert told == Tell(client=ME, message=message)


def test_what_is_wanted_back_is_used_no_longer_than_the_grace_whatever_is_renewed() -> None:
    yields = msgspec.structs.replace(terms(), need=Need(kind="CPU", amount=1000, yields=True))
    held = holding(yields, terms(L2, B))
    sent = renewal_of(held, RENEW_NS, L1)
    assert held.yield_by(RENEW_NS, A, L1, SECOND) == [
        Send(node=A, message=LeaseYielding(lease=L1)),
        Tell(client=ME, message=LeaseWanted(use=UseId("u"), lease=L1, grace_ns=SECOND)),
    ]
    assert held.yield_by(RENEW_NS + 9, A, L1, SECOND) == [Send(node=A, message=LeaseYielding(lease=L1))]
    held.renewed(A, LeaseRenewed(lease=L1, number=sent))
    effects, (lost,) = held.tick(RENEW_NS + SECOND)
    assert (lost.held.terms.lease, lost.why) == (L1, "somebody needed it more")
    assert Send(node=A, message=LeaseRelease(lease=L1)) in effects


def test_only_the_node_of_a_lease_that_yields_may_want_it_back() -> None:
    yields = msgspec.structs.replace(terms(), need=Need(kind="CPU", amount=1000, yields=True))
    assert holding(yields).yield_by(0, B, L1, SECOND) == []
    assert holding(terms()).yield_by(0, A, L1, SECOND) == []
    assert holding(yields).yield_by(0, A, L2, SECOND) == []


def renewal_of(held: HeldLeases, now_ns: int, lease: LeaseId) -> int:
    effects, _ = held.tick(now_ns)
    sent = [effect.message for effect in effects if isinstance(effect, Send)]
    return next(each.number for each in sent if isinstance(each, LeaseRenew) and each.lease == lease)
