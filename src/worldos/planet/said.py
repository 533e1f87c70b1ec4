"""One of each message, with everything in it that a real one has: real keys, real certificates, full lists."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from worldos.model.ids import AccountId, NodeId, ResourceId
from worldos.model.need import Need
from worldos.model.offer import Offer
from worldos.model.raft import AppendAnswer, AppendAsk
from worldos.model.realm import (
    HEIRS_MAX,
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
    RaftSaid,
    RealmId,
    Register,
    Registered,
    SummaryTold,
)
from worldos.model.resource import Fact, Kind, Resource
from worldos.model.summary import Line, Summary
from worldos.trust.certs import root_certificate
from worldos.trust.keys import DeviceKey

ADDRESSES: Final = ("192.168.178.23:48123", "[2001:db8:12:3400:9d1c:4f2e:7a8b:1c2d]:48123")
NAMES: Final = ("earth", "germany", "berlin", "acme", "house-7", "kitchen")
HEIRS: Final = HEIRS_MAX  # a realm with many children has as many
JOINED_BY: Final = 5  # contacts of a parent that its ticket named: its council at that time
SPEAKERS: Final = 8  # kernel/realms.py: a site registers with its council and those that would stand in for it
RESOURCES: Final = ("CPU", "Memory", "Storage", "Storage", "Network", "Network", "GPU", "Power", "Display")


@lru_cache(maxsize=256)
def key(number: int) -> DeviceKey:
    """Return a device key that is the same every time."""
    return DeviceKey.from_seed(number.to_bytes(32, "big"))


def node_id(number: int) -> NodeId:
    """Return the id of a node."""
    return NodeId(key(number).node_id)


def realm_id(number: int) -> RealmId:
    """Return an id as long as that of a realm: a hash in base 32."""
    return RealmId(f"{number:052d}")


@lru_cache(maxsize=64)
def contact(number: int, *, simulated: bool = False) -> Contact:
    """Return a contact with a real certificate; of a machine of the simulator, with its short name and address."""
    return Contact(
        node=node_id(number),
        name="n17" if simulated else "kitchen-laptop",
        site=realm_id(number),
        root_cert=root_certificate(key(number)),
        addresses=("10.0.0.7:1",) if simulated else ADDRESSES,
    )


def contacts(first: int, amount: int) -> tuple[Contact, ...]:
    """Return some contacts."""
    return tuple(contact(number) for number in range(first, first + amount))


def offer(node: NodeId, resources: int, *, addresses: tuple[str, ...] = ADDRESSES) -> Offer:
    """Make an offer with the first so many resources of a common machine; with two it is one of the simulator's."""
    small = resources <= 2
    facts: dict[str, Fact] = {"arch": "x86_64", "speed_mips": 11_034}
    if not small:
        facts |= {"os": "Linux", "os_version": "6.12", "cores": 16, "memory": 64 << 30, "load_percent": 3}
        facts |= {"battery": False, "virtual": False, "python": "3.11.7", "cpu_model": "AMD Ryzen 7 7840U"}
    return Offer(
        node=node,
        name="n17" if small else "kitchen-laptop",
        owner=AccountId("a" * 52),
        place="home",
        boot=1,
        number=100,
        resources=tuple(_resource(node, number, small=small) for number in range(resources)),
        facts=facts,
        addresses=addresses,
    )


def _resource(node: NodeId, number: int, *, small: bool) -> Resource:
    kind = RESOURCES[number].lower()
    facts: dict[str, Fact] = {} if small else {"model": "a name of twenty odd", "speed": 1 << 30, "removable": False}
    return Resource(
        id=ResourceId(f"{node[:8]}/{kind}/{number}"),
        kind=RESOURCES[number],
        name=kind if small else f"{kind} of the maker",
        node=node,
        owner=AccountId("a" * 52),
        place="home",
        uri=f"wos://{node}/{kind}/{number}",
        unit="bytes",
        capacity=4 << 30,
        free=4 << 30,
        facts=facts,
    )


def summary(lines: int) -> Summary:
    """Return a summary of so many lines: kinds, and speed classes of CPU and GPU."""
    kinds = ("CPU", "CPU", "CPU", "GPU", "GPU", "Memory", "Storage", "Network", "Power", "Camera", "Sound", "Display")
    return Summary(
        lines=tuple(
            Line(
                kind=kinds[number % len(kinds)],
                speed=10 + number % 8,
                free=1_234_567_890_123,
                largest=64_000_000_000,
                nodes=8_765,
                price_uwos=12_000,
                carbon_g_kwh=231,
                lent=True,
            )
            for number in range(lines)
        ),
        nodes=10_000,
        depth=3,
    )


def center(level: int, *, voters: int = 5) -> Center:
    """Return what a primary of this level says of itself; above it stand the levels up to the planet."""
    above = len(Level) - level
    return Center(
        realm=realm_id(level),
        name=NAMES[above - 1],
        level=Level(level),
        epoch=Epoch(17),
        primary=contact(1),
        council=contacts(1, voters),
        path="/".join(NAMES[:above]),
        lineage=tuple(realm_id(number) for number in range(above)),
        heirs=() if level == Level.PERSONAL else contacts(10, HEIRS),
        parents=(parent_record(level + 1),) if level + 1 < len(Level) else (),
        load_permille=120,
    )


def parent_record(level: int) -> ParentRecord:
    """Return how a realm remembers a superior."""
    return ParentRecord(
        realm=realm_id(level),
        name="berlin",
        level=Level(level),
        path="earth/germany/berlin",
        contacts=contacts(20, JOINED_BY),
    )


def heartbeat(*, index: int = 70_000, term: int = 17) -> RaftSaid:
    """Return a leader's beat."""
    ask = AppendAsk(term=term, prev_index=index, prev_term=term, committed=index, round=index)
    return RaftSaid(realm=realm_id(1), message=ask)


def heartbeat_answer(*, index: int = 70_000, term: int = 17) -> RaftSaid:
    """Return the answer to it."""
    return RaftSaid(realm=realm_id(1), message=AppendAnswer(term=term, index=index, round=index))


def register(level: int, *, voters: int = SPEAKERS, lines: int = 12) -> Register:
    """Return how a realm of this level registers."""
    return Register(
        parent=realm_id(level + 1),
        child=realm_id(level),
        name="house-7",
        level=Level(level),
        epoch=Epoch(17),
        council=contacts(1, voters),
        fitness=1_000_000,
        summary=summary(lines),
        others=1,
    )


def registered(level: int) -> Registered:
    """Return the answer of the superior, of the level above."""
    return Registered(child=realm_id(level), center=center(level + 1))


def center_told(level: int, *, voters: int = 5) -> CenterTold:
    """Return how a primary shows itself to its members."""
    return CenterTold(center=center(level, voters=voters))


def summary_told(lines: int = 12) -> SummaryTold:
    """Return a change of what is free."""
    return SummaryTold(child=realm_id(1), epoch=Epoch(17), summary=summary(lines))


def bid_ask(trail: int = 3) -> BidAsk:
    """Return a bid that has been through so many realms."""
    return BidAsk(
        bid=1_000_000,
        home=contact(1),
        realm=realm_id(1),
        needs=(Need(kind=Kind.CPU, amount=4000),),
        within="",
        trail=tuple(realm_id(number) for number in range(trail)),
        hops=trail,
        wait_ns=4_000_000_000,
        down=True,
    )


def bid_answer(candidates: int = 4) -> BidAnswer:
    """Return an answer with so many nodes that could: their offers cut to CPU and Memory, as they go out."""
    return BidAnswer(
        bid=1_000_000,
        home=node_id(1),
        realm=realm_id(1),
        candidates=tuple(
            Candidate(offer=offer(node_id(n), 2), contact=contact(n), realm=realm_id(2), epoch=Epoch(17))
            for n in range(1, candidates + 1)
        ),
        why="",
        hops=8,
    )


def guest_told() -> GuestTold:
    """Return how a site's center lets a stranger ask one of its nodes."""
    return GuestTold(guest=contact(1), realm=realm_id(1), epoch=Epoch(17), ttl_ns=60_000_000_000)
