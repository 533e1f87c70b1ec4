"""Leases: what a node grants, keeps and takes back; and that it never lends more than there is, whatever is asked."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from tests.kernel.offers import resource

from worldos.kernel.effects import CloseLane, Notice, OpenLane, Send
from worldos.kernel.leases import EXPIRIES_IDLE, Leases
from worldos.model import limits
from worldos.model.ids import LeaseId, NodeId, ResourceId, UseId
from worldos.model.limits import SECOND
from worldos.model.need import Need
from worldos.model.wire import (
    LeaseAsk,
    LeaseConfirm,
    LeaseConfirmed,
    LeaseGone,
    LeaseGranted,
    LeaseRefused,
    LeaseRelease,
    LeaseRenew,
    LeaseRenewed,
)

ME, A, B = NodeId("me"), NodeId("a"), NodeId("b")
CPU, MEMORY, GPU0, GPU1 = (ResourceId(f"me/{name}") for name in ("CPU/0", "Memory/0", "GPU/0", "GPU/1"))
KINDS = {CPU: ("CPU", 4000), MEMORY: ("Memory", 1000), GPU0: ("GPU", 1000), GPU1: ("GPU", 1000)}
TTL_NS = 8 * SECOND
KEPT_NS = TTL_NS + TTL_NS // limits.LEASE_GRACE_PART


def table() -> Leases:
    leases = Leases(node=ME, boot=1)
    offered = [resource("me", kind, name[-1], capacity) for name, (kind, capacity) in KINDS.items()]
    leases.offer_capacity(offered, {})
    return leases


def ask(number: int, amount: int = 1000, *, kind: str = "CPU", at: tuple[ResourceId, ...] = (CPU,), **more) -> LeaseAsk:
    hold = more.pop("hold", False)
    ttl_ns = more.pop("ttl_ns", TTL_NS)
    need = Need(kind=kind, amount=amount, **more)
    return LeaseAsk(ask=number, use=UseId("u"), need=need, resources=at, ttl_ns=ttl_ns, hold=hold)


def said(effects: list) -> list:
    return [effect.message for effect in effects if type(effect) is Send]


def granted(leases: Leases, number: int, *, now_ns: int = 0, holder: NodeId = A, **more) -> LeaseId:
    (answer,) = said(leases.ask(now_ns, holder, ask(number, **more)))
    assert isinstance(answer, LeaseGranted), answer
    return answer.terms.lease


def test_what_fits_is_granted_and_a_lane_opened_before_the_holder_knows() -> None:
    leases = table()
    effects = leases.ask(0, A, ask(1, 3000))
    assert [type(effect) for effect in effects] == [OpenLane, Send]
    assert leases.free(CPU) == 1000
    assert effects[1].message.terms.ttl_ns == TTL_NS


def test_what_does_not_fit_is_refused_with_what_is_free() -> None:
    leases = table()
    granted(leases, 1, amount=3000)
    assert said(leases.ask(0, B, ask(2, 2000))) == [
        LeaseRefused(ask=2, reason="not enough CPU is free any more", free=1000)
    ]


def test_the_same_ask_twice_is_one_lease() -> None:
    leases = table()
    assert said(leases.ask(0, A, ask(1))) == said(leases.ask(5, A, ask(1)))
    assert leases.free(CPU) == 3000


def test_the_same_number_of_another_holder_is_another_ask() -> None:
    leases = table()
    assert granted(leases, 1, holder=A) != granted(leases, 1, holder=B)


def test_a_lease_that_nobody_renews_ends_one_grace_after_its_ttl() -> None:
    leases = table()
    lease = granted(leases, 1)
    assert leases.expire(KEPT_NS - 1) == []
    effects = leases.expire(KEPT_NS)
    assert [type(effect) for effect in effects] == [CloseLane, Notice, Send]
    assert said(effects) == [LeaseGone(lease=lease, why="it was not renewed in time")]
    assert leases.free(CPU) == 4000


def test_a_renewal_keeps_a_lease_for_another_ttl_and_is_answered_with_its_number() -> None:
    leases = table()
    lease = granted(leases, 1)
    assert said(leases.renew(5 * SECOND, A, LeaseRenew(lease=lease, number=7))) == [LeaseRenewed(lease=lease, number=7)]
    assert leases.expire(5 * SECOND + KEPT_NS - 1) == []
    assert leases.expire(5 * SECOND + KEPT_NS) != []


def test_a_late_renewal_does_nothing_but_say_so() -> None:
    leases = table()
    lease = granted(leases, 1)
    leases.expire(KEPT_NS)
    assert isinstance(said(leases.renew(KEPT_NS, A, LeaseRenew(lease=lease, number=1)))[0], LeaseGone)


def test_only_the_holder_may_renew_confirm_or_release() -> None:
    leases = table()
    lease = granted(leases, 1, holder=A)
    hold = granted(leases, 2, holder=A, hold=True)
    assert isinstance(said(leases.renew(0, B, LeaseRenew(lease=lease, number=1)))[0], LeaseGone)
    assert isinstance(said(leases.confirm(0, B, LeaseConfirm(lease=hold)))[0], LeaseGone)
    assert leases.release(B, LeaseRelease(lease=lease)) == []
    assert leases.free(CPU) == 2000


def test_a_hold_takes_capacity_and_opens_nothing_until_it_is_confirmed() -> None:
    leases = table()
    effects = leases.ask(0, A, ask(1, hold=True))
    assert [type(effect) for effect in effects] == [Send]
    assert leases.free(CPU) == 3000
    lease = effects[0].message.terms.lease
    assert not leases.is_live(lease, A)
    confirmed = leases.confirm(SECOND, A, LeaseConfirm(lease=lease))
    assert [type(effect) for effect in confirmed] == [OpenLane, Send]
    assert leases.is_live(lease, A)
    assert not leases.is_live(lease, B)


def test_a_confirmation_that_comes_twice_opens_one_lane() -> None:
    leases = table()
    lease = granted(leases, 1, hold=True)
    leases.confirm(0, A, LeaseConfirm(lease=lease))
    assert leases.confirm(1, A, LeaseConfirm(lease=lease)) == [Send(node=A, message=LeaseConfirmed(lease=lease))]


def test_a_hold_that_is_not_confirmed_comes_back_by_itself() -> None:
    leases = table()
    granted(leases, 1, hold=True)
    assert not any(isinstance(e, CloseLane) for e in leases.expire(limits.GANG_HOLD_NS * 2))
    assert leases.free(CPU) == 4000


def test_memory_beside_a_core_is_counted_too() -> None:
    leases = table()
    granted(leases, 1, memory_bytes=800)
    assert leases.free(MEMORY) == 200
    assert "not enough Memory" in said(leases.ask(0, B, ask(2, memory_bytes=300)))[0].reason


def test_memory_is_taken_where_most_is_free() -> None:
    leases = table()
    more = [resource("me", "Memory", "1", 5000), resource("me", "Memory", "0", 100)]
    leases.offer_capacity([*more, resource("me", "CPU", "0", 4000)], {})
    granted(leases, 1, memory_bytes=3000)
    assert leases.free(ResourceId("me/Memory/1")) == 2000


def test_several_cards_share_the_amount_evenly() -> None:
    leases = table()
    granted(leases, 1, amount=2000, kind="GPU", at=(GPU0, GPU1))
    assert (leases.free(GPU0), leases.free(GPU1)) == (0, 0)


def test_nobody_gets_more_than_is_counted_by_naming_a_resource_twice_or_an_uneven_amount() -> None:
    leases = table()
    for at, amount in (((GPU0, GPU0), 2000), ((GPU0, GPU1), 1001)):
        (answer,) = said(leases.ask(0, A, ask(1, amount, kind="GPU", at=at)))
        assert isinstance(answer, LeaseRefused)
    assert leases.lent.get(GPU0, 0) == 0


def test_nonsense_is_refused_not_counted() -> None:
    leases = table()
    for bad in (
        ask(1, 0),
        ask(2, -5),
        ask(3, at=()),
        ask(4, at=(GPU0,)),
        ask(5, at=(ResourceId("?"),)),
        ask(6, memory_bytes=-9),
    ):
        assert isinstance(said(leases.ask(0, A, bad))[0], LeaseRefused)
    assert not leases.leases


def test_a_ttl_out_of_bounds_is_brought_into_them() -> None:
    leases = table()
    for number, ttl_ns in ((1, -1), (2, 1 << 60)):
        leases.ask(0, A, ask(number, ttl_ns=ttl_ns))
    assert [x.terms.ttl_ns for x in leases.leases.values()] == [limits.LEASE_TTL_MIN_NS, limits.LEASE_TTL_MAX_NS]


def test_in_maintenance_nothing_new_is_granted_and_what_runs_goes_on() -> None:
    leases = table()
    lease = granted(leases, 1)
    leases.drained = True
    assert said(leases.ask(0, B, ask(2)))[0].reason == "the node is in maintenance"
    assert isinstance(said(leases.renew(0, A, LeaseRenew(lease=lease, number=1)))[0], LeaseRenewed)


def test_what_the_machine_itself_needs_is_not_lent() -> None:
    leases = table()
    leases.offer_capacity([resource("me", "CPU", "0", 4000)], {CPU: 1500})
    assert leases.free(CPU) == 1500


def test_a_resource_that_shrank_below_what_is_lent_lends_nothing_more() -> None:
    leases = table()
    granted(leases, 1, amount=3000)
    leases.offer_capacity([resource("me", "CPU", "0", 2000)], {})
    assert leases.free(CPU) == 0
    assert isinstance(said(leases.ask(0, B, ask(2, 1)))[0], LeaseRefused)


def test_a_failed_lease_is_ended_and_its_holder_told_why() -> None:
    leases = table()
    lease = granted(leases, 1)
    assert said(leases.fail(lease, "no worker starts")) == [LeaseGone(lease=lease, why="no worker starts")]
    assert leases.fail(lease, "again") == []


def test_a_holder_that_starts_again_loses_all_and_others_nothing() -> None:
    leases = table()
    granted(leases, 1, holder=A)
    granted(leases, 2, holder=A)
    kept = granted(leases, 1, holder=B)
    leases.drop_holder(A, "it restarted")
    assert list(leases.leases) == [kept]
    assert leases.free(CPU) == 3000


def test_many_short_leases_leave_no_trail() -> None:
    leases = table()
    for number in range(1000):
        lease = granted(leases, number, ttl_ns=limits.LEASE_TTL_MAX_NS)
        leases.release(A, LeaseRelease(lease=lease))
    assert len(leases.expiries) <= EXPIRIES_IDLE + 2
    assert not leases.answered


class Lending(RuleBasedStateMachine):
    """Any order of asks, answers that come twice, renewals, failures and time; counted beside the table."""

    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.table = table()
        self.now_ns = 0
        self.number = 0
        self.opened: set[LeaseId] = set()

    def take(self, effects: list) -> None:
        for effect in effects:
            if type(effect) is OpenLane:
                assert effect.terms.lease not in self.opened
                self.opened.add(effect.terms.lease)
            elif type(effect) is CloseLane:
                self.opened.remove(effect.lease)

    @rule(
        target=leases,
        holder=st.sampled_from([A, B]),
        amount=st.sampled_from([-1, 0, 1, 500, 1000, 2000, 4000, 5000]),
        memory_bytes=st.sampled_from([0, 0, 1, 400, 1001]),
        at=st.sampled_from([(CPU,), (CPU,), (GPU0,), (GPU0, GPU1), (GPU1, GPU1), (MEMORY,), ()]),
        hold=st.booleans(),
        again=st.booleans(),
        ttl_ns=st.sampled_from([0, 2 * SECOND, 30 * SECOND]),
    )
    def asks(self, holder, amount, memory_bytes, at, hold, again, ttl_ns):
        self.number += not again
        kind = KINDS[at[0]][0] if at else "CPU"
        question = ask(self.number, amount, kind=kind, at=at, memory_bytes=memory_bytes, hold=hold, ttl_ns=ttl_ns)
        effects = self.table.ask(self.now_ns, holder, question)
        self.take(effects)
        (answer,) = said(effects)
        return holder, answer.terms.lease if isinstance(answer, LeaseGranted) else LeaseId("none")

    @rule(lease=leases)
    def confirms(self, lease):
        self.take(self.table.confirm(self.now_ns, lease[0], LeaseConfirm(lease=lease[1])))

    @rule(lease=leases, number=st.integers(1, 3))
    def renews(self, lease, number):
        self.take(self.table.renew(self.now_ns, lease[0], LeaseRenew(lease=lease[1], number=number)))

    @rule(lease=leases)
    def releases(self, lease):
        self.take(self.table.release(lease[0], LeaseRelease(lease=lease[1])))

    @rule(lease=leases)
    def fails(self, lease):
        self.take(self.table.fail(lease[1], "it failed"))

    @rule(holder=st.sampled_from([A, B]))
    def drops(self, holder):
        self.take(self.table.drop_holder(holder, "gone"))

    @rule(step_ns=st.sampled_from([1, SECOND, 3 * SECOND, 40 * SECOND]))
    def waits(self, step_ns):
        self.now_ns += step_ns
        self.take(self.table.expire(self.now_ns))

    @invariant()
    def never_over_lent_and_never_without_an_end(self) -> None:
        lent: dict[ResourceId, int] = {}
        for lease in self.table.leases.values():
            for name, amount in lease.takes.items():
                lent[name] = lent.get(name, 0) + amount
            assert sum(lease.takes[name] for name in lease.terms.resources) >= lease.terms.need.amount
            assert lease.expires_ns > self.now_ns
            assert any(name == lease.terms.lease for _, name in self.table.expiries)
        assert lent == {name: amount for name, amount in self.table.lent.items() if amount}
        assert all(amount <= KINDS[name][1] for name, amount in lent.items())
        assert self.opened == {name for name, lease in self.table.leases.items() if not lease.held}

    def teardown(self) -> None:
        self.take(self.table.expire(self.now_ns + limits.LEASE_TTL_MAX_NS * 2))
        assert not self.table.leases
        assert not self.opened
        assert not self.table.answered
        assert not any(self.table.lent.values())
        assert not self.table.expiries


TestLending = Lending.TestCase
TestLending.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
