"""Draws: the nonces by which ties between equal offers are decided, so that nobody can choose them.

A round has a secret of 32 bytes. Its hash is put into the log first; a witness of another machine cosigns a checkpoint that
has it; the hash of that cosignature is the round's *beacon*, which nobody could know when the secret was fixed. Draw number k
is then SHA-256("worldos/draw" 0 secret beacon k), cut to 63 bits. When the round ends, its secret is put into the log with
the cosigned note, and everybody can make each draw again: that it was drawn so, and that none was left out.
Until a witness has answered, the beacon is 32 zero bytes: drawn by this machine's own word, which an audit says.
The secret of a round that a crash cut short is on disk, so that it is revealed all the same.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from worldos.agent.home import write_durably
from worldos.errors import Damaged, DiskFull
from worldos.kernel.records import Committed, Revealed
from worldos.model.ids import NodeId
from worldos.trust.note import WITNESS, check_checkpoint, check_cosignature

ROUND_DRAWS: Final = 1000
SECRET_BYTES: Final = 32
NO_BEACON: Final = bytes(32)
_DOMAIN: Final = b"worldos/draw\0"
_BITS: Final = 63
UNKNOWN_DRAWS: Final = -1  # the machine stopped before it counted them


class Round(msgspec.Struct, kw_only=True):
    """One round. ``leaf`` is where in the log it was committed to; ``note`` the cosigned checkpoint that the beacon is from."""

    number: int
    secret: bytes
    leaf: int = -1
    note: bytes = b""
    draws: int = 0

    @property
    def beacon(self) -> bytes:
        """Return the beacon; zero where no witness has answered."""
        return beacon_of(self.note) if self.note else NO_BEACON


class Draws:
    """The rounds of one log: the one that is drawn from, and the next, for which a witness is waited."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self.unfinished = _read(file) if file is not None else []
        last = max((old.number for old in self.unfinished), default=0)
        self.now = Round(number=last + 1, secret=secrets.token_bytes(SECRET_BYTES))
        self.next = Round(number=last + 2, secret=secrets.token_bytes(SECRET_BYTES))
        self._over: list[Round] = []  # the last that ended: a crash may have kept it from being revealed
        self._key = _prefix(self.now)
        self._save()

    def draw(self) -> int:
        """Return the next nonce."""
        self.now.draws += 1
        return _cut(sha256(self._key + self.now.draws.to_bytes(8, "big")).digest())

    def commitments(self) -> list[Committed]:
        """Return what is to be put into the log now: of each round that is not in it yet."""
        fresh = [each for each in (self.now, self.next) if each.leaf < 0]
        return [Committed(round=each.number, commitment=sha256(each.secret).digest()) for each in fresh]

    def committed(self, number: int, leaf: int) -> None:
        """Remember where in the log a round was committed to."""
        for each in (self.now, self.next):
            if each.number == number:
                each.leaf = leaf

    def witnessed(self, note: bytes, size: int) -> list[Revealed]:
        """Take up the next round with this cosigned checkpoint, if that has its commitment; return what the last one was."""
        waiting = self.next
        due = self.now.beacon == NO_BEACON or self.now.draws >= ROUND_DRAWS
        if not 0 <= waiting.leaf < size or not due:
            return []
        waiting.note = note
        over, self.now = self.now, waiting
        self._over = [over]
        self._key = _prefix(waiting)
        self.next = Round(number=waiting.number + 1, secret=secrets.token_bytes(SECRET_BYTES))
        self._save()
        return [revealed(over)]

    def reveal_unfinished(self) -> list[Revealed]:
        """Return the rounds that an earlier life did not end."""
        over, self.unfinished = self.unfinished, []
        return [revealed(old, UNKNOWN_DRAWS) for old in over]

    def _save(self) -> None:
        if self._file is not None:
            kept = [*self._over, self.now, self.next]
            with suppress(DiskFull):  # a crash would then leave a round that nobody can check, and an audit says so
                write_durably(self._file, msgspec.msgpack.encode(kept))


def revealed(over: Round, draws: int | None = None) -> Revealed:
    """Return the record of a round that is over."""
    return Revealed(
        round=over.number,
        secret=over.secret,
        beacon=over.beacon,
        draws=over.draws if draws is None else draws,
        note=over.note,
    )


def beacon_of(note: bytes) -> bytes:
    """Return the beacon that a cosigned note gives: the hash of its last cosignature."""
    return sha256(note.rstrip(b"\n").rpartition(b"\n")[2]).digest()


def check_round(log: NodeId, committed: Committed, leaf: int, over: Revealed) -> bool:
    """Tell whether a round's beacon is a witness's word; raise Damaged where the round is not what was committed to."""
    if committed.round != over.round or sha256(over.secret).digest() != committed.commitment:
        raise Damaged(f"the secret of round {over.round} is not the one that was committed to")
    if over.beacon == NO_BEACON:
        return False
    note, checkpoint = check_checkpoint(over.note, log)
    last = note.lines[-1]
    if not last.name.startswith(WITNESS) or beacon_of(over.note) != over.beacon:
        raise Damaged(f"the beacon of round {over.round} is not that of its note")
    check_cosignature(note.text, last)
    if checkpoint.size <= leaf:
        raise Damaged(f"the beacon of round {over.round} is older than its commitment")
    return last.name != WITNESS + log


def draws_of(over: Revealed, count: int) -> dict[int, int]:
    """Return the first draws of a round that is over, and the number of each."""
    key = _DOMAIN + over.secret + over.beacon
    return {_cut(sha256(key + k.to_bytes(8, "big")).digest()): k for k in range(1, count + 1)}


def _prefix(each: Round) -> bytes:
    return _DOMAIN + each.secret + each.beacon


def _cut(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big") >> (64 - _BITS)


def _read(file: Path) -> list[Round]:
    try:
        return msgspec.msgpack.decode(file.read_bytes(), type=list[Round])
    except (FileNotFoundError, msgspec.DecodeError):
        return []
