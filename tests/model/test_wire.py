"""The wire: its bytes are frozen, and no bytes of a peer do anything but become a message or be refused.

After a change that is meant: ``python -m tests.model.test_wire`` writes tests/golden/wire.txt anew, and the difference shows
which messages an older node will not understand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import PeerBroke
from worldos.model import wire
from worldos.model.audit import (
    CheckpointSeen,
    CheckpointTold,
    ForkTold,
    Piece,
    PieceAsk,
    PieceTold,
    ReceiptAsk,
    ReceiptTold,
)
from worldos.model.ids import AccountId, LeaseId, NodeId, ResourceId, UseId
from worldos.model.limits import MESSAGE_BYTES_MAX, WHERE_DEPTH_MAX
from worldos.model.need import All, AnyOf, Compare, LeaseTerms, Need, Not, Objective
from worldos.model.offer import Offer, OfferRules
from worldos.model.raft import VoteAnswer
from worldos.model.realm import (
    BidAnswer,
    BidAsk,
    Candidate,
    Center,
    CenterTold,
    Contact,
    Epoch,
    GuestTold,
    Level,
    ParentRecord,
    ProposeAnswer,
    ProposeAsk,
    RaftSaid,
    RealmId,
    Register,
    Registered,
    RegisterRefused,
    SummaryTold,
)
from worldos.model.resource import Resource, ResourceState
from worldos.model.runner import LogAsk, LogPiece
from worldos.model.statements import Digest, Statement, StatementsHave, StatementsKnown, StatementsTold, Topic
from worldos.model.summary import Line, Summary
from worldos.model.swim import Ack, Nack, Ping, PingRequest, Rumor, Status
from worldos.model.work import Attempt, JobId, JobSpec
from worldos.model.work_wire import (
    HeldAsk,
    LogAsked,
    LogTold,
    Task,
    TasksGiven,
    TasksHeld,
    TasksStop,
    WorkAsk,
    WorkDropped,
    WorkRaft,
    WorkTold,
)

GOLDEN = Path(__file__).parent.parent / "golden" / "wire.txt"
A, B = NodeId("a" * 52), NodeId("b" * 52)
LEASE = LeaseId("aaaaaaaa-1-7")
RUMOR = Rumor(node=B, status=Status.SUSPECT, incarnation=65537, boot=1, accusers=(A,))
NEED = Need(
    kind="CPU",
    amount=2500,
    memory_bytes=1 << 30,
    where=All(
        (Compare("arch", "==", "arm64"), Not(Compare("battery", "==", True)), AnyOf((Compare("cores", ">=", 4),)))
    ),
    near="berlin",
    objective=Objective.NEAREST,
    workers=2,
    apart=True,
)
TERMS = LeaseTerms(lease=LEASE, node=A, boot=1, need=NEED, resources=(ResourceId("aaaaaaaa/cpu/0"),), ttl_ns=10**10)
OFFER = Offer(
    node=A,
    name="desk",
    owner=AccountId("c" * 52),
    place="earth/eu/home",
    boot=1,
    number=3,
    resources=(
        Resource(
            id=ResourceId("aaaaaaaa/cpu/0"),
            kind="CPU",
            name="EPYC",
            node=A,
            owner=AccountId("c" * 52),
            place="earth/eu/home",
            uri=f"wos://{A}/cpu/0",
            unit="milli",
            capacity=8000,
            free=5500,
            price_uwos=10,
            tags=("fast",),
            facts={"cores": 8, "model": "EPYC"},
            state=ResourceState.IN_USE,
        ),
    ),
    facts={"arch": "x86_64", "battery": False, "memory": 1 << 34},
    rules=OfferRules(not_on_battery=True),
    addresses=("10.0.0.1:4711", "[fe80::1]:4711"),
)
SITE, ABOVE = RealmId("c" * 52), RealmId("e" * 52)
CONTACT = Contact(node=A, name="desk", site=SITE, root_cert=b"root", addresses=("10.0.0.1:4711",))
JOB = JobId("job-1")
ATTEMPT = Attempt(JOB, 7, 2)
EPOCH = Epoch(7, provisional=True)
CENTER = Center(
    realm=ABOVE,
    name="acme",
    level=Level.ENTERPRISE,
    epoch=EPOCH,
    primary=CONTACT,
    council=(CONTACT,),
    path="earth/acme",
    lineage=(RealmId("f" * 52), ABOVE),
    parents=(
        ParentRecord(realm=RealmId("f" * 52), name="earth", level=Level.PLANET, path="earth", contacts=(CONTACT,)),
    ),
    lend="kin",
)
SUMMARY = Summary(lines=(Line(kind="CPU", speed=12, free=8000, largest=4000, nodes=2, lent=True),), nodes=2)
EXAMPLES: tuple[wire.Message, ...] = (
    Ping(number=7, target=B, rumors=(RUMOR,)),
    Ack(number=7, target=B),
    PingRequest(number=8, target=B),
    Nack(number=8),
    wire.OfferTold(offer=OFFER),
    wire.LeaseAsk(ask=1 << 32, use=UseId("u1"), need=NEED, resources=TERMS.resources, ttl_ns=10**10, hold=True),
    wire.LeaseGranted(ask=1 << 32, terms=TERMS),
    wire.LeaseRefused(ask=1 << 32, reason="not enough CPU is free any more", free=500),
    wire.LeaseWaits(ask=1 << 32, wait_ns=2_200_000_000),
    wire.LeaseYield(lease=LEASE, grace_ns=2_000_000_000),
    wire.LeaseYielding(lease=LEASE),
    wire.LeaseConfirm(lease=LEASE),
    wire.LeaseConfirmed(lease=LEASE),
    wire.LeaseRenew(lease=LEASE, number=2),
    wire.LeaseRenewed(lease=LEASE, number=2),
    wire.LeaseRelease(lease=LEASE),
    wire.LeaseGone(lease=LEASE, why="expired"),
    wire.KeyLogHave(heads=("d" * 52,)),
    wire.KeyLogTold(entries=((b"body", b"signature"),)),
    wire.PeersTold(peers=((B, ("10.0.0.2:4711",)),)),
    RaftSaid(realm=SITE, message=VoteAnswer(term=3, granted=True)),
    CenterTold(center=CENTER),
    Register(
        parent=ABOVE,
        child=SITE,
        name="berlin",
        level=Level.HOME,
        epoch=EPOCH,
        council=(CONTACT,),
        fitness=70,
        summary=SUMMARY,
    ),
    Registered(child=SITE, center=CENTER),
    RegisterRefused(parent=ABOVE, child=SITE, why="not a child", seen=EPOCH),
    SummaryTold(child=SITE, epoch=EPOCH, summary=SUMMARY),
    BidAsk(
        bid=9, home=CONTACT, realm=ABOVE, needs=(NEED,), within="acme", trail=(SITE,), hops=2, wait_ns=10**9, down=True
    ),
    BidAnswer(
        bid=9,
        home=A,
        realm=ABOVE,
        candidates=(Candidate(offer=OFFER, contact=CONTACT, realm=SITE, epoch=EPOCH),),
        why="",
        hops=4,
    ),
    GuestTold(guest=CONTACT, realm=SITE, epoch=EPOCH, ttl_ns=10**9),
    ProposeAsk(realm=ABOVE, number=3, command=b"command"),
    ProposeAnswer(realm=ABOVE, number=3, why="the name is taken"),
    StatementsHave(digests=(Digest(topic=Topic.ROLE, count=3, marks=b"m" * 16),)),
    StatementsKnown(topic=Topic.ROLE, marks=(b"m" * 16,), answer=True),
    StatementsTold(statements=(Statement(topic=Topic.STOP, signer=A, body=b"halt", signature=b"s" * 64),)),
    CheckpointTold(log=A, note=b"note", old=3, proof=(b"h" * 32,)),
    CheckpointSeen(size=7, line="line"),
    ForkTold(log=A, first=b"one", second=b"two", path=(b"h" * 32,)),
    PieceAsk(ask=5, piece=Piece.TILE, level=1, index=2, width=200),
    PieceTold(ask=5, data=b"hashes"),
    ReceiptAsk(ask=6, lease=LEASE),
    ReceiptTold(ask=6, number=9, salt=b"salt", payload=b"words"),
    WorkRaft(message=VoteAnswer(term=3, granted=True)),
    WorkAsk(number=4, command=b"command", wait_ms=500),
    WorkDropped(number=4),
    WorkTold(number=4, part=1, data=b"answers", more=True),
    TasksGiven(job=JOB, spec=JobSpec(argv=("true",), need=NEED), tasks=(Task(7, 2, "left.off"),)),
    TasksStop(attempts=(ATTEMPT,), why="a more urgent job", preempt=True),
    TasksHeld(attempts=(ATTEMPT,)),
    HeldAsk(),
    LogAsked(ask=LogAsk(request=5, attempt=ATTEMPT, offset=10)),
    LogTold(request=5, piece=LogPiece(offset=10, data=b"line", written=14)),
)


def golden_lines() -> list[str]:
    return [f"{type(message).__name__} {wire.encode(message).hex()}" for message in EXAMPLES]


def frozen() -> dict[str, bytes]:
    return {name: bytes.fromhex(data) for name, data in (line.split() for line in GOLDEN.read_text().splitlines())}


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_the_bytes_of_a_message_are_those_of_the_day_they_were_frozen(message: wire.Message) -> None:
    data = frozen()[type(message).__name__]
    assert wire.encode(message) == data
    assert wire.decode(data) == message


def test_every_message_has_its_golden_bytes() -> None:
    union = {kind.__name__ for kind in get_args(wire.Message)}
    assert {type(message).__name__ for message in EXAMPLES} == union == set(frozen())


def test_every_message_has_a_tag_of_its_own() -> None:
    tags = [kind.__struct_config__.tag for kind in get_args(wire.Message)]
    assert len(set(tags)) == len(tags)


def refused_or_read(data: bytes) -> wire.PeerMessage | None:
    try:
        return wire.decode(data)
    except PeerBroke:
        return None


@given(st.binary(max_size=300))
def test_garbage_is_refused(data: bytes) -> None:
    refused_or_read(data)


@given(st.sampled_from(EXAMPLES), st.data())
def test_a_message_with_some_bytes_changed_is_refused_or_read_and_can_be_told_on(message, data) -> None:
    said = bytearray(wire.encode(message))
    for at in data.draw(st.lists(st.integers(0, len(said) - 1), max_size=4)):
        said[at] = data.draw(st.integers(0, 255))
    del said[data.draw(st.integers(0, len(said))) or len(said) :]
    read = refused_or_read(bytes(said))
    if read is not None:
        assert wire.decode(wire.encode(read)) == read


VALUES: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(EXAMPLES), st.data())
def test_a_message_with_a_field_of_another_type_is_refused_or_read(message, data) -> None:
    fields = msgspec.to_builtins(message)
    fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(VALUES)
    refused_or_read(msgspec.msgpack.encode(fields))


def test_a_message_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(PeerBroke, match="at most"):
        wire.decode(bytes(MESSAGE_BYTES_MAX + 1))


def nested(depth: int) -> bytes:
    """An ask whose condition nests so deep, as bytes, since no encoder of ours would write it."""
    encode = msgspec.msgpack.encode
    inner, once = encode(Compare("a", "==", 1)), encode(Not(Compare("a", "==", 1)))
    before, behind = once[: once.index(inner)], once[once.index(inner) + len(inner) :]
    need = Need(kind="CPU", amount=1, where=Not(Compare("a", "==", 1)))
    ask = wire.encode(wire.LeaseAsk(ask=1, use=UseId("u"), need=need, resources=(), ttl_ns=1, hold=False))
    return ask.replace(once, before * depth + inner + behind * depth)


def test_a_condition_may_not_nest_deeper_than_what_can_be_encoded_again() -> None:
    """Deep enough, it could be read but not written: neither to the journal nor in an answer."""
    assert isinstance(wire.decode(nested(WHERE_DEPTH_MAX - 1)), wire.LeaseAsk)
    for depth in (WHERE_DEPTH_MAX, 300, 980, 990, 995, 5000, 50_000):
        with pytest.raises(PeerBroke):
            wire.decode(nested(depth))


if __name__ == "__main__":
    GOLDEN.write_text("\n".join(golden_lines()) + "\n")
