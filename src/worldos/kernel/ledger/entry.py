"""Entries of the ledger: what the one writer of a chain ever said, each after the one before.

Who has money has a *chain*, named by the key that alone writes it. An entry has a number and names the entry before it, so
two entries with one number, both signed, are a proof by themselves that their writer lied (``equivocation``). Money comes into
a chain only by a ``Take`` that names where it comes from: what a chain has is then a function of entries, never of when they
arrived. An *allotment* is nothing but money sent to a chain that is written in an island. Amounts in micro-WOSCoin.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, TypeAlias

import msgspec

from worldos.errors import PeerBroke
from worldos.kernel.ledger.limits import AMOUNT_MAX, ENTRY_BYTES_MAX
from worldos.kernel.ledger.voucher import Chain, Hash, Seq, Voucher, check_voucher
from worldos.model.exact import read_exactly
from worldos.trust.keys import SIGNATURE_BYTES, DeviceKey, public_of, verify

_DOMAIN = "ledger"

Some = Annotated[int, msgspec.Meta(ge=1, le=AMOUNT_MAX)]
Before: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=32)]


class Act(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """What an entry does."""


class Mint(Act, frozen=True, kw_only=True, tag="mint"):
    """Money begins: against an attested inflow (``evidence``: its hash). Only an issuer may."""

    to: Chain
    amount: Some
    evidence: Hash


class Take(Act, frozen=True, kw_only=True, tag="take"):
    """Money that is meant for this chain comes into it: ``source`` is the entry that sent, settled or forfeited it."""

    source: Hash


class Allot(Act, frozen=True, kw_only=True, tag="allot"):
    """Money goes to another chain."""

    to: Chain
    amount: Some


class Bond(Act, frozen=True, kw_only=True, tag="bond"):
    """Money is laid down that pays for what this chain may break."""

    amount: Some


class Open(Act, frozen=True, kw_only=True, tag="open"):
    """A lease is opened: so much is set aside for its provider, whatever happens. The entry's id names the lease."""

    provider: Chain
    amount: Some


class Close(Act, frozen=True, kw_only=True, tag="close"):
    """The provider's last word on a lease: by this voucher (none: for nothing). The rest goes back."""

    lease: Hash
    voucher: Voucher | None


class Lapse(Act, frozen=True, kw_only=True, tag="lapse"):
    """A settler's word on a lease that its provider never closed, long after its end."""

    lease: Hash
    voucher: Voucher | None


class Confirm(Act, frozen=True, kw_only=True, tag="confirm"):
    """A settler saw this entry, and will confirm no other of its number."""

    entry: Hash


class Forfeit(Act, frozen=True, kw_only=True, tag="forfeit"):
    """A settler takes from the bond of a chain that was found cheating, for who suffered; ``evidence`` is its hash."""

    of: Chain
    to: Chain
    amount: Some
    evidence: Hash


AnyAct: TypeAlias = Mint | Take | Allot | Bond | Open | Close | Lapse | Confirm | Forfeit


class Entry(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """The ``seq``-th act of a chain; ``before`` is the id of the one before it, empty for the first (number 0)."""

    chain: Chain
    seq: Seq
    before: Before
    act: AnyAct


class SignedEntry(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """The bytes of an entry and the signature over them: what is stored and sent."""

    body: Annotated[bytes, msgspec.Meta(max_length=ENTRY_BYTES_MAX)]
    signature: Annotated[bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


def entry_id(body: bytes) -> bytes:
    """Return the id of an entry: the hash of its bytes."""
    return hashlib.sha256(body).digest()


def sign(key: DeviceKey, seq: int, before: bytes, act: AnyAct) -> SignedEntry:
    """Write an act into the chain of a key."""
    body = _encode(Entry(chain=key.node_id, seq=seq, before=before, act=act))
    return SignedEntry(body=body, signature=key.sign(_DOMAIN, body))


def read(signed: SignedEntry) -> Entry:
    """Read an entry and check all that it says by itself; raise PeerBroke or BadSignature."""
    if len(signed.body) > ENTRY_BYTES_MAX:
        raise PeerBroke("an entry of a ledger is too long")
    entry: Entry = read_exactly(_decode, _encode, signed.body, "an entry of a ledger")
    if len(entry.before) != (32 if entry.seq else 0):
        raise PeerBroke("an entry of a ledger names the one before it, unless it is the first")
    verify(public_of(entry.chain), _DOMAIN, signed.body, signed.signature)
    if isinstance(entry.act, Close | Lapse) and entry.act.voucher is not None:
        if entry.act.voucher.lease != entry.act.lease:
            raise PeerBroke("a voucher for another lease")
        check_voucher(entry.act.voucher)
    return entry
