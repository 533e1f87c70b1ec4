"""Vouchers: what was used under a lease so far, signed by who pays and by who gave it.

A voucher is cumulative: the last one is the whole bill, so none but the highest need be kept, and who loses one loses
nothing while the next is signed. The consumer signs first, then the provider. Dropping out costs at most what was used since
the last one. Amounts in micro-WOSCoin, units as the lease counts them. Source: DESIGN.md section 11.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from worldos.errors import BadSignature, PeerBroke
from worldos.kernel.ledger.limits import AMOUNT_MAX, SEQ_MAX
from worldos.model.ids import NodeId
from worldos.trust.keys import DeviceKey, public_of, verify

_CONSUMER, _PROVIDER = "voucher/consumer", "voucher/provider"
_encode = msgspec.msgpack.Encoder().encode

Amount = Annotated[int, msgspec.Meta(ge=0, le=AMOUNT_MAX)]
Seq = Annotated[int, msgspec.Meta(ge=0, le=SEQ_MAX)]
Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Chain = Annotated[NodeId, msgspec.Meta(min_length=52, max_length=52)]
Signature = Annotated[bytes, msgspec.Meta(max_length=64)]


class Voucher(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """So much was used under this lease until now. ``lease`` is the id of the entry that opened it."""

    lease: Hash
    seq: Seq
    units: Amount
    amount: Amount
    consumer: Chain
    provider: Chain
    by_consumer: Signature = b""
    by_provider: Signature = b""


def consumed(key: DeviceKey, voucher: Voucher) -> Voucher:
    """Sign as who pays."""
    return msgspec.structs.replace(voucher, by_consumer=key.sign(_CONSUMER, _said(voucher)), by_provider=b"")


def provided(key: DeviceKey, voucher: Voucher) -> Voucher:
    """Sign as who gave it, over what the consumer signed and its signature."""
    return msgspec.structs.replace(voucher, by_provider=key.sign(_PROVIDER, _said(voucher) + voucher.by_consumer))


def check_consumed(voucher: Voucher) -> None:
    """Raise BadSignature unless the consumer signed this; PeerBroke for ids that are none."""
    verify(public_of(voucher.consumer), _CONSUMER, _said(voucher), voucher.by_consumer)


def check_voucher(voucher: Voucher) -> None:
    """Raise BadSignature unless both sides signed this; PeerBroke for ids that are none."""
    if voucher.consumer == voucher.provider:
        raise PeerBroke("nobody gives a lease to itself for money")
    check_consumed(voucher)
    if not voucher.by_provider:
        raise BadSignature("the provider did not sign this voucher")
    verify(public_of(voucher.provider), _PROVIDER, _said(voucher) + voucher.by_consumer, voucher.by_provider)


def _said(voucher: Voucher) -> bytes:
    return _encode(msgspec.structs.replace(voucher, by_consumer=b"", by_provider=b""))
