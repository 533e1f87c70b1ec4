"""Revocations as this node knows them: grants and devices that count no more; and how fresh that knowledge is.

A grant of ours is revoked by any device of our account, and a block that was narrowed from it by whoever narrowed it. A device
of another account is *barred* here when the entries of its own key log prove that it was put out, or, where they are too many,
when a device of the same account says so that is kin here. Revoking only narrows, so it takes one key. What is not known here
at all is not kept: nobody can make this node carry the news of accounts of its own making.

Fresh is what is known here while other members are heard: each says every few seconds how far its key log goes, and tells its
statements at once. While this node stands in an island, whom it hears may be as cut off as itself, and does not count; nor does
the device whose own word is in question.
Invariant: nothing here is ever taken back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from worldos.errors import PeerBroke
from worldos.kernel.effects import Effect, Notice
from worldos.kernel.statements import Verdict
from worldos.model.ids import AccountId, NodeId
from worldos.model.limits import MINUTE, SECOND
from worldos.model.raft import NOBODY
from worldos.model.realm import Level, RealmId
from worldos.model.statements import Statement
from worldos.trust.keys import node_id_of
from worldos.trust.revocation import DeviceRevoked, EpochBegan, GrantRevoked, check_proof, read_revocation
from worldos.trust.statements import statement_id

if TYPE_CHECKING:
    from worldos.kernel.household import Household
    from worldos.model.wire import KeyLogHave
    from worldos.trust.grant import Chain

HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
NEVER_HEARD: Final = -1
EPOCH_STEP_MAX: Final = 1 << 20
PROOFS_PER_SECOND: Final = 8
FOREIGN_MAX: Final = 1024  # of STATEMENTS_PER_TOPIC_MAX: the rest is for what our own devices say
FOREIGN_PER_SIGNER_MAX: Final = 64
FULL: Final = "this signer of another account revoked enough here"
NO_BLOCK: Final = ""

STALE_NS: Final = {
    Level.PERSONAL: 7 * DAY,
    Level.HOME: DAY,
    Level.ENTERPRISE: HOUR,
    Level.GROUP: HOUR,
    Level.NATION: MINUTE,
    Level.PLANET: MINUTE,
}
"""How old what is known of revocations may be, by the level of the site, for what is costly and worse."""


class Revocations(msgspec.Struct, kw_only=True):
    """The table. ``grants`` are revoked blocks with who revoked them; what is barred here is for kin.py to know."""

    grants: dict[str, list[NodeId]] = {}
    epochs: dict[NodeId, int] = {}
    foreign: dict[str, tuple[NodeId, str]] = {}  # statements of others by their ids, the oldest first: who, which block
    second_ns: int = 0  # until when so many proofs were checked
    proofs: int = 0
    heard: dict[NodeId, int] = {}  # when each member said last that its key log goes no further

    # -- what counts ------------------------------------------------------------------------------------------------------

    def revoked(self, chain: Chain, blocks: tuple[str, ...], house: Household) -> bool:
        """Tell whether a block of a grant was revoked: by a member of ours, or by who signed it or one before it."""
        for at, block in enumerate(blocks):
            by = self.grants.get(block, ())
            if any(house.is_member(signer) for signer in by):
                return True
            if by and not {node_id_of(link[0]) for link in chain.links[: at + 1]}.isdisjoint(by):
                return True
        return False

    def epoch(self, house: Household) -> int:
        """Return the revocation epoch of our account: grants from before it hold no more."""
        return max((number for signer, number in self.epochs.items() if house.is_member(signer)), default=0)

    def stale_ns(self, now_ns: int, house: Household, besides: NodeId = NOBODY) -> int:
        """Return how long ago another member said last what it knows of revocations; 0 where there is no other.

        ``besides``: what this one says does not count, for it is about its own rights.
        """
        others = {device.node for device in house.keylog.members().active} - {house.node, besides}
        if not others:
            return 0
        heard_ns = max((at_ns for peer, at_ns in self.heard.items() if peer in others), default=NEVER_HEARD)
        return now_ns - heard_ns if heard_ns != NEVER_HEARD else max(now_ns, STALE_NS[Level.PERSONAL] + SECOND)

    # -- what is heard ----------------------------------------------------------------------------------------------------

    def heard_log(self, now_ns: int, peer: NodeId, have: KeyLogHave, house: Household) -> None:
        """A member told how far its key log goes: if this one goes as far, what is known here is fresh."""
        center = house.realms.centers.known.get(house.realms.site)
        has_council = center is not None and bool(center.council)  # a site may never have had one
        is_island = center is not None and center.epoch.provisional and has_council
        if house.is_member(peer) and not is_island and not house.keylog.missing(have.heads):
            self.heard[peer] = now_ns

    def judge(self, now_ns: int, statement: Statement, house: Household) -> Verdict:
        """Take in a revocation (keeper of REVOKED)."""
        try:
            said = read_revocation(statement.body)
            if isinstance(said, DeviceRevoked):
                return self._device(said, statement, now_ns, house)
        except PeerBroke as error:
            return Verdict(keep=False, why=str(error))
        is_member = house.is_member(statement.signer)
        if isinstance(said, EpochBegan):
            if not is_member or said.number > self.epoch(house) + EPOCH_STEP_MAX:
                return Verdict(keep=False, why="no device of ours begins a revocation epoch so")
            self.epochs[statement.signer] = max(said.number, self.epochs.get(statement.signer, 0))
        else:
            if not is_member and not house.realms.kin.has(statement.signer):
                return Verdict(keep=False)
            dropped = () if is_member else self._room(statement, said.block)
            if dropped is None:
                return Verdict(keep=False, why=FULL)
            self._grant(said, statement.signer)
            return Verdict(keep=True, effects=tuple(house.authority.look_again(now_ns, house)), drop=dropped)
        return Verdict(keep=True, effects=tuple(house.authority.look_again(now_ns, house)))

    def _room(self, statement: Statement, block: str) -> tuple[str, ...] | None:
        """Make room for what somebody of another account says, so that ours always has some; None: it said enough."""
        if sum(signer == statement.signer for signer, _ in self.foreign.values()) >= FOREIGN_PER_SIGNER_MAX:
            return None
        dropped: tuple[str, ...] = ()
        if len(self.foreign) >= FOREIGN_MAX:
            oldest = next(iter(self.foreign))
            signer, old = self.foreign.pop(oldest)
            self.grants[old] = [each for each in self.grants.get(old, ()) if each != signer]
            if not self.grants[old]:
                del self.grants[old]
            dropped = (oldest,)
        self.foreign[statement_id(statement)] = (statement.signer, block)
        return dropped

    def _affords(self, now_ns: int) -> bool:
        """Count a proof to be checked, which takes milliseconds: telling many must not buy more of this node's time."""
        if now_ns >= self.second_ns:
            self.second_ns, self.proofs = now_ns + SECOND, 0
        self.proofs += 1
        return self.proofs <= PROOFS_PER_SECOND

    def _grant(self, said: GrantRevoked, signer: NodeId) -> None:
        signers = self.grants.setdefault(said.block, [])
        if signer not in signers:
            signers.append(signer)

    def _device(self, said: DeviceRevoked, statement: Statement, now_ns: int, house: Household) -> Verdict:
        signer = statement.signer
        if said.account == house.registry.owner:  # the key log says it here; others hear of it by way of us
            known = house.keylog.members().get(said.device)
            is_told = house.is_member(signer) and known is not None and not house.is_member(said.device)
            return Verdict(keep=is_told, why="" if is_told else "our own key log does not say so")
        if not house.is_member(signer) and not _concerns(said, house):
            return Verdict(keep=False)
        if said.proof:
            if not self._affords(now_ns):
                return Verdict(keep=False, later=True)
            check_proof(said)
        elif not _is_of(signer, said.account, house) or not _is_of(said.device, said.account, house):
            return Verdict(keep=False, why="nothing proves that this device was put out")
        dropped = () if house.is_member(signer) else self._room(statement, NO_BLOCK)
        if dropped is None:
            return Verdict(keep=False, why=FULL)
        return Verdict(keep=True, effects=tuple(_put_out(house, said)), drop=dropped)


def _put_out(house: Household, said: DeviceRevoked) -> list[Effect]:
    """Part with a device of another account that was put out of it: its leases, its reasons to come, its link."""
    if house.is_member(said.device):
        return []
    parted = house.realms.kin.bar(said.device, said.account)
    if not parted:
        return []
    house.dirty = True
    house.paths.pop(said.device, None)
    effects = house.leases.drop_holder(said.device, "its account put this device out")
    return [*effects, *parted, Notice(name="guest revoked", fields={"node": said.device})]


def _is_of(node: NodeId, account: AccountId, house: Household) -> bool:
    contact = house.realms.kin.contact(node)
    return contact is not None and str(contact.site) == account


def _concerns(said: DeviceRevoked, house: Household) -> bool:
    """Tell whether this node has, or had lately, to do with that account."""
    realms = house.realms
    if realms.kin.has(said.device) or said.device in realms.introduced or said.account in house.contacts.table:
        return True
    if any(str(kinsman.contact.site) == said.account for kinsman in realms.kin.table.values()):
        return True
    return any(RealmId(said.account) in seat.charter.children for seat in realms.seats.values())
