"""Roles: the grants that devices of our account gave to others and told all of us, by holder.

So whoever was given a role needs to show nothing: each node of the account knows it. A role is taken back by revoking its grant
(revocations.py). Invariant: what is here was signed by a member of ours, for a holder, until a time; whether it holds still is
asked each time it is used. Bound: ROLES_MAX; those that ended go first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from worldos.errors import BadSignature, PeerBroke
from worldos.kernel.statements import Verdict
from worldos.model.ids import NodeId, ResourceId
from worldos.model.offer import Offer
from worldos.model.realm import Parent, Text
from worldos.model.rights import Path, covers, resource_path
from worldos.model.statements import Statement
from worldos.trust.limits import GRANT_BYTES_MAX
from worldos.trust.statements import statement_id

if TYPE_CHECKING:
    from worldos.kernel.household import Household

ROLES_MAX: Final = 2048


class RoleGiven(msgspec.Struct, frozen=True, kw_only=True, tag="role", array_like=True):
    """The body of a statement: this grant is a role. ``name`` is what people call its holder, ``account`` whose it is."""

    grant: Annotated[bytes, msgspec.Meta(max_length=GRANT_BYTES_MAX)]
    name: Text
    account: Parent


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """One role, as it is kept. ``id`` is that of the last block of its grant."""

    id: str
    given: RoleGiven
    holder: NodeId
    signer: NodeId
    paths: tuple[Path, ...]
    expires_s: int
    statement: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(RoleGiven).decode


def write_role(given: RoleGiven) -> bytes:
    """Return the body of the statement."""
    return _encode(given)


class Roles(msgspec.Struct, kw_only=True):
    """All roles that were given, by id, and the ids by holder."""

    table: dict[str, Role] = {}
    holders: dict[NodeId, list[str]] = {}

    def of(self, holder: NodeId) -> tuple[bytes, ...]:
        """Return the grants of a holder."""
        return tuple(self.table[role].given.grant for role in self.holders.get(holder, ()))

    def opened(self, offer: Offer, holder: NodeId) -> Offer:
        """Return an offer with what a holder was given open to it: a hint, for the node itself looks at the grant."""
        names = self.given(offer, holder)
        given = tuple(resource for resource in offer.resources if resource.id in names)
        if not given:
            return offer
        rules = msgspec.structs.replace(offer.rules, owners_only=False)
        kept = given if offer.rules.owners_only else offer.resources
        return msgspec.structs.replace(offer, rules=rules, resources=kept)

    def given(self, offer: Offer, holder: NodeId) -> frozenset[ResourceId]:
        """Return the resources of an offer that a holder was given."""
        names = [paths for role in self.holders.get(holder, ()) for paths in self.table[role].paths]
        return frozenset(
            item.id
            for item in offer.resources
            if any(covers(path, resource_path(offer.owner, offer.node, item.kind, item.id)) for path in names)
        )

    def judge(self, now_ns: int, statement: Statement, house: Household) -> Verdict:
        """Take in a role (keeper of ROLE)."""
        if not house.is_member(statement.signer):
            return Verdict(keep=False, why="only devices of our account give roles")
        try:
            given = _decode(statement.body)
            chain = house.authority.checked.read(given.grant)
            granted = house.authority.checked.verify(chain)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, PeerBroke, BadSignature) as error:
            return Verdict(keep=False, why=f"that is no role: {error}")
        now_s = house.wall_s(now_ns)
        if granted.account != house.registry.owner or granted.signer != statement.signer:
            return Verdict(keep=False, why="a role is given by who signed its grant, for our account")
        if now_s and granted.expires_s <= now_s:
            return Verdict(keep=False)
        if granted.blocks[-1] in self.table:
            return Verdict(keep=False)
        dropped = self._drop_ended(now_s) if len(self.table) >= ROLES_MAX else ()
        if len(self.table) >= ROLES_MAX:
            return Verdict(keep=False, why=f"{ROLES_MAX} roles are the most", drop=dropped)
        role = Role(
            id=granted.blocks[-1],
            given=given,
            holder=granted.holder,
            signer=granted.signer,
            paths=granted.paths[-1] if granted.paths else ((granted.account,),),
            expires_s=granted.expires_s,
            statement=statement_id(statement),
        )
        self.table[role.id] = role
        self.holders.setdefault(role.holder, []).append(role.id)
        house.dirty = True
        return Verdict(keep=True, drop=dropped)

    def _drop_ended(self, now_s: int) -> tuple[str, ...]:
        ended = [role for role in self.table.values() if role.expires_s <= now_s]
        for role in ended:
            del self.table[role.id]
            self.holders[role.holder].remove(role.id)
        return tuple(role.statement for role in ended)
