"""Approvals: several keys of different owners sign the same bytes, and together they are one signature.

A quorum names its seats: an account, a key of it, a weight. It is reached when the weights of the *accounts* that
signed come to its threshold: two keys of one owner are one vote, the heavier. Its signature is the mask of the seats
that signed (2 bytes) and their signatures, 64 bytes each, in the order of the seats. Who signed stays visible: that is
why this is no threshold scheme in which several make one signature that nobody can be asked about.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from worldos.errors import BadSignature, NotAllowed, PeerBroke
from worldos.model.ids import AccountId, NodeId
from worldos.trust.keys import SIGNATURE_BYTES, public_of, verify

SEATS_MAX = 16
WEIGHT_MAX = 100
_MASK_BYTES = 2


class Seat(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One who approves: a key, the account that owns it, and how much it weighs."""

    account: AccountId
    key: NodeId
    weight: int = 1


class Quorum(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Seats in the order of their keys, and the weight that they must come to."""

    threshold: int
    seats: tuple[Seat, ...]


def check_quorum(quorum: Quorum) -> None:
    """Raise PeerBroke unless a quorum can be reached and is written in the one way."""
    keys = [seat.key for seat in quorum.seats]
    if not 1 <= len(keys) <= SEATS_MAX or keys != sorted(set(keys)):
        raise PeerBroke(f"a quorum has 1 to {SEATS_MAX} seats, each key once, in order")
    for seat in quorum.seats:
        public_of(seat.key)
        public_of(seat.account)
        if not 1 <= seat.weight <= WEIGHT_MAX:
            raise PeerBroke(f"a seat weighs 1 to {WEIGHT_MAX}")
    if not 1 <= quorum.threshold <= weight_of(quorum, range(len(keys))):
        raise PeerBroke("a quorum cannot be reached by all its seats together")


def weight_of(quorum: Quorum, seats: range | list[int]) -> int:
    """Return what these seats weigh together: of each owner the heaviest."""
    heaviest: dict[AccountId, int] = {}
    for at in seats:
        seat = quorum.seats[at]
        heaviest[seat.account] = max(heaviest.get(seat.account, 0), seat.weight)
    return sum(heaviest.values())


def join(quorum: Quorum, signatures: Mapping[str, bytes]) -> bytes:
    """Put the signatures of seats, by their keys, together; NotAllowed while they do not reach the threshold."""
    seats = [at for at, seat in enumerate(quorum.seats) if seat.key in signatures]
    reached = weight_of(quorum, seats)
    if reached < quorum.threshold:
        raise NotAllowed(f"approved by a weight of {reached} of different owners; {quorum.threshold} are needed")
    mask = sum(1 << at for at in seats)
    return mask.to_bytes(_MASK_BYTES, "big") + b"".join(signatures[quorum.seats[at].key] for at in seats)


def check_approvals(quorum: Quorum, signature: bytes, domain: str, message: bytes) -> None:
    """Raise BadSignature unless enough of different owners signed ``message`` for the purpose ``domain``."""
    mask, rest = int.from_bytes(signature[:_MASK_BYTES], "big"), signature[_MASK_BYTES:]
    seats = [at for at in range(SEATS_MAX) if mask >> at & 1]
    if not seats or seats[-1] >= len(quorum.seats) or len(rest) != len(seats) * SIGNATURE_BYTES:
        raise BadSignature("a quorum's signature has another form")
    if weight_of(quorum, seats) < quorum.threshold:
        raise BadSignature("too few of different owners signed")
    for number, at in enumerate(seats):
        one = rest[number * SIGNATURE_BYTES : (number + 1) * SIGNATURE_BYTES]
        verify(public_of(quorum.seats[at].key), domain, message, one)
