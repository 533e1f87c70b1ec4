"""Members: what the history of a key log comes to: who may act for the account, and which devices ever could.

A pure function of the set of entries. A device is a member while one of its admissions counts and no removal that counts
undoes it; of several admissions at once a ripe one speaks.
"""

from __future__ import annotations

import enum

import msgspec

from worldos.model.ids import AccountId, NodeId
from worldos.trust.entries import AddDevice
from worldos.trust.history import RECOVERY_WEIGHT, History, bits
from worldos.trust.standing import grounded

BY_RECOVERY = "recovery"


class DeviceStatus(enum.StrEnum):
    """Whether a device may act for its account."""

    ACTIVE = "active"
    REVOKED = "revoked"


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A device that was once rightly admitted; ``added_by`` is a node id or ``"recovery"``.

    ``young``: admitted by a device alone, and not ripe yet (``history``). It may do what is of class 0 and 1, and put
    nobody out that is not young itself.
    """

    node: NodeId
    name: str
    root_cert: bytes
    added_by: str
    status: DeviceStatus
    young: bool = False


class Members(msgspec.Struct, frozen=True, kw_only=True):
    """All devices of an account, active and revoked, in order of their ids."""

    account: AccountId
    devices: tuple[Device, ...]

    @property
    def active(self) -> tuple[Device, ...]:
        """The devices that may act: their roots are the trust anchors."""
        return tuple(device for device in self.devices if device.status is DeviceStatus.ACTIVE)

    def get(self, node: str) -> Device | None:
        """Return the device of this id, active or revoked."""
        return next((device for device in self.devices if device.node == node), None)


class View(msgspec.Struct, frozen=True):
    """What the log comes to: the members, the warrants of all keys that may act, of devices, and what counts."""

    members: Members
    keys: dict[str, int]
    warrants: dict[NodeId, int]
    live: int
    counting: int


def view_of(history: History) -> View:
    """Work out what a history comes to."""
    firm, void = grounded(history)
    counting = firm | (history.removal_places & ~void)
    devices: list[Device] = []
    keys: dict[str, int] = {}
    everywhere = 0
    for key in sorted(history.adds):
        valid = history.adds[key] & firm
        live = _live(history, key, valid, counting)
        valid = valid or _vetoed(history, key, counting)
        if not valid:
            continue
        # Of several admissions at once a ripe one speaks; its hash decides between equals.
        choice = list(bits(live or valid))
        place = choice[0]
        if len(choice) > 1:
            place = min(choice, key=lambda at: (not history.is_ripe(at, counting), history.hashes[at]))
        if live:
            keys[key] = place
            everywhere |= live
        if isinstance(history.entries[place], AddDevice):
            young = bool(live) and not history.is_ripe(place, counting)
            devices.append(_device(history, place, DeviceStatus.ACTIVE if live else DeviceStatus.REVOKED, young=young))
    account = history.account if history.entries else AccountId("")
    warrants = {NodeId(key): place for key, place in keys.items() if isinstance(history.entries[place], AddDevice)}
    return View(Members(account=account, devices=tuple(devices)), keys, warrants, everywhere, counting)


def _live(history: History, key: str, valid: int, counting: int) -> int:
    """Return those admissions that no removal of this key undoes."""
    removals = history.removals.get(key, 0) & counting
    live = 0
    for place in bits(valid & ~history.ended):
        if not any(history.undoes(removal, place) for removal in bits(removals)):
            live |= 1 << place
    return live


def _vetoed(history: History, key: str, counting: int) -> int:
    """Return those admissions that were known when a removal struck them: such a device is shown as revoked."""
    found = 0
    for place in bits(history.adds[key]):
        if any(history.past[removal] >> place & 1 for removal in bits(history.strikers(place) & counting)):
            found |= 1 << place
    return found


def _device(history: History, place: int, status: DeviceStatus, *, young: bool) -> Device:
    add = history.entries[place]
    assert isinstance(add, AddDevice)
    strong = history.weights[place] >= RECOVERY_WEIGHT
    return Device(
        node=add.device,
        name=add.name,
        root_cert=add.root_cert,
        added_by=BY_RECOVERY if strong else history.signers[place],
        status=status,
        young=young,
    )
