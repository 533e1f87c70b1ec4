"""Tenancies: small leases of stores of other accounts, kept so that what lies there can be reached.

A site with few devices has nowhere of its own to spread its shares to. Where the realm above lends stores, this node holds a
lease in as many as the site lacks: it keeps them linked, and has the order ``stores`` list them beside those of the site. Which
they were is remembered over lives, for what was put there is to be read there again; a program that puts leases room itself.
Nothing is asked for before a program asks for stores, and who refused is asked again ever later.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from worldos.agent import home as homes
from worldos.errors import DiskFull
from worldos.kernel.events import Event, UseAsked
from worldos.model.ids import ClientId, LeaseId, NodeId, UseId
from worldos.model.limits import LEASE_TTL_DEFAULT_NS, SECOND
from worldos.model.local import LeaseAdded, LeaseLost, UseGranted, UseRefused
from worldos.model.need import All, Compare, LeaseTerms, Need
from worldos.model.resource import Kind, ResourceState

if TYPE_CHECKING:
    from worldos.node import Node

TENANT: Final = ClientId("tenant")
DEVICES_MIN: Final = 4  # with fewer stores of its own a site looks for others
TENANCY_BYTES: Final = 1 << 20
RETRY_NS: Final = 2 * SECOND  # after a refusal; each time doubled, up to the next
RETRY_NS_MAX: Final = 32 * SECOND
REMEMBERED_MAX: Final = 16

_Remembered = Annotated[list[NodeId], msgspec.Meta(max_length=REMEMBERED_MAX)]


class Tenancies:
    """The stores of others that one node is a tenant of."""

    def __init__(self, file: Path, node: Node, feed: Callable[[Event], None]) -> None:
        self._file = file
        self._node = node
        self._feed = feed
        self._remembered: list[NodeId] | None = None
        self._held: dict[LeaseId, LeaseTerms] = {}
        self._asked: dict[UseId, NodeId | None] = {}
        self._again_ns: dict[NodeId | None, tuple[int, int]] = {}  # when each is asked again, and how long that was
        self._number = 0

    def look(self, now_ns: int, nonce: int) -> None:
        """Ask for what is missing: the stores of before, and others if the site has too few."""
        if not self._node.uses.looks_further:
            return
        there = {terms.node for terms in self._held.values()}
        for node in self._known():
            if node not in there:
                self._ask(now_ns, nonce, node, Need(kind=Kind.STORE, amount=TENANCY_BYTES, near=node))
        own = self._own_stores()
        if len(own) + len({*there, *self._known()}) < DEVICES_MIN:
            names = sorted({*own.values(), *self._names(there)})
            others = All(tuple(Compare("name", "!=", name) for name in names))
            self._ask(now_ns, nonce, None, Need(kind=Kind.STORE, amount=TENANCY_BYTES, where=others))

    def heard(self, message: object) -> None:
        """Take in what the node says to this client."""
        match message:
            case UseGranted():
                self._asked.pop(message.use, None)
                for terms in message.leases:
                    self._take(terms)
            case LeaseAdded():
                self._take(message.terms)
            case UseRefused():
                self._asked.pop(message.use, None)
            case LeaseLost():
                self._held.pop(message.lease, None)
            case _:
                pass

    def _ask(self, now_ns: int, nonce: int, node: NodeId | None, need: Need) -> None:
        again_ns, waited_ns = self._again_ns.get(node, (0, 0))
        if node in self._asked.values() or now_ns < again_ns:
            return
        wait_ns = min(RETRY_NS_MAX, max(RETRY_NS, 2 * waited_ns))
        self._again_ns[node] = (now_ns + wait_ns, wait_ns)
        self._number += 1
        use = UseId(f"tenancy-{self._number}")
        self._asked[use] = node
        self._feed(
            UseAsked(now_ns=now_ns, client=TENANT, use=use, needs=(need,), ttl_ns=LEASE_TTL_DEFAULT_NS, nonce=nonce)
        )

    def _take(self, terms: LeaseTerms) -> None:
        self._held[terms.lease] = terms
        self._again_ns.pop(terms.node, None)
        self._again_ns.pop(None, None)
        known = self._known()
        if terms.node not in known and not self._node.is_member(terms.node):
            known.append(terms.node)
            del known[:-REMEMBERED_MAX]
            with suppress(DiskFull):  # it is found again, or another
                homes.make_folder(self._file.parent)
                homes.write_durably(self._file, msgspec.msgpack.encode(known))

    def _known(self) -> list[NodeId]:
        if self._remembered is None:
            self._remembered = []
            with suppress(OSError, msgspec.DecodeError):
                self._remembered = msgspec.msgpack.decode(self._file.read_bytes(), type=_Remembered)
        return self._remembered

    def _own_stores(self) -> dict[NodeId, str]:
        """Return the nodes of this site that keep files, by name."""
        return {
            offer.node: offer.name
            for offer in self._node.site_offers().values()
            if any(r.kind == Kind.STORE and r.state is not ResourceState.OFFLINE for r in offer.resources)
        }

    def _names(self, nodes: set[NodeId]) -> list[str]:
        contacts = [self._node.realms.kin.contact(node) for node in nodes]
        return [contact.name for contact in contacts if contact is not None]
