"""The node as a whole: it routes, it survives whatever members say, and a snapshot of it is all of it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.test_wire import EXAMPLES
from worldos.kernel.belonging import log_entries
from worldos.kernel.effects import CloseLane, Connect, Effect, Forget, Notice, OpenLane, SaveKeyLog, Send, Tell
from worldos.kernel.events import (
    ClientGone,
    ClockTicked,
    DrainAsked,
    Event,
    KeyLogOffered,
    LaneFailed,
    LeaveAsked,
    PathMeasured,
    PeerLinked,
    PeerSaid,
    PeerUnlinked,
    ResourcesScanned,
    UseAsked,
    UseEnded,
)
from worldos.model.ids import ClientId, LeaseId, NodeId, UseId
from worldos.model.limits import KEYLOG_COMPARE_NS, OFFER_PERIOD_MIN_NS, SECOND
from worldos.model.local import UseGranted, UseRefused
from worldos.model.need import Need
from worldos.model.resource import Scanned
from worldos.model.wire import (
    KeyLogHave,
    KeyLogTold,
    LeaseAsk,
    LeaseConfirm,
    LeaseGone,
    LeaseGranted,
    LeaseRefused,
    LeaseRelease,
    LeaseRenew,
    OfferTold,
    PeerMessage,
    PeersTold,
)
from worldos.node import Node, new_node, offline
from worldos.sim.machine import account_of, admission, device_key, removal
from worldos.trust.keylog import KeyLog

ME, PEER, THIRD, STRANGER = (NodeId(device_key(number).node_id) for number in range(4))
CLIENT = ClientId("c")
CORES = Scanned(kind="CPU", local="0", name="cpu", unit="milli", capacity=4000, free=4000)


def node_of(me: int = 0, *, boot: int = 1, seed: int = 5) -> Node:
    keylog = KeyLog(entries=dict(account_of(3)))
    key = NodeId(device_key(me).node_id)
    node = new_node(
        node=key, account=keylog.account, boot=boot, name=f"n{me}", place="home", keylog=keylog, seed=seed, now_ns=0
    )
    node.handle(scan(1))
    return node


def scan(now_ns: int, *resources: Scanned, addresses: tuple[str, ...] = ("10.0.0.1:1",)) -> ResourcesScanned:
    return ResourcesScanned(
        now_ns=now_ns,
        wall_ns=0,
        resources=resources or (CORES,),
        facts={"speed_mips": 9000, "isolation": "process sandbox wasm"},
        addresses=addresses,
    )


def use(now_ns: int, *milli: int, name: str = "u") -> UseAsked:
    needs = tuple(Need(kind="CPU", amount=amount) for amount in milli)
    return UseAsked(now_ns=now_ns, client=CLIENT, use=UseId(name), needs=needs, ttl_ns=8 * SECOND, nonce=1)


def said(effects: list[Effect], to: NodeId = PEER) -> list[PeerMessage]:
    return [effect.message for effect in effects if type(effect) is Send and effect.node == to]


def kinds(effects: list[Effect]) -> list[str]:
    return [type(effect).__name__ for effect in effects]


def linked(node: Node, now_ns: int = 2, *, peer: NodeId = PEER, boot: int = 1) -> list[Effect]:
    return node.handle(PeerLinked(now_ns=now_ns, node=peer, boot=boot))


def ask(node: Node, now_ns: int, milli: int, number: int = 1) -> list[Effect]:
    resource = next(iter(node.leases.kinds))
    need = Need(kind="CPU", amount=milli)
    message = LeaseAsk(ask=number, use=UseId("v"), need=need, resources=(resource,), ttl_ns=8 * SECOND, hold=False)
    return node.handle(PeerSaid(now_ns=now_ns, node=PEER, message=message))


def test_what_a_program_asks_of_its_own_machine_is_granted_in_one_step() -> None:
    effects = node_of().handle(use(SECOND, 2000))
    assert "OpenLane" in kinds(effects)
    assert [type(e.message) for e in effects if type(e) is Tell] == [UseGranted]
    assert not said(effects, ME)


def test_when_a_program_ends_its_lane_is_closed_and_the_cores_come_back_in_one_step() -> None:
    node = node_of()
    node.handle(use(SECOND, 2000))
    effects = node.handle(ClientGone(now_ns=2 * SECOND, client=CLIENT))
    assert "CloseLane" in kinds(effects)
    assert not any(node.leases.lent.values())


def test_one_use_given_back_leaves_the_others() -> None:
    node = node_of()
    node.handle(use(SECOND, 1000, name="one"))
    node.handle(use(SECOND, 1000, name="two"))
    node.handle(UseEnded(now_ns=2 * SECOND, client=CLIENT, use=UseId("one")))
    assert [held.use for held in node.uses.held.leases.values()] == ["two"]


def test_a_stranger_is_not_heard_and_a_link_to_it_is_cut() -> None:
    node = node_of()
    (notice,) = node.handle(PeerSaid(now_ns=5, node=STRANGER, message=LeaseRenew(lease=LeaseId("x"), number=1)))
    assert isinstance(notice, Notice)
    assert notice.name == "stranger refused"
    assert Forget(node=STRANGER, why="not a member") in linked(node, peer=STRANGER)


def test_a_new_link_brings_key_log_offer_and_where_others_are() -> None:
    node = node_of()
    linked(node, peer=THIRD)
    node.handle(PeerSaid(now_ns=3, node=THIRD, message=OfferTold(offer=offer_of(2))))
    told = [type(message) for message in said(linked(node, 4)) if type(message) in (KeyLogHave, OfferTold, PeersTold)]
    assert told == [KeyLogHave, OfferTold, PeersTold]


def offer_of(number: int):
    other = node_of(number)
    return other.registry.own_offer(other.leases)


def test_where_a_member_is_said_to_be_it_is_dialled_and_others_are_not() -> None:
    node = node_of()
    linked(node)
    peers = ((THIRD, ("10.0.0.3:1",)), (STRANGER, ("6.6.6.6:6",)), (ME, ("1.1.1.1:1",)), (PEER, ("2.2.2.2:2",)))
    effects = node.handle(PeerSaid(now_ns=3, node=PEER, message=PeersTold(peers=peers)))
    assert [e for e in effects if type(e) is Connect] == [Connect(node=THIRD, addresses=("10.0.0.3:1",))]


def test_a_change_of_what_is_free_is_told_to_all_that_are_linked() -> None:
    node = node_of()
    linked(node)
    linked(node, peer=THIRD)
    effects = ask(node, SECOND, 2000)
    for peer in (PEER, THIRD):
        (told,) = [m for m in said(effects, peer) if type(m) is OfferTold]
        assert told.offer.resources[0].free == 2000


def test_two_changes_at_once_are_told_a_moment_later_in_one_word() -> None:
    node = node_of()
    linked(node)
    ask(node, SECOND, 1000, 1)
    assert not [m for m in said(ask(node, SECOND + 1, 1000, 2)) if type(m) is OfferTold]
    assert node.due_ns <= SECOND + OFFER_PERIOD_MIN_NS
    effects = node.handle(ClockTicked(now_ns=SECOND + OFFER_PERIOD_MIN_NS))
    assert [m.offer.resources[0].free for m in said(effects) if type(m) is OfferTold] == [2000]


def test_a_holder_in_another_life_has_lost_what_it_held() -> None:
    node = node_of()
    linked(node)
    ask(node, SECOND, 2000)
    effects = linked(node, 2 * SECOND, boot=2)
    assert "CloseLane" in kinds(effects)
    assert not node.leases.leases


def test_a_closed_link_ends_no_lease() -> None:
    node = node_of()
    linked(node)
    ask(node, SECOND, 2000)
    effects = node.handle(PeerUnlinked(now_ns=SECOND + 5, node=PEER))
    assert "CloseLane" not in kinds(effects)
    assert linked(node, 2 * SECOND)
    assert node.leases.leases


def test_who_is_revoked_loses_link_leases_and_offer_at_once() -> None:
    node = node_of()
    linked(node)
    node.handle(PeerSaid(now_ns=3, node=PEER, message=OfferTold(offer=offer_of(1))))
    ask(node, SECOND, 2000)
    entry = removal(node.keylog, PEER)
    effects = node.handle(KeyLogOffered(now_ns=2 * SECOND, entries=((entry.body, entry.signature),)))
    assert {"SaveKeyLog", "CloseLane", "Forget"} <= set(kinds(effects))
    told = Send(node=PEER, message=KeyLogTold(entries=((entry.body, entry.signature),)))
    assert effects.index(told) < effects.index(Forget(node=PEER, why="revoked")), "it hears of it while it is linked"
    assert PEER not in node.registry.offers
    assert not node.leases.leases
    assert Forget(node=PEER, why="not a member") in linked(node, 3 * SECOND)


def test_a_new_device_is_told_to_all_others_and_not_back_to_who_told_it() -> None:
    node = node_of()
    linked(node)
    linked(node, peer=THIRD)
    entry = admission(node.keylog, 3, signer=0)
    told = KeyLogTold(entries=((entry.body, entry.signature),))
    effects = node.handle(PeerSaid(now_ns=5, node=PEER, message=told))
    assert SaveKeyLog() in effects
    assert told in said(effects, THIRD)
    assert told not in said(effects, PEER)
    assert node.is_member(STRANGER)
    again = node.handle(PeerSaid(now_ns=6, node=THIRD, message=told))
    assert SaveKeyLog() not in again


def test_key_logs_meet_by_their_heads() -> None:
    node, newer = node_of(), node_of(1)
    newer.keylog.merge([admission(newer.keylog, 3, signer=0)])
    have = KeyLogHave(heads=newer.keylog.heads())
    question = said(node.handle(PeerSaid(now_ns=5, node=PEER, message=have)))[-1]
    assert question == KeyLogHave(heads=node.keylog.heads())
    (answer,) = said(newer.handle(PeerSaid(now_ns=5, node=ME, message=question)), ME)
    node.handle(PeerSaid(now_ns=6, node=PEER, message=answer))
    assert node.keylog.heads() == newer.keylog.heads()
    assert log_entries(node.keylog, node.keylog.heads()) == log_entries(newer.keylog, newer.keylog.heads())


def test_key_logs_are_compared_now_and_then_so_that_what_got_lost_is_found() -> None:
    """Found by the simulator, harsh seeds 3, 12 and 44: the news of a device, once lost, was never told again."""
    node = node_of()
    linked(node)
    linked(node, peer=THIRD)
    asked = []
    for tick in range(5, 50):
        effects = node.handle(ClockTicked(now_ns=tick * KEYLOG_COMPARE_NS // 4))
        asked += [e.node for e in effects if type(e) is Send and type(e.message) is KeyLogHave]
    assert asked.count(PEER) >= 4
    assert asked.count(THIRD) >= 4


def test_a_forged_entry_is_refused_and_named() -> None:
    node = node_of()
    entry = admission(node.keylog, 3, signer=0)
    effects = node.handle(KeyLogOffered(now_ns=5, entries=((entry.body, bytes(64)),)))
    assert [e.name for e in effects if type(e) is Notice] == ["key log refused"]
    assert not node.is_member(STRANGER)


def test_in_maintenance_a_node_asks_elsewhere_for_its_own_programs() -> None:
    node = node_of()
    node.handle(DrainAsked(now_ns=5, drained=True))
    (told,) = [e.message for e in node.handle(use(SECOND, 1000)) if type(e) is Tell]
    assert isinstance(told, UseRefused)
    node.handle(DrainAsked(now_ns=2 * SECOND, drained=False))
    (told,) = [e.message for e in node.handle(use(3 * SECOND, 1000)) if type(e) is Tell]
    assert isinstance(told, UseGranted)


def test_a_lane_that_cannot_be_kept_up_ends_the_lease_and_its_holder_knows() -> None:
    node = node_of()
    linked(node)
    (granted,) = [m for m in said(ask(node, SECOND, 2000)) if type(m) is LeaseGranted]
    effects = node.handle(LaneFailed(now_ns=SECOND, lease=granted.terms.lease, why="no folder"))
    assert LeaseGone(lease=granted.terms.lease, why="no folder") in said(effects)


def test_who_leaves_ends_what_it_granted_and_held_and_says_good_bye() -> None:
    node = node_of()
    linked(node)
    ask(node, SECOND, 1000)
    node.handle(use(SECOND, 1000))
    effects = node.handle(LeaveAsked(now_ns=2 * SECOND))
    assert not node.leases.leases
    assert not node.uses.held.leases
    assert [m for m in said(effects) if type(m) is LeaseGone]
    assert kinds(effects).count("CloseLane") == 2


def test_the_way_to_a_peer_is_remembered_and_a_change_of_way_noticed() -> None:
    node = node_of()
    node.handle(PathMeasured(now_ns=1, node=PEER, rtt_us=7, via=""))  # not linked yet: nobody asked
    linked(node)
    node.handle(PathMeasured(now_ns=3, node=PEER, rtt_us=700, via=""))
    (notice,) = node.handle(PathMeasured(now_ns=4, node=PEER, rtt_us=900, via=THIRD))
    assert notice.fields == {"node": PEER, "via": THIRD}
    assert node.view(1).rtt_us == {PEER: 900}


def test_an_answer_with_any_number_is_looked_up_and_nothing_else() -> None:
    """The number was once made into eight bytes before it was known to be ours."""
    node = node_of()
    linked(node)
    for number in (-1, -(2**63), 2**64 - 1, 0):
        refusal = LeaseRefused(ask=number, reason="", free=0)
        node.handle(PeerSaid(now_ns=5, node=PEER, message=refusal))


def test_a_snapshot_and_what_came_since_make_the_same_node() -> None:
    node = node_of()
    linked(node)
    twin = msgspec.msgpack.decode(msgspec.msgpack.encode(node), type=Node)
    entry = admission(node.keylog, 3, signer=0)
    events: list[Event] = [
        use(SECOND, 1000),
        PeerSaid(now_ns=SECOND + 1, node=PEER, message=OfferTold(offer=offer_of(1))),
        use(SECOND + 2, 6000, name="gang"),
        KeyLogOffered(now_ns=SECOND + 3, entries=((entry.body, entry.signature),)),
        *(ClockTicked(now_ns=SECOND * n // 3) for n in range(4, 40)),
        PeerUnlinked(now_ns=14 * SECOND, node=PEER),
        *(ClockTicked(now_ns=SECOND * n // 3) for n in range(43, 80)),
        ClientGone(now_ns=30 * SECOND, client=CLIENT),
    ]
    for event in events:
        assert twin.handle(event) == node.handle(event)
    assert msgspec.msgpack.encode(twin) == msgspec.msgpack.encode(node)


def test_an_offline_offer_has_nothing_free() -> None:
    assert {(r.free, r.state.value) for r in offline(offer_of(1)).resources} == {(0, "offline")}


NUMBERS = st.sampled_from([0, 1, -1, 1000, 4000, 2**31, 2**53, 2**62, 2**63 - 1, -(2**63)]) | st.integers(
    -(2**63), 2**63 - 1
)
NAMES = st.sampled_from(["", "a", ME, PEER, THIRD, STRANGER, f"{ME[:8]}-1-1", f"{ME[:8]}/cpu/0", "CPU", "\0" * 9])


@st.composite
def twisted(draw: st.DrawFn) -> PeerMessage:
    """One of the examples with some of its numbers and names changed to others of the same type."""

    def twist(value):
        if isinstance(value, bool) or draw(st.integers(0, 2)):
            pass
        elif isinstance(value, int):
            return draw(NUMBERS)
        elif isinstance(value, str):
            return draw(NAMES)
        if isinstance(value, dict):
            return {key: inner if key == "type" else twist(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [twist(inner) for inner in value]
        return value

    example = draw(st.sampled_from(EXAMPLES))
    try:
        return msgspec.convert(twist(msgspec.to_builtins(example)), PeerMessage)
    except (msgspec.ValidationError, UnicodeDecodeError):
        return example


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([PEER, THIRD]), twisted(), st.integers(0, 2 * SECOND)), max_size=12))
def test_whatever_members_say_a_node_goes_on_and_lends_no_more_than_it_has(words) -> None:
    node = node_of()
    linked(node)
    linked(node, peer=THIRD)
    now_ns = SECOND
    node.handle(use(now_ns, 6000))
    for peer, message, wait_ns in words:
        now_ns += wait_ns
        effects = node.handle(PeerSaid(now_ns=now_ns, node=peer, message=message))
        msgspec.msgpack.encode(effects)
    for capacity, lent in ((node.leases.capacity[r], node.leases.lent.get(r, 0)) for r in node.leases.capacity):
        assert 0 <= lent <= capacity
    msgspec.msgpack.encode(node)
    node.handle(ClientGone(now_ns=now_ns, client=CLIENT))
    assert not node.uses.pending


@pytest.mark.parametrize("effect", [OpenLane, CloseLane])
def test_lanes_open_and_close_in_pairs(effect: type) -> None:
    node = node_of()
    effects = [*node.handle(use(SECOND, 1000)), *node.handle(ClientGone(now_ns=2 * SECOND, client=CLIENT))]
    assert sum(type(each) is effect for each in effects) == 1


@pytest.mark.parametrize("message", [LeaseConfirm(lease=LeaseId("x")), LeaseRelease(lease=LeaseId("x"))])
def test_what_a_node_does_not_know_it_says_or_passes_over(message: PeerMessage) -> None:
    node = node_of()
    linked(node)
    effects = node.handle(PeerSaid(now_ns=SECOND, node=PEER, message=message))
    gone = [m for m in said(effects) if type(m) is LeaseGone]
    assert len(gone) == isinstance(message, LeaseConfirm)
