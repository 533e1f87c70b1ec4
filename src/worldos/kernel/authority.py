"""Authority: who may do what on this node, said in one place. Every door asks it.

A device of our account is an owner, by the key log; while it is young, or in quarantine, only up to a class. Everybody else may
do what a grant says whose first block a device of our account signed, shown with what is asked or known here as a role
(roles.py), or lease what this site lends to those whom its center sends. The default is no. A grant that a member shows
narrows that member: it is what a program of its own has left.

A grant of somebody else for what is costly and worse holds only while what is known here of revocations is fresh. What was leased
by a grant is looked at again when it is renewed, and when a grant, a role or a device is revoked.

Invariant: a ruling that allows names what allowed it, one that refuses says why. Times in ns of the node's clock; grants are for
unix seconds, which this node knows from its own machine alone. Source: DESIGN.md section 10, decision record 0024.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from worldos.errors import BadSignature, NotAllowed, PeerBroke
from worldos.kernel.effects import Effect
from worldos.kernel.rates import Rates
from worldos.kernel.realms import GUEST
from worldos.kernel.revocations import STALE_NS, Revocations
from worldos.kernel.roles import Roles
from worldos.model.ids import AccountId, LeaseId, NodeId, ResourceId
from worldos.model.limits import RESOURCES_PER_NODE_MAX, SECOND
from worldos.model.need import Need
from worldos.model.realm import Level
from worldos.model.rights import Impact, Op, Path, impact_of_kind, op_of_kind, resource_path
from worldos.model.wire import LeaseAsk
from worldos.trust.grant import Grants, check_chain

if TYPE_CHECKING:
    from worldos.kernel.household import Household
    from worldos.trust.grant import Authority as Granted

BY_SELF: Final = "this machine itself"
BY_LOG: Final = "key log"
BY_GRANT: Final = "grant"
BY_LEND: Final = "lend"
BY_DEFAULT: Final = "default"
BY_YOUTH: Final = "young"
BY_QUARANTINE: Final = "quarantine"
NOT_LENT: Final = "this node lends to its own account only"
LEASED_MAX: Final = 65_536
ID_SHOWN: Final = 12
PATH_SHOWN: Final = 3  # who reads a refusal knows the account and the node
RESOURCES_MAX: Final = RESOURCES_PER_NODE_MAX + 1  # more than there are: what names more is refused for that


class Asked(NamedTuple):
    """What somebody asks of this node, and the grant that is shown for it."""

    principal: NodeId
    op: Op
    path: Path
    impact: Impact
    grant: bytes = b""


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided of one thing that somebody asked. ``by``: the rule that decided; ``why``: a sentence about it."""

    allowed: bool
    by: str
    why: str
    principal: NodeId
    op: Op
    path: Path
    impact: Impact
    grant: bytes = b""  # which allowed it


class Warden(msgspec.Struct, kw_only=True):
    """What this node knows of rights beside the key log. ``leased`` has the grant by which others lease here."""

    roles: Roles = msgspec.field(default_factory=Roles)
    revocations: Revocations = msgspec.field(default_factory=Revocations)
    checked: Grants = msgspec.field(default_factory=Grants)
    leased: dict[LeaseId, bytes] = {}
    rates: Rates = msgspec.field(default_factory=Rates)

    def judge(
        self,
        now_ns: int,
        principal: NodeId,
        op: Op,
        path: Path,
        impact: Impact,
        house: Household,
        grant: bytes = b"",
    ) -> Ruling:
        """Say whether a node may do this here; ``grant`` is what it shows for it. It counts as asked (quarantine.py)."""
        asked = Asked(principal, op, path, impact, grant)
        narrowed = _narrowed(now_ns, asked, house)
        return narrowed if narrowed is not None else self._counted(now_ns, self.weigh(now_ns, asked, house))

    def judge_lease(
        self,
        now_ns: int,
        peer: NodeId,
        need: Need,
        resources: Sequence[ResourceId],
        house: Household,
        grant: bytes = b"",
    ) -> Ruling:
        """Say whether a node may have this lease: by its own rights, by a grant, or because this site lends."""
        asked = Asked(peer, op_of_kind(need.kind), _path(house, need, ""), impact_of_kind(need.kind), grant)
        narrowed = _narrowed(now_ns, asked, house)
        if narrowed is not None:
            return narrowed
        return self._counted(now_ns, self._weigh_lease(now_ns, asked, need, resources, house))

    def weigh(self, now_ns: int, asked: Asked, house: Household, *, here: bool = True) -> Ruling:
        """Say what the rules come to, without counting that it was asked: for who only wants to know.

        ``here``: it is asked of this node; else of another of the account, where this one is a member like others.
        """
        principal, impact, grant = asked.principal, asked.impact, asked.grant
        if principal == house.node and here:
            if not grant:
                return _yes(asked, BY_SELF, "")
        elif house.is_member(principal):
            if impact > Impact.REVERSIBLE and _is_young(principal, house):
                return _no(asked, BY_YOUTH, "this device is young: it does only what can be taken back")
            if not grant:
                return _yes(asked, BY_LOG, "it is a device of this account")
        elif house.realms.kin.is_barred(principal):
            return _no(asked, BY_DEFAULT, "its account put this device out")
        said = ""
        for shown in (grant,) if grant else self.roles.of(principal):
            why, name = self._weigh_grant(now_ns, asked, shown, house)
            if name:
                return msgspec.structs.replace(_yes(asked, BY_GRANT, name), grant=shown)
            said = why
        return _no(asked, BY_GRANT, said) if said else _no(asked, BY_DEFAULT, NOT_LENT)

    def granted(self, holder: NodeId, ask: LeaseAsk, house: Household) -> None:
        """Remember by which grant a lease was given, so that it ends with it."""
        lease = house.leases.answered.get(f"{holder}:{ask.ask}")
        if lease is None or lease in self.leased:
            return
        if len(self.leased) >= LEASED_MAX:
            self.leased = {known: grant for known, grant in self.leased.items() if known in house.leases.leases}
        self.leased[lease] = ask.grant

    def renewal(self, now_ns: int, lease: LeaseId, house: Household) -> list[Effect]:
        """Look at a lease again that was given by a grant; end it where nothing allows it any more."""
        entry, grant = house.leases.leases.get(lease), self.leased.get(lease)
        if entry is None or grant is None:
            self.leased.pop(lease, None)
            return []
        need = entry.terms.need
        asked = Asked(entry.holder, op_of_kind(need.kind), _path(house, need, ""), impact_of_kind(need.kind), grant)
        ruling = self._weigh_lease(now_ns, asked, need, entry.terms.resources, house)
        if ruling.allowed:
            return []
        del self.leased[lease]
        house.dirty = True
        return house.leases.fail(lease, ruling.why)

    def look_again(self, now_ns: int, house: Household) -> list[Effect]:
        """A grant, a role or a device was revoked: end the leases that nothing allows any more."""
        return [effect for lease in sorted(self.leased) for effect in self.renewal(now_ns, lease, house)]

    def check(self, now_ns: int, principal: NodeId, grant: bytes, house: Household) -> Granted:
        """Return what a grant gives to its holder here and now; PeerBroke, BadSignature or NotAllowed where it gives nothing."""
        chain = self.checked.read(grant)

        def may_grant(account: AccountId, device: NodeId) -> bool:
            return account == house.registry.owner and house.is_member(device)

        granted = check_chain(chain, root_key_ok=may_grant, now_s=house.wall_s(now_ns), cache=self.checked)
        if granted.holder != principal:
            raise NotAllowed("the grant is for another holder")
        if granted.epoch < self.revocations.epoch(house):
            raise NotAllowed("the grant is from before all grants were revoked")
        if self.revocations.revoked(chain, granted.blocks, house):
            raise NotAllowed("the grant was revoked")
        return granted

    def _weigh_lease(
        self, now_ns: int, asked: Asked, need: Need, resources: Sequence[ResourceId], house: Household
    ) -> Ruling:
        if not asked.grant and (asked.principal == house.node or house.is_member(asked.principal)):
            return self.weigh(now_ns, asked, house)  # it may do so with all that is here
        paths = [_path(house, need, resource) for resource in resources[:RESOURCES_MAX]] or [asked.path]
        first = ruling = self.weigh(now_ns, asked._replace(path=paths[0]), house)
        for path in paths[1:]:
            if not ruling.allowed:
                break  # a bad grant costs its signatures once, however many things it is shown for
            ruling = self.weigh(now_ns, asked._replace(path=path), house)
        ruling = first if ruling.allowed else ruling
        if ruling.allowed or asked.grant or asked.impact > Impact.REVERSIBLE:
            return ruling
        if GUEST in house.realms.kin.reasons(asked.principal) and house.registry.lends_all(resources):
            return _yes(asked, BY_LEND, "this site lends to those whom its center sends")
        return ruling

    def _counted(self, now_ns: int, ruling: Ruling) -> Ruling:
        """Count what a grant allows against its rates."""
        rates = self.checked.verify(self.checked.read(ruling.grant)).rates if ruling.grant else ()
        why = self.rates.take(now_ns, rates) if rates else ""
        return msgspec.structs.replace(ruling, allowed=False, why=why) if why else ruling

    def _weigh_grant(self, now_ns: int, asked: Asked, grant: bytes, house: Household) -> tuple[str, str]:
        """Return why a grant does not allow this, or nothing and what it is called."""
        try:
            granted = self.check(now_ns, asked.principal, grant, house)
        except (PeerBroke, BadSignature, NotAllowed) as error:
            return str(error), ""
        if asked.impact > Impact.REVERSIBLE and not house.is_member(asked.principal):
            stale = self._stale(now_ns, asked.impact, house, granted.signer)
            if stale:
                return stale, ""
        refusal = granted.allows(asked.op, asked.path, asked.impact, level_of(house), house.wall_s(now_ns))
        if refusal is not None:
            return refusal.why.replace("/".join(asked.path), "/".join(asked.path[PATH_SHOWN:]) or "all of it"), ""
        is_held_back = asked.impact > house.quarantine.ceiling(granted.signer).cls
        if is_held_back or (asked.impact > Impact.REVERSIBLE and _is_young(granted.signer, house)):
            return "the device that granted this may not do it itself", ""
        return "", f"{'/'.join(granted.roles) or 'grant'} {granted.blocks[-1][:ID_SHOWN]}"

    def _stale(self, now_ns: int, impact: Impact, house: Household, signer: NodeId) -> str:
        stale_ns, bound_ns = self.revocations.stale_ns(now_ns, house, signer), STALE_NS[level_of(house)]
        if stale_ns <= bound_ns:
            return ""
        return (
            f"what is known here of revocations is {stale_ns // SECOND} s old; for class {int(impact)} it may be"
            f" {bound_ns // SECOND} s"
        )


def level_of(house: Household) -> Level:
    """Return how much the site of this node holds together."""
    center = house.realms.centers.known.get(house.realms.site)
    return center.level if center is not None else house.realms.level


def _narrowed(now_ns: int, asked: Asked, house: Household) -> Ruling | None:
    """Count that this was asked; refuse what a quarantine does not leave."""
    if asked.principal == house.node:
        return None
    why = house.quarantine.refusal(now_ns, asked.principal, asked.impact)
    return _no(asked, BY_QUARANTINE, why) if why else None


def _is_young(device: NodeId, house: Household) -> bool:
    known = house.keylog.members().get(device)
    return known is not None and known.young


def _path(house: Household, need: Need, resource: str) -> Path:
    return resource_path(house.registry.owner, house.node, need.kind, resource)


def _yes(asked: Asked, by: str, why: str) -> Ruling:
    return _ruling(asked, by, why, allowed=True)


def _no(asked: Asked, by: str, why: str) -> Ruling:
    return _ruling(asked, by, why, allowed=False)


def _ruling(asked: Asked, by: str, why: str, *, allowed: bool) -> Ruling:
    principal, op, path, impact, _ = asked
    return Ruling(allowed=allowed, by=by, why=why, principal=principal, op=op, path=path, impact=impact)
