"""What the fuzzers throw at a whole node: whatever a member or a guest says, it goes on, and gives nothing away.

The bytes are a message of a peer, or the body of a statement that a peer signed, of every topic. The node is one of three
devices of an account, whole, as it runs on a machine. It is made anew every so often from a snapshot, so that what was said
before also counts. What passes may change its tables; it may never raise anything, and lease nothing to a stranger.
"""

from __future__ import annotations

import msgspec

from tests.fuzz.said_targets import BODIES
from tests.fuzz.samples import samples
from tests.fuzz.target import Target
from tests.model.test_wire import EXAMPLES
from tests.test_node import CORES, ME, PEER, STRANGER, node_of
from worldos.errors import PeerBroke
from worldos.kernel.effects import OpenLane, Send
from worldos.kernel.events import PeerLinked, PeerSaid
from worldos.kernel.kin import Kinsman
from worldos.model import wire
from worldos.model.ids import NodeId
from worldos.model.limits import NEVER_NS, SECOND
from worldos.model.realm import Contact, RealmId
from worldos.model.statements import Statement, StatementsTold, Topic
from worldos.node import Node
from worldos.sim.machine import device_key
from worldos.trust.statements import sign_statement

ANEW_EVERY = 500
PEERS = (PEER, STRANGER)
KEYS = {NodeId(device_key(number).node_id): device_key(number) for number in range(4)}


class Life:
    """A node that goes on from input to input, and begins again from a snapshot."""

    def __init__(self) -> None:
        node = node_of()
        node.handle(PeerLinked(now_ns=2, node=PEER, boot=1))
        contact = Contact(node=STRANGER, name="x", site=RealmId("elsewhere"), root_cert=b"", addresses=())
        node.realms.kin.table[STRANGER] = Kinsman(contact=contact, reasons={"card": NEVER_NS})
        node.handle(PeerLinked(now_ns=3, node=STRANGER, boot=1))
        self._begin = msgspec.msgpack.encode(node)
        self._inputs = 0
        self.node = node
        self.now_ns = SECOND

    def say(self, peer: NodeId, message: wire.PeerMessage) -> None:
        """Let a peer say something, and see that a stranger gets nothing."""
        self._inputs += 1
        if self._inputs % ANEW_EVERY == 0:
            self.node = msgspec.msgpack.decode(self._begin, type=Node)
            self.now_ns = SECOND
        self.now_ns += SECOND // 10
        effects = self.node.handle(PeerSaid(now_ns=self.now_ns, node=peer, message=message))
        if peer == STRANGER:
            for effect in effects:
                assert not isinstance(effect, OpenLane)
                assert not (isinstance(effect, Send) and isinstance(effect.message, wire.LeaseGranted))


LIFE = Life()
TOPICS = tuple(Topic)


def said(data: bytes) -> None:
    """A message of a member, then of a stranger."""
    try:
        message = wire.decode(data)
    except PeerBroke:
        return
    for peer in PEERS:
        LIFE.say(peer, message)


def stated(data: bytes) -> None:
    """The body of a statement of any topic, well signed by a member or by a guest."""
    topic, signer = TOPICS[data[0] % len(TOPICS)] if data else TOPICS[0], PEERS[len(data) & 1]
    statement: Statement = sign_statement(KEYS[signer], topic, data[1:])
    LIFE.say(PEER, StatementsTold(statements=(statement,)))
    LIFE.say(STRANGER, StatementsTold(statements=(statement,)))


def _about(data: bytes) -> tuple[bytes, ...]:
    """Let a message that was made of its type be about nodes that are there."""
    return tuple(dict.fromkeys(data.replace(b"a" * 52, node.encode()) for node in (ME, PEER, STRANGER)))


_SAMPLES = [body for _, kind in BODIES.values() for body in samples(kind)]
_BODIES = (b"\x80", *(each for body in _SAMPLES for each in _about(body)))
_SAID = [each for message in samples(wire.PeerMessage) for each in _about(message)]

TARGETS: dict[str, Target] = {
    "node": Target(said, (*(wire.encode(each) for each in EXAMPLES), *_SAID), slow=True),
    "stated": Target(
        stated, tuple(bytes([number]) + body for number in range(len(TOPICS)) for body in _BODIES), slow=True
    ),
}
assert {ME, PEER, STRANGER} <= set(KEYS)
assert CORES.free
