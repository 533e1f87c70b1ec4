"""A quorum: whether enough different persons of enough institutions approved exactly this command.

Counted are *owners*, never keys or signatures: the same key twice, or two keys of one owner, are one voice. An approval is over
the exact bytes of the command: it names their hash, and a passkey signs the bytes themselves. Institutions count only with so
many of their own as the level says. What is missing is said in words, for who asks honestly.

Invariant: taking approvals away never makes a quorum of none; adding some never undoes one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from worldos.errors import BadSignature, PeerBroke
from worldos.kernel.guard.command import Command, narrows
from worldos.kernel.guard.levels import Need, need_of
from worldos.kernel.guard.roll import Approver, Roll, approvers_of, institutions, owners
from worldos.kernel.guard.said import Approval
from worldos.model.ids import NodeId
from worldos.trust.passkeys import read_assertion, verify_assertion

APPROVAL_DOMAIN: Final = "guard"


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """How far a command is: who approved, and what is missing (empty: nothing)."""

    owners: tuple[str, ...]
    institutions: tuple[str, ...]
    missing: str


def needed(roll: Roll, command: Command) -> Need:
    """Return what agreement this command needs under this roll."""
    if narrows(command.action):
        return Need()
    return need_of(command.level, command.cls, owners(roll), institutions(roll))


def voice(roll: Roll, signer: NodeId, approval: Approval, body: bytes) -> Approver | None:
    """Return the approver who speaks by this approval of the command in ``body``; None if nobody of the roll does.

    Raises PeerBroke or BadSignature for one that pretends. That ``signer`` signed the statement was checked before, and that
    the approval names the hash of ``body``.
    """
    approver = approvers_of(roll).get(approval.key)
    if approver is None:
        return None
    if not approver.passkey:
        if approval.key != signer or approval.assertion:
            raise BadSignature("an approval is signed by the key that it names")
        return approver
    if not approval.assertion:
        raise PeerBroke("an approval by passkey has what the passkey signed")
    verify_assertion(approver.passkey, approver.rp, read_assertion(approval.assertion), APPROVAL_DOMAIN, body)
    return approver


def tally(roll: Roll, need: Need, keys: Iterable[str]) -> Tally:
    """Count the approvals by these keys."""
    by_institution: dict[str, set[str]] = {}
    known = approvers_of(roll)
    for key in keys:
        approver = known.get(key)
        if approver is not None and (approver.human or approver.passkey or not need.humans):
            by_institution.setdefault(approver.institution, set()).add(approver.owner)
    whole = {name: them for name, them in by_institution.items() if len(them) >= need.each}
    counted = set[str]().union(*whole.values()) if whole else set[str]()
    missing = ""
    if len(counted) < need.approvals:
        missing = f"{len(counted)} of {need.approvals} approvals{' by persons' if need.humans else ''}"
    elif len(whole) < need.institutions:
        missing = f"{len(whole)} of {need.institutions} institutions"
    return Tally(owners=tuple(sorted(counted)), institutions=tuple(sorted(whole)), missing=missing)
