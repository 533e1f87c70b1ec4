"""The disk of one council seat in memory, with what disks do: lose what was not synced, tear, rot, and go back in time.

It promises what ``agent/wal.py`` promises (tests/contract/test_disk.py tells both the same stories), and the simulator chooses
when: ``sync`` is the moment when a flush is done, ``crash`` a power cut, ``flip`` one bit that rots, ``go_back`` an old backup.
Chance comes in as a number each time.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import msgspec

from worldos.kernel.stored import Recovered, Stored
from worldos.model.raft import Entry, Snapshot, Vote


class Kept(msgspec.Struct, kw_only=True):
    """One append as bytes with its checksum; ``synced``: it was on the disk once, and nothing but rot can take it."""

    turn: int
    number: int
    whole: bool
    body: bytearray
    checksum: int
    synced: bool = False


class Said(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What an append says. ``whole``: forget all before it; ``damaged``: None says nothing new about that."""

    vote: Vote | None = None
    entries: tuple[Entry, ...] = ()
    snapshot: Snapshot | None = None
    whole: bool = False
    damaged: str | None = None


_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Said] = msgspec.msgpack.Decoder(Said)


class MemoryDisk:
    """What a seat has written. ``done(number)``: all appends up to it are on the disk."""

    def __init__(self, done: Callable[[int], None]) -> None:
        self.done = done
        self.life = 0
        self._stored = Stored()
        self._damaged = ""
        self._kept: list[Kept] = []
        self._turn = 0
        self._synced_turn = 0  # what a witness outside of this disk has seen

    def append(self, number: int, vote: Vote | None, entries: tuple[Entry, ...], snapshot: Snapshot | None) -> None:
        """Write this down; ``done`` says when it is on the disk."""
        self._stored.persist(vote, entries, snapshot)
        self._keep(number, Said(vote=vote, entries=entries) if snapshot is None else self._whole())

    def mended(self) -> None:
        """Note that this seat has caught up: it may vote again in its next lives too."""
        self._damaged = ""
        self._keep(0, Said(damaged=""))

    def sync(self) -> None:
        """Let all that was appended be on the disk from now on."""
        number = begins = 0
        for at in range(len(self._kept) - 1, -1, -1):
            kept = self._kept[at]
            if kept.synced:  # and so is all before it
                break
            kept.synced = True
            number = max(number, kept.number)
            begins = begins or (at if kept.whole else 0)
        self._synced_turn = self._turn
        del self._kept[:begins]
        if number:
            self.done(number)

    def crash(self, chance: int) -> None:
        """Cut the power: of what was not synced, some first part survives, and the append after it is torn."""
        synced = sum(kept.synced for kept in self._kept)
        survive = synced + chance % (len(self._kept) - synced + 1)
        torn = self._kept[survive : survive + 1]
        del self._kept[survive:]
        for kept in torn:
            kept.body = kept.body[: chance % len(kept.body)]
            self._kept.append(kept)

    def flip(self, chance: int) -> bool:
        """Let one bit rot; False where there is none."""
        size = 8 * sum(len(kept.body) for kept in self._kept)
        if not size:
            return False
        bit = chance % size
        for kept in self._kept:
            if bit < 8 * len(kept.body):
                kept.body[bit // 8] ^= 1 << bit % 8
                return True
            bit -= 8 * len(kept.body)
        return False

    def backup(self) -> list[Kept]:
        """Return a copy of what is on the disk."""
        return [msgspec.structs.replace(kept, body=bytearray(kept.body)) for kept in self._kept if kept.synced]

    def go_back(self, backup: list[Kept]) -> None:
        """Bring an old backup back."""
        self._kept = [msgspec.structs.replace(kept, body=bytearray(kept.body)) for kept in backup]

    def recover(self) -> Recovered:
        """Begin a life: return what can be believed, and go on from there."""
        stored, remembered, damage, believed = Stored(), "", "", 0
        for kept in self._kept:
            if zlib.crc32(kept.body) != kept.checksum:
                damage = f"append {kept.turn} is damaged" if kept.synced else ""
                break
            said = _decoder.decode(kept.body)
            stored = Stored() if said.whole else stored
            stored.persist(said.vote, said.entries, said.snapshot)
            remembered = remembered if said.damaged is None else said.damaged
            believed = kept.turn
        if not damage and believed < self._synced_turn:
            damage = f"the disk ends with append {believed}, and held {self._synced_turn} once"
        self.life += 1
        self._stored, self._damaged, self._kept = stored, damage or remembered, []
        self._turn = max(self._turn, self._synced_turn)
        self._keep(0, self._whole())
        self.sync()
        return Recovered(
            vote=stored.vote,
            snapshot=stored.snapshot,
            entries=tuple(stored.entries),
            damaged=self._damaged,
            life=self.life,
        )

    def _whole(self) -> Said:
        stored = self._stored
        entries = tuple(stored.entries)
        return Said(vote=stored.vote, entries=entries, snapshot=stored.snapshot, whole=True, damaged=self._damaged)

    def _keep(self, number: int, said: Said) -> None:
        self._turn += 1
        body = bytearray(_encode(said))
        kept = Kept(turn=self._turn, number=number, whole=said.whole, body=body, checksum=zlib.crc32(body))
        self._kept.append(kept)
