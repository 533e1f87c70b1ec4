"""A simulated machine: a node with a clock, a disk and a switch. It holds state; the world (world.py) moves it.

On the disk are the device key, the key log and the number of lives, as in a real home. Leases are in memory: a machine that
starts again has granted nothing. A machine that loses its disk is another device when it comes back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from worldos.model.ids import NodeId, short
from worldos.model.wire import PeerMessage
from worldos.node import NEVER_NS, Node
from worldos.ports import Lanes, Wire
from worldos.sim.clock import Clock
from worldos.trust.certs import root_certificate
from worldos.trust.keylog import (
    ClaimAccept,
    KeyLog,
    SignedEntry,
    accept_claim,
    add_device,
    new_account,
    remove_device,
)
from worldos.trust.keys import DeviceKey

if TYPE_CHECKING:
    from worldos.sim.sessions import Stream

RECOVERY_SEED = b"r" * 32


class Machine:
    """One machine of the world, by its number."""

    __slots__ = (
        "boot",
        "clock",
        "due_ns",
        "entries",
        "facts",
        "id",
        "key",
        "lanes",
        "lost",
        "name",
        "node",
        "number",
        "paused",
        "running",
        "size",
        "streams",
        "unsent",
        "up",
        "waiting",
        "wire",
    )

    def __init__(self, number: int, key: DeviceKey, clock: Clock) -> None:
        self.number = number
        self.name = f"n{number}"
        self.key = key
        self.id = NodeId(key.node_id)
        self.clock = clock
        self.entries: dict[str, SignedEntry] = {}
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
        self.streams: dict[NodeId, Stream] = {}  # to whom it has a session now
        self.unsent: dict[NodeId, deque[tuple[int, PeerMessage]]] = {}  # ... and to whom not yet
        self.wire: Wire
        self.lanes: Lanes

    def switch(self, *, up: bool, paused: bool = False) -> None:
        """Switch it on or off, stop it or let it go on."""
        self.up, self.paused, self.running = up, paused, up and not paused

    def __repr__(self) -> str:
        return f"{self.name}({short(self.id)})"


@lru_cache(maxsize=256)
def device_key(number: int) -> DeviceKey:
    """Return the key of the ``number``-th device of every world: making keys is slow, and no decision may depend on them."""
    return DeviceKey.from_seed(number.to_bytes(32, "big"))


@lru_cache(maxsize=256)
def _claim(number: int) -> ClaimAccept:
    key = device_key(number)
    return accept_claim(key, genesis().account, f"n{number}", root_certificate(key), number.to_bytes(32, "big"))


@lru_cache(maxsize=1)
def genesis() -> KeyLog:
    """Return the key log of the account that all worlds share, with nobody in it."""
    log = KeyLog()
    log.merge([new_account(RECOVERY_SEED)])
    return log


@lru_cache(maxsize=64)
def account_of(machines: int) -> dict[str, SignedEntry]:
    """Return the entries of a key log with the first so many devices."""
    log = KeyLog(entries=dict(genesis().entries))
    for number in range(machines):
        log.merge([admission(log, number, signer=None if number == 0 else 0)])
    return log.entries


def admission(log: KeyLog, number: int, *, signer: int | None) -> SignedEntry:
    """Make the entry that admits the ``number``-th device, signed by another or by the recovery key."""
    key = DeviceKey.from_seed(RECOVERY_SEED) if signer is None else device_key(signer)
    return add_device(log, key, _claim(number))


def removal(log: KeyLog, node: str) -> SignedEntry:
    """Make the entry that puts a device out, by the right of the recovery words."""
    return remove_device(log, DeviceKey.from_seed(RECOVERY_SEED), node)
