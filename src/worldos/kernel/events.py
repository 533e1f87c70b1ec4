"""What can happen to a node. Past tense, each with the moment by the node's own steady clock (ns, never compared to another's).

The shell (agent or sim) makes them; ``Node.handle`` takes them in. The journal is a list of them.
"""

from __future__ import annotations

import msgspec

from worldos.model.ids import ClientId, LeaseId, NodeId, UseId
from worldos.model.lend import Felt, Lend
from worldos.model.need import Need
from worldos.model.realm import RealmId
from worldos.model.resource import Fact, Scanned
from worldos.model.statements import Statement
from worldos.model.wire import LogEntry, PeerMessage


class PeerLinked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An authenticated session with a node began. ``boot`` counts that node's lives."""

    now_ns: int
    node: NodeId
    boot: int


class PeerUnlinked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """No path to that node is left (a hint, not the truth: leases and SWIM decide)."""

    now_ns: int
    node: NodeId


class PathMeasured(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The way to a node was measured. ``via`` is empty for a direct path, else the relaying node."""

    now_ns: int
    node: NodeId
    rtt_us: int
    via: str


class PeerSaid(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A message came from a node, over a link that proved who it is."""

    now_ns: int
    node: NodeId
    message: PeerMessage


class ResourcesScanned(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The drivers looked at the machine. ``wall_ns`` is for people's eyes only (history lines), and for lend rules."""

    now_ns: int
    wall_ns: int
    resources: tuple[Scanned, ...]
    facts: dict[str, Fact]
    addresses: tuple[str, ...]
    felt: Felt = Felt()


class LendSet(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The owner said what this machine lends, or an earlier life remembers it."""

    now_ns: int
    lend: Lend


class UseAsked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A program on this machine wants something: one need, or several as a gang (all or none)."""

    now_ns: int
    client: ClientId
    use: UseId
    needs: tuple[Need, ...]
    ttl_ns: int
    nonce: int
    grant: bytes = b""  # what narrows the program, if anything does


class UseEnded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A program gave back all that it had by this use."""

    now_ns: int
    client: ClientId
    use: UseId


class ClientGone(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A program ended, however it ended."""

    now_ns: int
    client: ClientId


class LaneFailed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What stands behind a lease of this node could not be kept up (no folder, no worker starts, ...)."""

    now_ns: int
    lease: LeaseId
    why: str


class KeyLogOffered(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Entries of the key log came from this machine itself: signed here, read from disk, or heard in a beacon."""

    now_ns: int
    entries: tuple[LogEntry, ...]


class StatementsOffered(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Statements came from this machine itself: signed here, or (``stored``) read from its disk at the start."""

    now_ns: int
    statements: tuple[Statement, ...]
    stored: bool = False


class GrantsHeld(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """These grants of other accounts this machine holds now, by account: shown where something of theirs is asked for."""

    now_ns: int
    grants: dict[str, bytes]


class DrainAsked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The owner takes this node out of service (or back in): nothing new is granted, what runs goes on."""

    now_ns: int
    drained: bool


class LeaveAsked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """This node says good-bye to the others and ends its leases."""

    now_ns: int


class Persisted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """All that was to be stored of a council seat, up to this number, is on disk."""

    now_ns: int
    realm: RealmId
    number: int


class CharterAsked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A person on this machine wants a command put into a realm's charter; answered by ``Answer`` or ``Failure``."""

    now_ns: int
    client: ClientId
    request: int
    realm: RealmId
    command: bytes


class RealmFounded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A person on this machine begins an upper realm, with this node as its council, over one that it belongs to."""

    now_ns: int
    realm: RealmId
    name: str
    level: int
    seed: int


class GuardSet(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The owner set something of the guard on this machine, or an earlier life left it (kernel/guard/owner.py)."""

    now_ns: int
    change: bytes


class CommandCarried(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A guarded command was carried out, refused by this machine, or failed (``outcome``: guard/said.Outcome)."""

    now_ns: int
    command: str
    outcome: str
    why: str


class ClockTicked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A deadline that the node named has come."""

    now_ns: int


Event = (
    PeerSaid
    | ClockTicked
    | PathMeasured
    | PeerLinked
    | PeerUnlinked
    | ResourcesScanned
    | LendSet
    | UseAsked
    | UseEnded
    | ClientGone
    | LaneFailed
    | KeyLogOffered
    | StatementsOffered
    | GrantsHeld
    | DrainAsked
    | LeaveAsked
    | Persisted
    | CharterAsked
    | RealmFounded
    | GuardSet
    | CommandCarried
)
