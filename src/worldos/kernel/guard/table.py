"""The tables of the guard of one node: rolls, commands, what was said too early, who is muted, what is frozen and spent.

What outlives a life is ``Memory``; the statements themselves are kept by ``kernel/statements.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from worldos.errors import PeerBroke
from worldos.kernel.effects import Effect, Notice
from worldos.kernel.guard.breaker import Breaker
from worldos.kernel.guard.budget import Buckets, Purse, share_of
from worldos.kernel.guard.envelope import Envelope, Limit
from worldos.kernel.guard.limits import (
    ROLLS_MAX,
)
from worldos.kernel.guard.pending import Pending, Stage
from worldos.kernel.guard.roll import Roll, roll_id
from worldos.kernel.guard.said import (
    Spent,
)
from worldos.model.statements import Statement, Topic
from worldos.trust.keylog import DeviceStatus

if TYPE_CHECKING:
    from worldos.kernel.household import Household


class Memory(msgspec.Struct, kw_only=True):
    """What a guard leaves to its next life. ``seen_s``: since when it knows each command; ``done``: those it carried out."""

    rolls: tuple[Roll, ...] = ()
    limits: tuple[Limit, ...] = ()
    muted: dict[str, str] = {}
    breakers: dict[str, str] = {}
    seen_s: dict[str, int] = {}
    done: tuple[str, ...] = ()
    purses: tuple[Purse, ...] = ()


class Table(msgspec.Struct, kw_only=True):
    """All of it. ``rolls`` are by realm; ``early`` are statements about commands that are not known here yet.

    ``muted``: keys that count no more, and why. ``places``: realms in which this node is, beside those that its center names.
    """

    rolls: dict[str, Roll] = {}
    envelope: Envelope = msgspec.field(default_factory=Envelope)
    commands: dict[str, Pending] = {}
    early: dict[str, list[Statement]] = {}
    muted: dict[str, str] = {}
    breakers: dict[str, Breaker] = {}
    purses: dict[str, Purse] = {}
    spendings: dict[str, list[Spent]] = {}
    buckets: Buckets = msgspec.field(default_factory=Buckets)
    places: tuple[str, ...] = ()
    past: dict[str, Roll] = {}  # rolls that were replaced, by id, while commands made under them go on elsewhere
    ended: dict[str, str] = {}
    kept: dict[str, list[tuple[Topic, str]]] = {}  # ids of statements by the command that they are about
    before: Memory = msgspec.field(default_factory=Memory)
    early_ns: dict[str, int] = {}
    over: dict[Topic, list[str]] = {}  # ... of those that are about nothing any more: dropped at the next occasion

    # -- what the owner does on the machine -------------------------------------------------------------------------------

    def set_roll(self, roll: Roll) -> None:
        """Let this be the roll of its realm. For the owner on the machine; anybody else needs a command for it."""
        if roll.realm not in self.rolls and len(self.rolls) >= ROLLS_MAX:
            raise PeerBroke(f"{ROLLS_MAX} rolls are the most")
        before = self.rolls.get(roll.realm)
        if before is not None:
            self.past[roll_id(before)] = before
        self.rolls[roll.realm] = roll
        in_use = {pending.command.roll for pending in self.commands.values()}
        self.past = {known: each for known, each in self.past.items() if known in in_use}

    def set_envelope(self, limits: tuple[Limit, ...]) -> None:
        """Let these be the owner's limits. For the owner on the machine, and nobody else: no command comes here."""
        self.envelope.put(limits)

    def unmute(self, key: str) -> None:
        """Let a key count again. For the owner on the machine."""
        self.muted.pop(key, None)

    def resume(self, realm: str) -> None:
        """Close the breaker of a realm. For the owner on the machine."""
        if realm in self.breakers:
            self.breakers[realm].reset()

    # -- what outlives a life ---------------------------------------------------------------------------------------------

    def memory(self) -> Memory:
        """Return what must be on disk before the effects of a step are carried out, where it is another than before."""
        return Memory(
            rolls=tuple(self.rolls[realm] for realm in sorted(self.rolls)),
            limits=tuple(self.envelope.limits[key] for key in sorted(self.envelope.limits)),
            muted=dict(sorted(self.muted.items())),
            breakers={realm: breaker.why for realm, breaker in sorted(self.breakers.items()) if breaker.is_open},
            seen_s={known: self.commands[known].seen_s for known in sorted(self.commands)},
            done=tuple(k for k in sorted(self.commands) if self.commands[k].stage in {Stage.CARRYING, Stage.DID}),
            purses=tuple(self.purses[place] for place in sorted(self.purses)),
        )

    def recall(self, memory: Memory) -> None:
        """Take in what an earlier life left, before its statements are taken in again."""
        self.rolls = {roll.realm: roll for roll in memory.rolls}
        self.envelope.put(memory.limits)
        self.muted = dict(memory.muted)
        self.breakers = {realm: Breaker(why=why) for realm, why in memory.breakers.items()}
        self.purses = {purse.place: purse for purse in memory.purses}
        self.before = memory

    # -- small questions --------------------------------------------------------------------------------------------------

    def roll_of(self, pending: Pending) -> Roll | None:
        """Return the roll under which a command was made, this node's own or one before it."""
        roll = self.rolls.get(pending.command.realm)
        is_current = roll is not None and roll_id(roll) == pending.command.roll
        return roll if is_current else self.past.get(pending.command.roll)

    def breaker_of(self, pending: Pending) -> Breaker:
        """Return the breaker of its realm."""
        return self.breakers.setdefault(pending.command.realm, Breaker())

    def purse_of(self, roll: Roll, place: str, house: Household) -> Purse:
        """Return this node's end of the share of a place."""
        share = share_of(roll, house.node, place)
        assert share is not None
        purse = self.purses.setdefault(place, Purse(place=share.place, amount=share.amount))
        purse.amount = share.amount
        return purse

    def void(self, house: Household) -> frozenset[str]:
        """Return the keys that do not count: muted ones, and devices of our account that were put out."""
        members = house.keylog.members().devices if house.keylog.entries else ()
        return frozenset(self.muted).union(d.node for d in members if d.status is not DeviceStatus.ACTIVE)

    def put_away(self, about: str) -> None:
        """Let the statements about a command go: each at the next occasion to drop any of its topic."""
        for topic, statement in self.kept.pop(about, ()):
            self.over.setdefault(topic, []).append(statement)

    def alarm(self, key: str, about: str, why: str, *, mute: bool) -> tuple[Effect, ...]:
        """Tell that a key does what no honest one would; a muted one counts no more here."""
        if mute:
            self.muted[key] = why
        return (Notice(name="guard alarm", fields={"key": key, "command": about, "why": why, "muted": int(mute)}),)


def places_of(house: Household) -> tuple[str, ...]:
    """Return the realms in which a node is: its site, and those above it as its center says."""
    center = house.realms.centers.known.get(house.realms.site)
    return (house.realms.site, *(center.lineage if center is not None else ()))


def notice(name: str, pending: Pending, **fields: str | int) -> Notice:
    """Tell people something of a command."""
    return Notice(name=name, fields={"command": pending.id, "realm": pending.command.realm, **fields})
