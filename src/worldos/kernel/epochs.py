"""Epochs as a node knows them: which there are, who knows their keys, and which one to write under.

No key is here: what is told of epochs is sealed (``trust/epochs.py``), and the shell, which has this device's hybrid key,
opens it. This table says which epochs are *over*: those of whose knowers one is no device of the account now. Keeps the
newest ``EPOCHS_KEPT``; what was written under older ones is read by nobody any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from worldos.errors import PeerBroke
from worldos.kernel.statements import Verdict
from worldos.model.ids import NodeId
from worldos.model.statements import Statement
from worldos.trust.epochs import NUMBER_MAX, EpochTold, Wrap, read_epoch
from worldos.trust.keys import node_id_of
from worldos.trust.statements import statement_id

if TYPE_CHECKING:
    from worldos.kernel.household import Household

EPOCHS_KEPT = 64
TOLD_MAX = 256  # statements of one epoch: enough for a thousand devices, several times over


class Epoch(msgspec.Struct, kw_only=True):
    """One epoch: its number and id, the key sealed to devices, who knows it, and the statements that told of it."""

    number: int
    id: bytes
    wraps: dict[NodeId, bytes] = {}
    knowers: dict[NodeId, bool] = {}  # with True for those that told of it
    told: list[str] = []

    @property
    def rank(self) -> tuple[int, bytes]:
        """The greatest of those that can be used is used."""
        return self.number, self.id

    def as_told(self, device: NodeId, public: bytes) -> EpochTold:
        """Return what a device needs to open it."""
        wraps = (Wrap(to=public, box=self.wraps[device]),) if device in self.wraps else ()
        return EpochTold(number=self.number, id=self.id, wraps=wraps)


class Epochs(msgspec.Struct, kw_only=True):
    """The table, by the id of each epoch in hex digits."""

    table: dict[str, Epoch] = {}

    def judge(self, now_ns: int, statement: Statement, house: Household) -> Verdict:
        """Take in what a device of the account tells of an epoch."""
        del now_ns
        try:
            told = read_epoch(statement.body)
        except PeerBroke as error:
            return Verdict(keep=False, why=str(error))
        if not house.clones.may_speak(statement, house):
            return Verdict(keep=False, why="only devices of the account tell of its epochs")
        epoch = self.table.get(told.id.hex())
        if epoch is not None and (epoch.number != told.number or len(epoch.told) >= TOLD_MAX):
            return Verdict(keep=False, why="an epoch was told with another number, or too often")
        if epoch is None:
            epoch = self.table[told.id.hex()] = Epoch(number=told.number, id=told.id)
        epoch.told.append(statement_id(statement))
        epoch.knowers[statement.signer] = True
        for wrap in told.wraps:
            node = node_id_of(wrap.to)
            epoch.knowers.setdefault(node, False)
            epoch.wraps.setdefault(node, wrap.box)
        dropped = self._forget_oldest()
        return Verdict(keep=epoch.id.hex() in self.table, drop=dropped)

    def usable(self, is_member: Callable[[NodeId], bool]) -> list[Epoch]:
        """Return the epochs that are not over, that to write under first, if its key can be opened."""
        good = [epoch for epoch in self.table.values() if all(is_member(node) for node in epoch.knowers)]
        return sorted(good, key=lambda epoch: epoch.rank, reverse=True)

    def next_number(self) -> int:
        """Return the number of a new epoch: one above all, but for those that nothing can be above."""
        return 1 + max((epoch.number for epoch in self.table.values() if epoch.number < NUMBER_MAX // 2), default=0)

    def _forget_oldest(self) -> tuple[str, ...]:
        dropped: list[str] = []
        while len(self.table) > EPOCHS_KEPT:
            oldest = min(self.table.values(), key=lambda epoch: epoch.rank)
            del self.table[oldest.id.hex()]
            dropped += oldest.told
        return tuple(dropped)
