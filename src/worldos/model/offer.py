"""An offer: what one node can give now, and under which of its own rules. Told by the node itself, whole, when it changed."""

from __future__ import annotations

import msgspec

from worldos.model.ids import AccountId, NodeId
from worldos.model.lend import Lent
from worldos.model.resource import Fact, Resource


class OfferRules(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The provider's conditions. Both sides must agree: a need that breaks one is not feasible here.

    ``limited``: its owner has lend rules; then other accounts have what is in ``lent``, and no more.
    """

    open: bool = True  # False: maintenance, nothing new is granted
    not_on_battery: bool = False
    owners_only: bool = True  # only needs of the node's own account
    price_min_uwos: int = 0
    limited: bool = False
    lent: tuple[Lent, ...] = ()


class Offer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that a node offers. ``(boot, number)`` orders the offers of one node; the larger one is newer.

    ``facts`` hold for the node as a whole (``arch``, ``os``, ``cores``, ``memory``, ``battery``, ``load_percent``,
    ``speed_mips`` ...). ``granted_milli`` is the CPU that is leased, in thousandths of a core.
    """

    node: NodeId
    name: str
    owner: AccountId
    place: str
    boot: int
    number: int
    resources: tuple[Resource, ...]
    facts: dict[str, Fact]
    rules: OfferRules = OfferRules()
    addresses: tuple[str, ...] = ()
