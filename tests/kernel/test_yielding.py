"""What may be taken back for whom, in which order, and how asks wait for it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.test_leases import CPU, A, B, ask, table

from worldos.kernel.effects import CloseLane, Effect, Send
from worldos.kernel.leases import Leases
from worldos.kernel.yielding import Yielding, asked_back, gives_way
from worldos.model.ids import LeaseId, NodeId, ResourceId
from worldos.model.limits import LEASE_GRACE_PART, LEASE_YIELD_GRACE_NS, LEASE_YIELD_MARGIN_NS, SECOND
from worldos.model.need import Need
from worldos.model.wire import (
    LeaseGone,
    LeaseGranted,
    LeaseRefused,
    LeaseRelease,
    LeaseRenew,
    LeaseWaits,
    LeaseYield,
    LeaseYielding,
)

C = NodeId("c")


def said(effects: list[Effect]) -> list[tuple[NodeId, object]]:
    return [(effect.node, effect.message) for effect in effects if isinstance(effect, Send)]


def need(amount: int = 1000, **more: object) -> Need:
    return Need(kind="CPU", amount=amount, **more)  # type: ignore[arg-type]


def lease(number: int, amount: int = 1000, *, guest: bool = False, **more: object) -> Yielding:
    its = need(amount, **{"yields": True, **more})
    return Yielding(lease=LeaseId(f"l{number}"), need=its, takes={CPU: amount}, guest=guest, number=number)


def chosen(
    leases: list[Yielding], amount: int, free: int = 0, *, guest: bool = False, **more: object
) -> list[str] | None:
    return asked_back(leases, need(amount, **more), {CPU: amount}, {CPU: free}, guest=guest)  # type: ignore[return-value]


def test_what_does_not_yield_takes_from_what_does_of_its_own_priority_or_lower() -> None:
    assert gives_way(lease(1), need(), guest=False)
    assert gives_way(lease(1, priority=3), need(priority=3), guest=False)
    assert not gives_way(lease(1, priority=4), need(priority=3), guest=False)


def test_among_what_yields_priority_decides_and_then_a_gain_twice_as_large() -> None:
    def against(**more: object) -> bool:
        return gives_way(lease(1, priority=1, yields=100), need(**{"yields": True, **more}), guest=False)

    assert against(priority=2)
    assert not against(priority=0, yields=1_000_000)
    assert not against(priority=1, yields=200)
    assert against(priority=1, yields=201)


def test_a_guest_never_takes_from_us_and_always_gives_way() -> None:
    assert not gives_way(lease(1), need(priority=100), guest=True)
    assert gives_way(lease(1, guest=True, priority=100), need(yields=True), guest=False)
    assert gives_way(lease(1, guest=True), need(), guest=True)


def test_guests_go_first_then_the_least_urgent_the_least_useful_and_the_youngest() -> None:
    leases = [lease(1, priority=1), lease(2, yields=9), lease(3, yields=5), lease(4, yields=5), lease(5, guest=True)]
    order = ["l5", "l4", "l3", "l2", "l1"]
    for count in range(1, 6):
        assert sorted(chosen(leases, 1000 * count, priority=1) or []) == sorted(order[:count])


def test_no_more_is_taken_than_is_needed() -> None:
    assert chosen([lease(1, 1000), lease(2, 500)], 1000) == ["l1"], "the small one came first and was not needed"
    assert chosen([lease(1, 1000)], 1500, free=500) == ["l1"]
    assert chosen([lease(1, 1000)], 1500, free=1500) == []
    assert chosen([lease(1, 1000)], 2500, free=1000) is None


sizes = st.lists(st.tuples(st.integers(1, 8), st.integers(0, 3), st.booleans()), max_size=7)


@given(sizes, st.integers(1, 30), st.integers(0, 10))
def test_a_choice_is_enough_and_nothing_in_it_is_needless(
    parts: list[tuple[int, int, bool]], amount: int, free: int
) -> None:
    leases = [lease(i, size, priority=p, guest=g) for i, (size, p, g) in enumerate(parts)]
    found = chosen(leases, amount, free, priority=2)
    size_of = {each.lease: each.need.amount for each in leases}
    fair = [each.lease for each in leases if each.guest or each.need.priority <= 2]
    if found is None:
        assert free + sum(size_of[LeaseId(name)] for name in fair) < amount
        return
    assert set(found) <= set(fair)
    total = free + sum(size_of[LeaseId(name)] for name in found)
    assert total >= amount
    assert all(total - size_of[LeaseId(name)] < amount for name in found)


def heard(leases: Leases, now_ns: int, *names: LeaseId) -> int:
    """Let A hear that these are wanted back; return when they end."""
    for name in names:
        assert leases.yields(now_ns, A, LeaseYielding(lease=name)) == []
    return now_ns + LEASE_YIELD_GRACE_NS + LEASE_YIELD_GRACE_NS // LEASE_GRACE_PART


# -- on a node ------------------------------------------------------------------------------------------------------------


def full(**more: object) -> tuple[Leases, list[LeaseGranted]]:
    """Return a node with 4 cores, each lent to A and yielding."""
    leases = table()
    granted = [said(leases.ask(0, A, ask(n, 1000, yields=True, **more)))[0][1] for n in range(1, 5)]
    assert all(isinstance(each, LeaseGranted) for each in granted)
    assert (leases.free(CPU), leases.yielding(CPU)) == (0, 4000)
    return leases, granted  # type: ignore[return-value]


def test_an_ask_waits_for_what_is_given_back_and_gets_it_before_anybody_else() -> None:
    leases, granted = full()
    youngest = granted[-1].terms.lease
    assert said(leases.ask(SECOND, B, ask(9, 1000))) == [
        (A, LeaseYield(lease=youngest, grace_ns=LEASE_YIELD_GRACE_NS)),
        (B, LeaseWaits(ask=9, wait_ns=LEASE_YIELD_GRACE_NS + LEASE_YIELD_MARGIN_NS)),
    ]
    assert isinstance(said(leases.ask(SECOND, B, ask(9, 1000)))[0][1], LeaseWaits), "asked twice, it still waits once"
    leases.release(A, LeaseRelease(lease=youngest))
    assert (leases.freed, leases.free(CPU)) == (True, 0), "what came back is kept for who waits"
    assert isinstance(said(leases.ask(SECOND, C, ask(1, 1000, yields=True)))[0][1], LeaseRefused)
    ((holder, message),) = said(leases.settle(SECOND))
    assert (holder, type(message)) == (B, LeaseGranted)
    assert [(h, a.ask, type(m)) for h, a, m in leases.late] == [(B, 9, LeaseGranted)]
    assert (leases.waiting, leases.freed, leases.yielding(CPU)) == ([], False, 3000)


def test_what_is_not_given_back_in_time_ends() -> None:
    leases, granted = full()
    leases.ask(SECOND, B, ask(9, 2000))
    gone = [each.terms.lease for each in (granted[3], granted[2])]
    end_ns = heard(leases, SECOND, *gone)
    assert heard(leases, SECOND + 5, *gone) > end_ns, "said twice, it counts once"
    assert leases.expire(end_ns - 1) == []
    effects = leases.expire(end_ns)
    assert sorted(e.lease for e in effects if isinstance(e, CloseLane)) == sorted(gone)
    assert {m.lease for _, m in said(effects) if isinstance(m, LeaseGone)} == set(gone)
    assert isinstance(said(leases.settle(end_ns))[0][1], LeaseGranted)
    assert leases.free(CPU) == 0


def test_a_holder_that_does_not_hear_it_keeps_its_lease_until_it_must_be_renewed_and_not_longer() -> None:
    leases, granted = full()
    name, kept_ns = granted[-1].terms.lease, leases.leases[granted[-1].terms.lease].expires_ns
    leases.ask(SECOND, B, ask(9, 1000))
    assert said(leases.renew(2 * SECOND, A, LeaseRenew(lease=name, number=1))) == [
        (A, LeaseYield(lease=name, grace_ns=LEASE_YIELD_GRACE_NS))
    ], "it asks again instead"
    assert not any(isinstance(e, CloseLane) and e.lease == name for e in leases.expire(kept_ns - 1))
    assert any(isinstance(e, CloseLane) and e.lease == name for e in leases.expire(kept_ns))
    assert leases.yields(0, B, LeaseYielding(lease=name)) == [], "and who is not its holder changes nothing"


def test_two_asks_do_not_count_on_the_same_capacity() -> None:
    leases, granted = full()
    assert len(said(leases.ask(0, B, ask(1, 3000)))) == 4
    assert len(said(leases.ask(0, C, ask(1, 1000)))) == 2
    assert isinstance(said(leases.ask(0, C, ask(2, 1000)))[0][1], LeaseRefused), "there is no more to take back"
    end_ns = heard(leases, 0, *(each.terms.lease for each in granted))
    leases.expire(end_ns)
    assert [h for h, _ in said(leases.settle(end_ns))] == [B, C]
    assert leases.lent[CPU] == 4000


def test_the_most_urgent_is_served_first() -> None:
    leases, granted = full()
    leases.ask(0, B, ask(1, 1000, yields=True, priority=1))
    leases.ask(0, C, ask(1, 1000, priority=0))
    for each in granted[2:]:
        leases.release(A, LeaseRelease(lease=each.terms.lease))
    assert [h for h, _ in said(leases.settle(0))] == [C, B]


def test_who_waited_long_enough_is_refused() -> None:
    leases, granted = full()
    leases.ask(0, B, ask(1, 1000))
    leases.capacity[ResourceId(CPU)] = 4000
    leases.available[ResourceId(CPU)] = 0  # the machine itself needs it now
    leases.release(A, LeaseRelease(lease=granted[-1].terms.lease))
    assert said(leases.settle(1)) == []
    end = LEASE_YIELD_GRACE_NS + LEASE_YIELD_MARGIN_NS
    leases.expire(end)
    assert leases.freed
    assert isinstance(said(leases.settle(end))[0][1], LeaseRefused)
    assert leases.waiting == []


def test_a_holder_that_is_gone_waits_for_nothing() -> None:
    leases, _ = full()
    leases.ask(0, B, ask(1, 1000))
    leases.drop_holder(B, "it left")
    assert leases.waiting == []
