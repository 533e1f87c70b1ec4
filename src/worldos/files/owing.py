"""Debts of this session: shares that their stores did not take when they were sent, because those slept or were slow.

A session pays what it can before it ends: it fetches the segment from the stores that have it, codes the missing shares and sends
them to stores that have none of it and answer now. What is left then is paid by the carers, who find it by asking, as
nothing of this is written down anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from worldos.errors import WorldError
from worldos.files.fetching import Fetch, holders_of
from worldos.files.limits import STANDING_S
from worldos.files.shipment import Parcel, Shipment
from worldos.files.stores import Store
from worldos.store.erasure import Code, Codec, coded_bytes, data_shares, encode, share_bytes
from worldos.store.leaves import leaf_digests, root_of
from worldos.store.manifest import Segment, share_ids


@dataclass(frozen=True)
class Sent:
    """A segment that is kept, and how its shares fared."""

    segment: Segment
    verify: bytes
    shipment: Shipment


def pay(sent: Sequence[Sent], stores: Sequence[Store], codec: Codec, owner: str, until_s: float) -> int:
    """Send what is missing to stores that lack it, until a moment of the steady clock; return how many shares that were."""
    paid = 0
    for each in sent:
        if not each.shipment.debt:
            continue
        if time.monotonic() > until_s:
            break
        try:
            paid += _pay(each, [store for store in stores if not store.doubted], codec, owner, until_s)
        except WorldError:
            continue  # it is the carers' now
    return paid


def _pay(sent: Sent, stores: Sequence[Store], codec: Codec, owner: str, until_s: float) -> int:
    segment = sent.segment
    if {store.at.node for store in stores} <= set(sent.shipment.stored.values()):
        return 0  # each has one already: it takes another device
    holders = holders_of(stores, [segment], sent.verify, patience_s=STANDING_S)[0]
    missing = [index for index in range(segment.n) if index not in holders]
    holding = {store.at.node for each in holders.values() for store in each}
    free = [store for store in stores if store.at.node not in holding and not store.refused_room]
    pairs = list(zip(missing, free, strict=False))
    if not pairs:
        return 0
    code, size = Code(k=segment.k, n=segment.n), share_bytes(segment.size_bytes, segment.k)
    buffer = memoryview(bytearray(coded_bytes(segment.size_bytes, segment.k)))
    Fetch(segment, sent.verify, holders, codec, buffer).whole()
    shares = data_shares(buffer, segment.size_bytes, segment.k)
    parity = memoryview(bytearray((code.n - code.k) * size))
    parts = [parity[start : start + size] for start in range(0, len(parity), size)]
    encode(codec, code, shares, parts)
    shares += parts
    ids = share_ids(segment, sent.verify)
    parcels = [Parcel(ids[index], shares[index], leaf_digests(shares[index])) for index, _ in pairs]
    if any(
        root_of(parcel.digests, size) != segment.roots[index] for parcel, (index, _) in zip(parcels, pairs, strict=True)
    ):
        return 0  # some store gave what was not written: the carers find out which
    asked = []
    for parcel, (_, store) in zip(parcels, pairs, strict=True):
        asked.append(
            store.ask(
                lambda link, parcel=parcel: link.put_share(  # type: ignore[misc]
                    parcel.share, parcel.data, owner=owner, digests=parcel.digests
                ),
                bulk=True,
            )
        )
    paid = 0
    for future, (_, store) in zip(asked, pairs, strict=True):
        try:
            future.result(max(0.1, until_s - time.monotonic()))
            paid += 1
        except TimeoutError:
            store.hang_up()
        except WorldError:
            continue
    return paid
