"""A simulated machine: a node with a clock, a disk and a switch. It holds state; the world (world.py) moves it.

On the disk are the device key, the key log, the number of lives and the council seats, as in a real home. Leases are in memory:
a machine that starts again has granted nothing. A machine that loses its disk is another device when it comes back. A *site* is
the machines of one account at one place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from worldos.model.ids import AccountId, NodeId, short
from worldos.model.statements import Statement
from worldos.model.wire import Message
from worldos.node import NEVER_NS, Node
from worldos.ports import Lanes, Wire
from worldos.sim.clock import Clock
from worldos.trust.certs import root_certificate
from worldos.trust.entries import AddDevice
from worldos.trust.keylog import (
    ClaimAccept,
    KeyLog,
    SignedEntry,
    accept_claim,
    add_device,
    new_account,
)
from worldos.trust.keys import DeviceKey
from worldos.trust.sayings import remove_key

if TYPE_CHECKING:
    from worldos.sim.seats import Seats
    from worldos.sim.sessions import Stream
    from worldos.sim.work_door import WorkDoor

KEYS_KEPT: Final = 1 << 14  # of so many machines, the largest worlds have


class Place(NamedTuple):
    """Where a site is: what light in fibre needs from the origin, along two axes, in microseconds."""

    east_us: int = 0
    north_us: int = 0


class Site:
    """The machines of one account, at one place."""

    __slots__ = ("account", "machines", "name", "number", "place")

    def __init__(self, number: int, place: Place) -> None:
        self.number = number
        self.name = f"s{number}"
        self.place = place
        self.account = genesis(number).account
        self.machines: list[Machine] = []

    def __repr__(self) -> str:
        return self.name


class Machine:
    """One machine of the world, by its number."""

    __slots__ = (
        "boot",
        "clock",
        "due_ns",
        "entries",
        "facts",
        "guard",
        "id",
        "key",
        "lanes",
        "lost",
        "name",
        "node",
        "number",
        "owner",
        "paused",
        "peers",
        "running",
        "seats",
        "site",
        "size",
        "statements",
        "streams",
        "unsent",
        "up",
        "waiting",
        "welcomed",
        "wire",
        "work",
    )

    def __init__(self, number: int, key: DeviceKey, clock: Clock, site: Site) -> None:
        self.number = number
        self.owner = ""  # the account that the work takes it for a machine of; empty: ours
        self.site = site
        self.name = f"n{number}"
        self.key = key
        self.id = NodeId(key.node_id)
        self.clock = clock
        self.entries: dict[str, SignedEntry] = {}
        self.statements: dict[str, Statement] = {}
        self.guard = b""  # what its guard leaves to the next life (kernel/guard/owner.py)
        self.boot = 0
        self.node: Node | None = None
        self.up = False
        self.paused = False
        self.running = False  # up and not paused: its node can take in events
        self.lost = False  # with its disk: this device never comes back
        self.waiting: list[Callable[[], None]] = []  # what happens to it once it goes on
        self.due_ns = NEVER_NS  # when it will be woken, by its own clock
        self.size: tuple[int, int] = (2000, 4 << 30)  # thousandths of a core, bytes of memory
        self.facts: dict[str, int | bool | str] = {}
        self.peers: list[Machine] = []  # with whom it may want a link, by their numbers: of its site, and welcomed
        self.welcomed: set[NodeId] = set()  # the nodes of other accounts that it believes, in this life
        self.streams: dict[NodeId, Stream] = {}  # to whom it has a session now
        self.unsent: dict[NodeId, deque[tuple[int, Message]]] = {}  # ... and to whom not yet
        self.seats: Seats
        self.wire: Wire
        self.lanes: Lanes
        self.work: WorkDoor | None = None  # of this life, in worlds that keep work

    def switch(self, *, up: bool, paused: bool = False) -> None:
        """Switch it on or off, stop it or let it go on."""
        self.up, self.paused, self.running = up, paused, up and not paused

    def believes(self, node: NodeId) -> bool:
        """Tell whether it takes and makes links to this node."""
        assert self.node is not None
        return node in self.welcomed or self.node.is_member(node)

    def __repr__(self) -> str:
        return f"{self.name}({short(self.id)})"


@lru_cache(maxsize=KEYS_KEPT)
def device_key(number: int) -> DeviceKey:
    """Return the key of the ``number``-th device of every world: making keys is slow, and no decision may depend on them."""
    return DeviceKey.from_seed(number.to_bytes(32, "big"))


def _recovery_seed(site: int) -> bytes:
    return b"r" * 24 + site.to_bytes(8, "big")


def _recovery_key(site: int) -> DeviceKey:
    return DeviceKey.from_seed(_recovery_seed(site))


@lru_cache(maxsize=KEYS_KEPT)
def root_of(number: int) -> bytes:
    """Return the root certificate of the ``number``-th device."""
    return root_certificate(device_key(number))


@lru_cache(maxsize=KEYS_KEPT)
def _claim(number: int, account: AccountId) -> ClaimAccept:
    return accept_claim(device_key(number), account, f"n{number}", root_of(number), number.to_bytes(32, "big"))


@lru_cache(maxsize=KEYS_KEPT)
def genesis(site: int = 0) -> KeyLog:
    """Return the key log of the account that all worlds have at this site, with nobody in it."""
    log = KeyLog()
    log.merge([new_account(_recovery_seed(site))])
    return log


@lru_cache(maxsize=KEYS_KEPT)
def account_of(machines: int, *, site: int = 0, first: int = 0) -> dict[str, SignedEntry]:
    """Return the entries of a site's key log with so many devices, numbered from ``first``."""
    log = KeyLog(entries=dict(genesis(site).entries))
    for number in range(first, first + machines):
        log.merge([admission(log, number, signer=None if number == first else first, site=site)])
    return log.entries


def admission(log: KeyLog, number: int, *, signer: int | None, site: int = 0) -> SignedEntry:
    """Make the entry that admits the ``number``-th device, signed by another or by the recovery key."""
    key = _recovery_key(site) if signer is None else device_key(signer)
    return add_device(log, key, _claim(number, log.account))


def removal(log: KeyLog, node: str, *, site: int = 0) -> SignedEntry:
    """Make the entry that puts a device out, by the right of the recovery words; those that it admitted stay."""
    history = log.history
    admitted = [at for at, signer in enumerate(history.signers) if signer == node]
    keep = tuple(history.hashes[at] for at in admitted if isinstance(history.entries[at], AddDevice))
    return remove_key(log, _recovery_key(site), node, keep)
