"""The epochs' keys on this machine: opened with its hybrid key, made where none can be used, sealed to who lacks it.

The seed of the hybrid key lies in ``hybrid.key`` of the home (mode 0600), made once; the keys of epochs are in memory alone,
opened again at each start from what is told of them. A device says at the start of each life which it is
(``kernel/clones.py``) and what is sealed to it. Once a second it looks: whoever can use no epoch makes one, the first of the
linked devices at once and each further one a little later, so that mostly one is made.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from worldos.agent.home import write_durably
from worldos.errors import CorruptFile, Damaged, NotAllowed
from worldos.home import Home
from worldos.kernel.clones import LIFE_BYTES, tell_device
from worldos.kernel.epochs import Epoch
from worldos.model.ids import NodeId
from worldos.model.statements import Topic
from worldos.node import Node
from worldos.trust.epochs import KEY_BYTES, epoch_id, open_epoch, tell_epoch
from worldos.trust.hybrid import SEED_BYTES, HybridKey
from worldos.trust.keys import public_of

STEP_S = 1.0
TURN_STEPS = 3  # so many looks later the next device makes the epoch that is missing

State = Callable[[Topic, bytes], str]


class EpochKeys:
    """What this device can open, and what it tells others. ``begin`` it once the node has its statements."""

    def __init__(self, home: Home, node: Node, state: State) -> None:
        self.hybrid = open_hybrid(home)
        self._node = node
        self._state = state
        self._keys: dict[bytes, bytes] = {}
        self._lies: set[bytes] = set()
        self._steps_without = 0

    def begin(self) -> None:
        """Say that a life begins."""
        life = secrets.token_bytes(LIFE_BYTES)
        self._state(Topic.DEVICE, tell_device(self._node.boot, life, self.hybrid.public))

    def step(self) -> None:
        """Look once: make an epoch if it is this device's turn, and seal the one in use to who lacks it."""
        now = self.current_of_table()
        if now is None:
            turn = [*self._node.alive(), self._node.node].index(self._node.node)
            self._steps_without += 1
            if self._steps_without > turn * TURN_STEPS:
                self._make()
            return
        self._steps_without = 0
        self._share(now)

    def current(self) -> tuple[bytes, bytes]:
        """Return the id and the key of the epoch to write under, which all who are here can open; one is made if need be."""
        epoch = self.current_of_table()
        if epoch is None:
            self._make()
            epoch = self.current_of_table()
        if epoch is None:
            raise NotAllowed("this device shares no key with your others", hint="is it one of yours still? wos devices")
        self._share(epoch)
        return epoch.id, self._keys[epoch.id]

    def key_of(self, epoch: bytes) -> bytes | None:
        """Return the key of an epoch, if this device was ever given it."""
        known = self._node.epochs.table.get(epoch.hex())
        return self._opened(known) if known is not None else None

    def current_of_table(self) -> Epoch | None:
        """Return the epoch to write under as far as it is known here; nothing is made."""
        usable = self._node.epochs.usable(self._acts)
        return next((epoch for epoch in usable if self._opened(epoch) is not None), None)

    def _opened(self, epoch: Epoch) -> bytes | None:
        known = self._keys.get(epoch.id)
        if known is not None or epoch.id in self._lies or self._node.node not in epoch.wraps:
            return known
        device = public_of(self._node.node)
        try:
            opened = open_epoch(epoch.as_told(self._node.node, device), device, self.hybrid)
        except Damaged:  # made by a device in error, or for a hybrid key that this one had before
            self._lies.add(epoch.id)
            return None
        if opened is not None:
            self._keys[epoch.id] = opened
        return opened

    def _share(self, epoch: Epoch) -> None:
        """Seal an epoch to the devices that lack it."""
        lacking = [node for node in self._sealable() if node not in epoch.wraps]
        if lacking:
            self._tell(epoch.number, self._keys[epoch.id], lacking)

    def _make(self) -> None:
        number, key = self._node.epochs.next_number(), secrets.token_bytes(KEY_BYTES)
        self._keys[epoch_id(number, key)] = key
        self._tell(number, key, self._sealable())

    def _tell(self, number: int, key: bytes, nodes: list[NodeId]) -> None:
        publics = [(node, self._node.clones.public_of(node)) for node in nodes]
        for body in tell_epoch(number, key, [(node, public) for node, public in publics if public is not None]):
            self._state(Topic.EPOCH, body)

    def _acts(self, node: NodeId) -> bool:
        return self._node.is_member(node) and node not in self._node.clones.cloned

    def _sealable(self) -> list[NodeId]:
        """Return the devices of the account whose hybrid key is known, and which are no clones."""
        active = [device.node for device in self._node.keylog.members().active]
        return [node for node in active if self._node.clones.public_of(node) is not None]


def open_hybrid(home: Home) -> HybridKey:
    """Read the hybrid key of this machine, or make one."""
    try:
        seed = home.hybrid_file.read_bytes()
    except FileNotFoundError:
        seed = secrets.token_bytes(SEED_BYTES)
        write_durably(home.hybrid_file, seed)
    except OSError as cause:
        raise CorruptFile(f"{home.hybrid_file} cannot be read") from cause
    if len(seed) != SEED_BYTES:
        hint = f"move it away: mv {home.hybrid_file} {home.hybrid_file}.damaged; the other devices seal to the new one"
        raise CorruptFile(f"{home.hybrid_file} has {len(seed)} bytes, not {SEED_BYTES}", hint=hint)
    if home.hybrid_file.stat().st_mode & 0o077:
        home.hybrid_file.chmod(0o600)
    return HybridKey(seed)
