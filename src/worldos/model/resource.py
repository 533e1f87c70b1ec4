"""A resource: anything that can be offered, owned, located, priced, leased and driven by the six verbs.

Amounts are integers in the kind's base unit: CPU and GPU in thousandths of one (milli), Memory, Storage (a folder that
goes with its lease) and Store (room for shares that outlive it) in bytes, Network in bits per second, everything else in pieces.
Prices are micro-WOSCoin for one whole unit (a core, a GPU, a GB, a Mbit/s, a piece) and hour. Source: DESIGN.md sections 1, 7.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from worldos.model.ids import AccountId, NodeId, ResourceId

Fact = int | bool | str
"""The value of an attribute that ``where=`` can compare: sizes in bytes, speeds in units per second, never floats."""


class Kind(StrEnum):
    """What a resource is. Drivers of other packages may offer other kinds; these are the ones that World OS brings."""

    CPU = "CPU"
    MEMORY = "Memory"
    STORAGE = "Storage"
    STORE = "Store"
    NETWORK = "Network"
    GPU = "GPU"
    POWER = "Power"
    CAMERA = "Camera"
    SOUND = "Sound"
    DISPLAY = "Display"


class ResourceState(StrEnum):
    """Where a resource is in its life."""

    AVAILABLE = "available"
    IN_USE = "in use"
    MAINTENANCE = "maintenance"
    OFFLINE = "offline"


class Resource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that a node has.

    ``capacity`` is what there is and ``free`` what may still be leased, both in ``unit``. ``uri`` is
    ``wos://<node id>/<kind in lower case>/<local name>``. ``facts`` are what ``where=`` sees, beside the node's own facts.
    """

    id: ResourceId
    kind: str
    name: str
    node: NodeId
    owner: AccountId
    place: str
    uri: str
    unit: str
    capacity: int
    free: int
    price_uwos: int = 0
    tags: tuple[str, ...] = ()
    facts: dict[str, Fact] = {}
    state: ResourceState = ResourceState.AVAILABLE
    yielding: int = 0  # of what is lent: what would be asked back for who needs it more


class HistoryLine(msgspec.Struct, frozen=True, kw_only=True):
    """One event in a resource's life; ``at_ns`` is the wall clock of its own node, for people only."""

    at_ns: int
    state: ResourceState
    note: str


def kept_to_owner(facts: dict[str, Fact]) -> bool:
    """Tell whether a resource's fact ``for`` keeps it to its owner's account, whatever else its node lends."""
    return facts.get("for") == "me"


class Scanned(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a driver found on this machine: a resource before it has an owner, a node and a place.

    ``local`` names it within the machine and kind (``"0"``, ``"nvme0n1"``) and stays the same over restarts.
    """

    kind: str
    local: str
    name: str
    unit: str
    capacity: int
    free: int
    leasable: bool = True
    tags: tuple[str, ...] = ()
    facts: dict[str, Fact] = {}
