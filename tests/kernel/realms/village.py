"""A village: a few real nodes of several accounts, with nothing between them but a delay of a millisecond and cuts.

    village = Village(home=2, office=1)      # sites and how many devices each has
    village.run(3)                           # seconds
    village.center("home")                   # who all of its nodes agree on

No faults by chance and no checkers: that is what the simulator is for. Here a story is told in a few lines.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import Any

from worldos.kernel.charter import ChildAdmitted, Command, ParentAdded, PolicySet, encode_command
from worldos.kernel.effects import Effect, Forget, Notice, Persist, Send, Tell
from worldos.kernel.events import (
    CharterAsked,
    ClockTicked,
    Event,
    PathMeasured,
    PeerLinked,
    PeerSaid,
    PeerUnlinked,
    Persisted,
    RealmFounded,
    ResourcesScanned,
    UseAsked,
)
from worldos.kernel.realms import RealmsAtStart
from worldos.model import wire
from worldos.model.ids import AccountId, ClientId, NodeId, UseId
from worldos.model.limits import MS, SECOND
from worldos.model.local import Answer, Failure, UseGranted, UseRefused
from worldos.model.need import Need
from worldos.model.realm import Center, Contact, Level, ParentRecord, RealmId
from worldos.model.resource import Kind, Scanned
from worldos.node import Node, new_node
from worldos.trust.keylog import KeyLog, SignedEntry, accept_claim, add_device, new_account
from worldos.trust.keys import DeviceKey
from worldos.trust.roots import root_certificate

DELAY_NS = MS
GB = 10**9


@lru_cache(maxsize=64)
def account(name: str, devices: int) -> tuple[dict[str, SignedEntry], tuple[DeviceKey, ...]]:
    """The key log of an account with so many devices, and their keys."""
    recovery = name.encode().ljust(32, b"!")[:32]
    log = KeyLog()
    log.merge([new_account(recovery)])
    keys = tuple(DeviceKey.from_seed(f"{name}{number}".encode().ljust(32, b"?")[:32]) for number in range(devices))
    for number, key in enumerate(keys):
        nonce = number.to_bytes(32, "big")
        claim = accept_claim(key, log.account, f"{name}{number}", root_certificate(key), nonce)
        log.merge([add_device(log, DeviceKey.from_seed(recovery), claim)])
    return dict(log.entries), keys


class Village:
    """Nodes by name (``home0``, ``home1``, ``office0`` ...), and what is on its way between them."""

    def __init__(self, **sites: int) -> None:
        self.now_ns = SECOND
        self.nodes: dict[str, Node] = {}
        self.names: dict[NodeId, str] = {}
        self.cuts: set[frozenset[str]] = set()
        self.links: set[frozenset[str]] = set()
        self.asleep: set[str] = set()
        self.notices: list[tuple[str, Notice]] = []
        self.told: list[tuple[str, Any]] = []
        self._queue: deque[tuple[int, str, Event]] = deque()
        self._number = 0
        for site, devices in sites.items():
            entries, keys = account(site, devices)
            for number, key in enumerate(keys):
                self._begin(f"{site}{number}", entries, NodeId(key.node_id), site, first=number == 0)
        self.relink()

    def _begin(self, name: str, entries: dict[str, SignedEntry], node: NodeId, site: str, *, first: bool) -> None:
        keylog = KeyLog(entries=dict(entries))
        self.names[node] = name
        self.nodes[name] = new_node(
            node=node,
            account=AccountId(keylog.account),
            boot=1,
            name=name,
            place=site,
            keylog=keylog,
            seed=len(self.nodes) + 1,
            now_ns=self.now_ns,
            realms=RealmsAtStart(name=site, founding=first),
        )
        self.scan(name)

    def scan(self, name: str, *, cores: int = 2) -> None:
        """Let the drivers of a node look."""
        milli = cores * 1000
        cpu = Scanned(kind=Kind.CPU, local="0", name="cpu", unit="milli", capacity=milli, free=milli)
        memory = Scanned(kind=Kind.MEMORY, local="0", name="memory", unit="bytes", capacity=4 * GB, free=4 * GB)
        event = ResourcesScanned(
            now_ns=self.now_ns,
            wall_ns=0,
            resources=(cpu, memory),
            facts={"battery": False, "isolation": "process sandbox wasm"},
            addresses=(f"{name}:1",),
        )
        self.feed(name, event)

    # -- time and messages --------------------------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end_ns = self.now_ns + int(seconds * SECOND)
        while self.now_ns < end_ns:
            self.now_ns += DELAY_NS
            while self._queue and self._queue[0][0] <= self.now_ns:
                _, name, event = self._queue.popleft()
                if not isinstance(event, PeerSaid) or frozenset((name, self.names[event.node])) in self.links:
                    self.feed(name, event)
            for name, node in self.nodes.items():
                if node.due_ns <= self.now_ns and name not in self.asleep:
                    self.feed(name, ClockTicked(now_ns=self.now_ns))

    def feed(self, name: str, event: Event) -> None:
        """Let a node take in an event; one that sleeps takes it in when it wakes."""
        if name in self.asleep:
            self._queue.append((self.now_ns + DELAY_NS, name, event))
            return
        for effect in self.nodes[name].handle(_at(event, self.now_ns)):
            self._carry_out(name, effect)

    def _carry_out(self, name: str, effect: Effect) -> None:
        if isinstance(effect, Send):
            target = self.names[effect.node]
            message = wire.decode(wire.encode(effect.message))
            said = PeerSaid(now_ns=0, node=self.nodes[name].node, message=message)
            self._queue.append((self.now_ns + DELAY_NS, target, said))
        elif isinstance(effect, Persist):
            done = Persisted(now_ns=0, realm=effect.realm, number=effect.number)
            self._queue.append((self.now_ns + DELAY_NS, name, done))
        elif isinstance(effect, Notice):
            self.notices.append((name, effect))
        elif isinstance(effect, Tell):
            self.told.append((name, effect.message))
        elif isinstance(effect, Forget):
            self.links.discard(frozenset((name, self.names[effect.node])))
        if type(effect).__name__ in {"Welcome", "Forget"}:
            self.relink()

    def relink(self) -> None:
        """Link all that believe each other and are not cut off; unlink the others."""
        names = sorted(self.nodes)
        for one in names:
            for other in names[names.index(one) + 1 :]:
                self._relink(one, other)

    def _relink(self, one: str, other: str) -> None:
        pair = frozenset((one, other))
        first, second = self.nodes[one], self.nodes[other]
        wanted = first.may_link(second.node) and second.may_link(first.node) and pair not in self.cuts
        if wanted == (pair in self.links):
            return
        (self.links.add if wanted else self.links.discard)(pair)
        for name, peer in ((one, second), (other, first)):
            if not wanted:
                self._queue.append((self.now_ns + DELAY_NS, name, PeerUnlinked(now_ns=0, node=peer.node)))
                continue
            self._queue.append((self.now_ns + DELAY_NS, name, PeerLinked(now_ns=0, node=peer.node, boot=1)))
            measured = PathMeasured(now_ns=0, node=peer.node, rtt_us=500, via="")
            self._queue.append((self.now_ns + DELAY_NS, name, measured))

    def cut(self, some: list[str], others: list[str]) -> None:
        """Cut every way between two groups."""
        self.cuts |= {frozenset((one, other)) for one in some for other in others if one != other}
        self.relink()

    def heal(self) -> None:
        """Open every way."""
        self.cuts.clear()
        self.relink()

    # -- what people do -----------------------------------------------------------------------------------------------------

    def site(self, name: str) -> RealmId:
        return self.nodes[name].realms.site

    def contact(self, name: str) -> Contact:
        contact = self.nodes[name].contact_of(self.nodes[name].node)
        assert contact is not None
        return contact

    def propose(self, name: str, realm: RealmId, command: Command) -> str:
        """Have a command put into a charter by way of a node; return why not, or nothing."""
        self._number += 1
        number = self._number
        event = CharterAsked(
            now_ns=0, client=ClientId("me"), request=number, realm=realm, command=encode_command(command)
        )
        self.feed(name, event)
        for _ in range(100):
            for _, message in self.told:
                if isinstance(message, Answer | Failure) and message.request == number:
                    return message.message if isinstance(message, Failure) else ""
            self.run(0.1)
        return "no answer"

    def found(self, name: str, realm: str, level: Level = Level.ENTERPRISE) -> RealmId:
        """Begin a realm on a node."""
        self.feed(name, RealmFounded(now_ns=0, realm=RealmId(realm), name=realm, level=level, seed=7))
        self.run(1)
        return RealmId(realm)

    def join(self, parent: str, child: str, realm: RealmId, *, level: Level = Level.ENTERPRISE) -> str:
        """Let the site of ``child`` join a realm of the node ``parent``; return why not, or nothing."""
        below, site = self.nodes[child].realms, self.site(child)
        name = below.centers.known[site].name
        council = (self.contact(child),)
        why = self.propose(parent, realm, ChildAdmitted(realm=site, name=name, level=Level.PERSONAL, council=council))
        if why:
            return why
        record = ParentRecord(realm=realm, name=realm, level=level, path=realm, contacts=(self.contact(parent),))
        return self.propose(child, site, ParentAdded(parent=record, lineage=(realm,)))

    def lend(self, name: str) -> str:
        """Let the site of a node lend to kin."""
        return self.propose(name, self.site(name), PolicySet(key="lend", value="kin"))

    def use(self, name: str, *, cores: int = 1, realm: str = "", seconds: float = 6) -> UseGranted | UseRefused | None:
        """Let a program on a node use something; return what it was told."""
        self._number += 1
        use = UseId(f"u{self._number}")
        need = Need(kind="CPU", amount=cores * 1000, realm=realm)
        self.feed(name, UseAsked(now_ns=0, client=ClientId("me"), use=use, needs=(need,), ttl_ns=10 * SECOND, nonce=5))
        for _ in range(int(seconds * 10)):
            for _, message in self.told:
                if isinstance(message, UseGranted | UseRefused) and message.use == use:
                    return message
            self.run(0.1)
        return None

    # -- what there is ------------------------------------------------------------------------------------------------------

    def believed(self, name: str) -> Center | None:
        """Return whom a node takes for the center of its site."""
        return self.nodes[name].realms.centers.known.get(self.site(name))

    def primary(self, *names: str) -> str:
        """Return whom these nodes agree on as the primary of their site."""
        centers = {center.primary.node for name in names if (center := self.believed(name)) is not None}
        assert len(centers) == 1, [(name, self.believed(name)) for name in names]
        return self.names[centers.pop()]


def _at(event: Event, now_ns: int) -> Event:
    import msgspec  # noqa: PLC0415

    return msgspec.structs.replace(event, now_ns=now_ns)
