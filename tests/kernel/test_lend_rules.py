"""Lend rules at work: a guest gets what a rule leaves, when it holds, and is sent away with a grace; members are not limited."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.test_node import CORES, ME, PEER, STRANGER, kinds, linked, node_of, said, scan, use

from worldos.kernel import lend_rules
from worldos.kernel.effects import Effect, Notice
from worldos.kernel.events import LendSet, PeerSaid
from worldos.kernel.kin import Kinsman
from worldos.kernel.lend_rules import Guest, Moment
from worldos.kernel.realms import GUEST
from worldos.model.ids import NodeId, UseId
from worldos.model.lend import Felt, Lend, LendRule
from worldos.model.limits import LEND_GRACE_NS, LEND_REST_MAX_NS, NEVER_NS, SECOND
from worldos.model.need import Need
from worldos.model.realm import Contact, RealmId
from worldos.model.resource import Scanned
from worldos.model.wire import LeaseAsk, LeaseGone, LeaseGranted, LeaseRefused, LeaseYield
from worldos.node import Node

MEMORY = Scanned(kind="Memory", local="0", name="memory", unit="bytes", capacity=8_000, free=8_000)
CAMERA = Scanned(kind="Camera", local="0", name="camera", unit="piece", capacity=1, free=1)
NOON_S = 1_767_571_200 + 12 * 3600  # a Monday
HALF = LendRule(cpu_permille=500, memory_permille=500)


def host(*rules: LendRule, off: bool = False) -> Node:
    """A node with 4 cores and 8 kB that its realm lends, at noon of a Monday; STRANGER was sent by the center."""
    node = node_of()
    contact = Contact(node=STRANGER, name="den", site=RealmId("theirs"), root_cert=b"", addresses=())
    node.realms.kin.table[STRANGER] = Kinsman(contact=contact, reasons={GUEST: NEVER_NS})
    node.registry.lends = True
    look(node, 2)
    node.handle(LendSet(now_ns=3, lend=Lend(off=off, rules=rules)))
    linked(node)
    return node


def look(
    node: Node, now_ns: int, *, battery: bool = False, felt: Felt | None = None, wall_s: int = NOON_S
) -> list[Effect]:
    event = scan(now_ns, CORES, MEMORY, CAMERA)
    facts = {**event.facts, "battery": battery}
    seen = msgspec.structs.replace(event, facts=facts, felt=felt or Felt(), wall_ns=wall_s * SECOND + now_ns)
    return node.handle(seen)


def ask(
    node: Node, now_ns: int, milli: int, *, who: NodeId = STRANGER, number: int = 1, kind: str = "CPU", memory: int = 0
) -> str:
    """Ask for a lease; return why not, or nothing."""
    resource = next(name for name, its in sorted(node.leases.kinds.items()) if its == kind)
    need = Need(kind=kind, amount=milli, memory_bytes=memory)
    message = LeaseAsk(ask=number, use=UseId("v"), need=need, resources=(resource,), ttl_ns=3600 * SECOND, hold=False)
    (answer,) = (
        each
        for each in said(node.handle(PeerSaid(now_ns=now_ns, node=who, message=message)), who)
        if isinstance(each, (LeaseGranted, LeaseRefused))
    )
    return answer.reason if isinstance(answer, LeaseRefused) else ""


def gone(effects: list[Effect], who: NodeId = STRANGER) -> list[str]:
    return [message.why for message in said(effects, who) if isinstance(message, LeaseGone)]


def test_guests_together_never_have_more_than_the_share() -> None:
    node = host(HALF)
    assert ask(node, 5, 1500) == ""
    assert ask(node, 6, 1000, number=2) == "this machine lends 50 % of its CPU, and not so much of it is left"
    assert ask(node, 7, 500, number=3) == ""


def test_the_own_account_is_not_limited_and_its_leases_do_not_count() -> None:
    node = host(HALF)
    assert ask(node, 5, 2000, who=PEER) == ""
    assert ask(node, 6, 2000, number=2) == ""


def test_a_rule_for_me_limits_the_other_devices_of_the_account() -> None:
    node = host(LendRule(to="me", cpu_permille=250))
    assert "25 % of its CPU" in ask(node, 5, 1500, who=PEER)
    assert ask(node, 6, 1000, who=PEER, number=2) == ""
    assert ask(node, 7, 1000, number=3) == "no rule of this machine lends CPU to you"


def test_memory_beside_cores_is_lent_by_its_own_share() -> None:
    node = host(LendRule(cpu_permille=1000, memory_permille=250))
    assert "25 % of its Memory" in ask(node, 5, 1000, memory=3000)
    assert ask(node, 6, 1000, memory=2000, number=2) == ""
    assert "25 % of its Memory" in ask(node, 7, 1, kind="Memory", number=3)


def test_the_same_ask_twice_is_one_lease_though_the_share_is_taken() -> None:
    node = host(HALF)
    assert ask(node, 5, 2000) == ""
    assert ask(node, 6, 2000) == ""
    assert len(node.leases.leases) == 1


def test_a_window_is_of_local_time() -> None:
    node = host(LendRule(cpu_permille=500, when="22:00-07:00"))
    assert "only at 22:00-07:00" in ask(node, 5, 500)
    look(node, 6, felt=Felt(zone_s=11 * 3600))
    assert ask(node, 7, 500, number=2) == ""


def test_a_window_does_not_hold_while_the_time_is_not_known() -> None:
    node = host(LendRule(cpu_permille=500, when="mon-sun"))
    node.wall_ahead_ns = 0
    assert "not now" in ask(node, 5, 500)


def test_nothing_is_lent_on_battery_unless_a_rule_says_so() -> None:
    node = host()
    look(node, 5, battery=True)
    assert "it runs on its battery" in ask(node, 6, 500)
    node.handle(LendSet(now_ns=7, lend=Lend(rules=(LendRule(cpu_permille=500, on_battery=True),))))
    assert ask(node, 8, 500, number=2) == ""


def test_the_more_particular_rule_that_holds_now_decides() -> None:
    node = host(LendRule(cpu_permille=200), LendRule(cpu_permille=800, idle_only=True))
    look(node, 5, felt=Felt(owner_here=True))
    assert "20 % of its CPU" in ask(node, 6, 1000)
    look(node, 7)
    assert ask(node, 8, 3200, number=2) == ""


def test_off_means_nobody_and_who_is_here_has_a_minute_to_end() -> None:
    node = host(HALF)
    assert ask(node, 5, 1000) == ""
    assert gone(node.handle(LendSet(now_ns=SECOND, lend=Lend(off=True, rules=(HALF,))))) == []
    assert "its owner said so" in ask(node, 2 * SECOND, 10, number=2)
    assert gone(look(node, LEND_GRACE_NS)) == []
    assert gone(look(node, LEND_GRACE_NS + SECOND)) == ["this machine lends nothing to others: its owner said so"]
    assert not any(node.leases.lent.values())


def test_who_may_stay_again_within_the_grace_stays() -> None:
    node = host(HALF)
    ask(node, 5, 1000)
    look(node, SECOND, battery=True)
    assert node.lend.ending
    look(node, 2 * SECOND)
    assert not node.lend.ending
    assert gone(look(node, 2 * LEND_GRACE_NS)) == []


def test_who_can_save_its_work_is_told_when_the_grace_begins() -> None:
    node = host(HALF)
    for number, yields in ((1, False), (2, True)):
        resource = next(name for name, its in sorted(node.leases.kinds.items()) if its == "CPU")
        need = Need(kind="CPU", amount=500, yields=yields)
        asked = LeaseAsk(ask=number, use=UseId("v"), need=need, resources=(resource,), ttl_ns=3600 * SECOND, hold=False)
        node.handle(PeerSaid(now_ns=number, node=STRANGER, message=asked))
    yielding = [lease.terms.lease for lease in node.leases.leases.values() if lease.terms.need.yields]
    told = said(look(node, SECOND, battery=True), STRANGER)
    assert [each.lease for each in told if isinstance(each, LeaseYield)] == yielding
    assert len(node.lend.ending) == 2
    assert not [each for each in said(look(node, 2 * SECOND, battery=True), STRANGER) if isinstance(each, LeaseYield)]


def test_a_smaller_share_sends_the_newest_away() -> None:
    node = host(HALF)
    ask(node, 5, 1000)
    ask(node, 6, 1000, number=2)
    node.handle(LendSet(now_ns=7, lend=Lend(rules=(LendRule(cpu_permille=250, memory_permille=500),))))
    assert gone(look(node, 8 + LEND_GRACE_NS)) == ["this machine lends 25 % of its CPU now"]
    assert [lease.ask for lease in node.leases.leases.values()] == [1]


def test_an_owner_who_comes_sends_nobody_away_until_guests_rested_for_long() -> None:
    node = host(LendRule(cpu_permille=500, idle_only=True))
    ask(node, 5, 1000)
    here = Felt(owner_here=True, rests="somebody is using this machine")
    look(node, SECOND, felt=here)
    assert not node.lend.ending
    look(node, SECOND + LEND_REST_MAX_NS, felt=here)
    effects = look(node, SECOND + LEND_REST_MAX_NS + LEND_GRACE_NS, felt=here)
    assert gone(effects) == ["it rested for long: somebody is using this machine"]


def test_an_offer_tells_what_is_left_for_whom_and_a_guest_sees_no_more() -> None:
    node = host(LendRule(cpu_permille=500, price_uwos_hour=20_000), LendRule(to="family", cpu_permille=1000))
    ask(node, 5, 500)
    look(node, SECOND)
    told = {(entry.to, entry.kind): entry.left for entry in node.registry.offers[ME].rules.lent}
    assert told == {("family", "CPU"): 3500, ("realm", "CPU"): 1500}
    (mine,) = [offer for offer in node.offers_to(STRANGER) if offer.node == ME]
    assert [(item.kind, item.free, item.price_uwos) for item in mine.resources] == [("CPU", 1500, 20_000)]


def test_without_rules_an_offer_says_nothing_of_them() -> None:
    node = host()
    assert node.registry.offers[ME].rules.lent == ()
    assert not node.registry.offers[ME].rules.limited
    (mine,) = [offer for offer in node.offers_to(STRANGER) if offer.node == ME]
    assert {item.kind for item in mine.resources} == {"CPU", "Memory", "Camera"}


def test_who_lends_to_nobody_now_says_so_in_its_offer() -> None:
    node = host(off=True)
    look(node, SECOND)
    assert node.registry.offers[ME].rules.owners_only


def test_what_no_rule_names_is_lent_to_nobody() -> None:
    node = host(HALF)
    assert ask(node, 5, 1, kind="Camera") == "no rule of this machine lends Camera to you"
    assert ask(host(), 5, 1, kind="Camera") == ""


WHOM = st.sampled_from(["family", "realm", "anyone", "theirs", "others", "me"])
RULES = st.builds(
    LendRule,
    to=WHOM,
    cpu_permille=st.sampled_from([0, 100, 500, 1000]),
    when=st.sampled_from(["", "22:00-07:00"]),
    on_battery=st.booleans(),
    idle_only=st.booleans(),
)
MOMENTS = st.builds(Moment, minute=st.integers(-1, 10_079), on_battery=st.booleans(), owner_here=st.booleans())
GUESTS = st.builds(
    Guest, account=st.sampled_from(["theirs", "unknown"]), is_named=st.booleans(), is_member=st.just(value=False)
)


@given(rules=st.lists(RULES, max_size=5), moment=MOMENTS, who=GUESTS)
def test_a_rule_in_force_is_for_this_guest_and_holds_and_none_is_explained(
    rules: list[LendRule], moment: Moment, who: Guest
) -> None:
    lend = Lend(rules=(*rules, LendRule(cpu_permille=1, when="12:00-13:00")))
    found = lend_rules.in_force(lend, who, "CPU", moment)
    if found is None:
        assert lend_rules.why_not(lend, who, "CPU", moment)
        return
    assert found.cpu_permille
    assert not (moment.on_battery and not found.on_battery)
    assert not (moment.owner_here and found.idle_only)
    assert found.to in {"realm", "anyone", who.account, *(["family"] if who.is_named else [])}


def test_a_node_that_will_go_begins_nothing_new_for_others_and_sends_guests_away_but_serves_itself() -> None:
    node = host()
    assert ask(node, 5, 500) == ""
    event = scan(SECOND, CORES, MEMORY, CAMERA)
    going = {**event.facts, "going_s": 120, "going_why": "its battery is at 6 %"}
    notices = node.handle(msgspec.structs.replace(event, facts=going))
    assert [effect.name for effect in notices if isinstance(effect, Notice)][:1] == ["foreseen"]
    assert ask(node, 2 * SECOND, 500, number=2) == "this machine will go in about 120 s: its battery is at 6 %"
    assert ask(node, 2 * SECOND, 500, who=PEER, number=3).startswith("this machine will go")
    assert "OpenLane" in kinds(node.handle(use(3 * SECOND, 500)))
    assert set(node.lend.ending.values()) == {
        (SECOND + LEND_GRACE_NS, "this machine will go in about 120 s: its battery is at 6 %")
    }
    later = msgspec.structs.replace(event, facts={**going, "going_s": 1800}, now_ns=4 * SECOND)
    node.handle(later)
    assert ask(node, 5 * SECOND, 500, who=PEER, number=4) == ""
    back = node.handle(msgspec.structs.replace(event, now_ns=6 * SECOND))
    assert "foreseen no more" in [effect.name for effect in back if isinstance(effect, Notice)]
