"""What an account has given away: which codes lead to what, until when, and which were taken back.

All codes of one ``Given`` come of one write secret, so that they end together. Each device writes what it knows into a
register of its own; to merge is to unite, and an end is for good, wherever it was said. ``until_ns`` is on the wall
clocks of the account's own devices (0: for good), and so is only as exact as those are. ``taken`` are the drops that
were copied in, by their numbers.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from worldos.errors import PeerBroke
from worldos.store import keys
from worldos.store.caps import Cap, Kind, Right
from worldos.store.entry import open_body, seal_body
from worldos.store.keys import Bytes32
from worldos.store.limits import ENTRY_SEQ_MAX, GIVEN_MAX, NAME_BYTES_MAX, TAKEN_MAX


class Given(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One path that was given away, by the codes of one write secret. ``maker`` is the device that looks after it first."""

    write: Bytes32
    path: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_BYTES_MAX)]
    kind: Kind
    maker: Bytes32
    until_ns: Annotated[int, msgspec.Meta(ge=0)] = 0
    drops: bool = False  # a code by which things can be put into it was given
    writes: bool = False  # a code to change it was given
    ended: bool = False
    taken: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=1, le=ENTRY_SEQ_MAX)], ...], msgspec.Meta(max_length=TAKEN_MAX)
    ] = ()

    def cap(self, right: Right) -> Cap:
        """Return the cap of a right to it."""
        return Cap(right=Right.WRITE, kind=self.kind, secret=self.write).narrow(right)

    def over(self, now_ns: int) -> bool:
        """Whether its time is up."""
        return self.until_ns != 0 and now_ns >= self.until_ns

    def __repr__(self) -> str:
        """Show no secret."""
        return f"Given({self.path!r}, ended={self.ended})"


AllGiven = Annotated[tuple[Given, ...], msgspec.Meta(max_length=GIVEN_MAX)]
_read = msgspec.msgpack.Decoder(AllGiven)
_encode = msgspec.msgpack.Encoder().encode


def given_log(directory_key: bytes, device: bytes) -> bytes:
    """Return the register where a device (its public key) writes what it knows to be given away."""
    return keys.derive(directory_key, "given log", device)


def united(*known: tuple[Given, ...]) -> tuple[Given, ...]:
    """Merge what devices know, in whatever order to the same result; where there are too many, what ended goes first."""
    found: dict[bytes, Given] = {}
    for each in known:
        for given in each:
            other = found.get(given.write)
            found[given.write] = given if other is None else _joined(given, other)
    kept = sorted(found.values(), key=lambda given: (given.ended, given.write))[:GIVEN_MAX]
    return tuple(sorted(kept, key=lambda given: given.write))


def _joined(one: Given, two: Given) -> Given:
    first = min(one, two, key=_encode)
    return msgspec.structs.replace(
        first,
        drops=one.drops or two.drops,
        writes=one.writes or two.writes,
        ended=one.ended or two.ended,
        taken=tuple(sorted({*one.taken, *two.taken})[-TAKEN_MAX:]),
    )


def encode_given(given: tuple[Given, ...], directory_key: bytes, nonce: bytes) -> bytes:
    """Write the body of a device's register; the nonce is 12 fresh random bytes."""
    return seal_body(_seal_key(directory_key), _encode(given), nonce, about=b"given")


def decode_given(body: bytes, directory_key: bytes) -> tuple[Given, ...]:
    """Read such a body; raise Damaged, PeerBroke, or BadRequest for one of a newer World OS."""
    try:
        return united(_read.decode(open_body(_seal_key(directory_key), body, about=b"given")))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise PeerBroke("a device says what no device says of what was given away") from cause


def _seal_key(directory_key: bytes) -> bytes:
    return keys.derive(directory_key, "given seal")
