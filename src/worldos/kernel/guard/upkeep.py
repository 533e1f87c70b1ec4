"""Upkeep: what a node does for its guard every second: whose turn has come, and as a witness, how others do.

A witness looks with its own eyes: is there a way to the node, is it not in doubt, is it in the same life as when it said that it
carried the command out, and (of our own devices) does it offer what it has again. Of nodes that it never was linked with it says
nothing. Looking costs nobody anything: all of this is known here anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from worldos.kernel.decisions import decided
from worldos.kernel.effects import Effect
from worldos.kernel.events import CommandCarried, GuardSet
from worldos.kernel.guard.owner import put, read_change
from worldos.kernel.guard.said import Outcome
from worldos.model.ids import NodeId
from worldos.model.limits import NEVER_NS
from worldos.model.statements import Topic
from worldos.model.swim import Status

if TYPE_CHECKING:
    from worldos.kernel.household import Household

GUARDED: Final = frozenset({Topic.COMMAND, Topic.APPROVAL, Topic.HEALTH, Topic.STOP})


class Upkeep(msgspec.Struct, kw_only=True):
    """Which life each node was in when it was first known to have carried a command out, by command and node."""

    lives: dict[str, dict[NodeId, int]] = {}
    due_ns: int = 0

    def next_ns(self, house: Household) -> int:
        """Return when ``tick`` is to be called next."""
        return self.due_ns if house.guard.commands or house.guard.early else NEVER_NS

    def is_due(self, now_ns: int, house: Household) -> bool:
        """Tell whether to tick now."""
        return self.next_ns(house) <= now_ns

    def tick(self, now_ns: int, house: Household) -> list[Effect]:
        """Let the guard act, and look at what is to be looked at."""
        guard = house.guard
        effects = guard.tick(now_ns, house)
        self._note_lives(house)
        for look in guard.looking(now_ns, house):
            known = self.lives.get(look.command, {})
            seen = tuple(node for node in look.nodes if node in known)
            if not seen and look.nodes:
                continue
            sick = tuple(node for node in seen if not _is_well(node, known[node], house))
            effects.extend(guard.saw(now_ns, msgspec.structs.replace(look, nodes=seen), sick, house))
        self.due_ns = guard.due_ns(now_ns)
        return effects

    def take(self, event: GuardSet | CommandCarried, house: Household) -> list[Effect]:
        """Take in what the owner set here, or how it went to carry a command out; that goes into the decision log too."""
        if isinstance(event, GuardSet):
            put(house.guard, event.now_ns, read_change(event.change))
            # With another roll, or a key that counts again, what was refused may be right: others tell it again.
            refused = house.statements.refused
            house.statements.refused = {known: topic for known, topic in refused.items() if topic not in GUARDED}
            self.due_ns = event.now_ns
            return []
        outcome = Outcome(event.outcome)
        effects = house.guard.carried(event.now_ns, event.command, outcome, event.why, house)
        if not effects:
            return []
        return [decided("guard", event.command, event.why or outcome.value, outcome=outcome.value), *effects]

    def _note_lives(self, house: Household) -> None:
        self.lives = {known: nodes for known, nodes in self.lives.items() if known in house.guard.commands}
        for known, pending in house.guard.commands.items():
            for node in pending.did:
                boot = _life(node, house)
                if boot is not None:
                    self.lives.setdefault(known, {}).setdefault(node, boot)


def _life(node: NodeId, house: Household) -> int | None:
    """Return in which life a node is, or was when its links ended: one that falls over at once is not forgotten for that."""
    if node == house.node:
        return house.boot
    path = house.paths.get(node)
    return path.boot if path is not None else house.known_boots.get(node)


def _is_well(node: NodeId, boot: int, house: Household) -> bool:
    if node == house.node:
        return True
    path = house.paths.get(node)
    if path is None or path.boot != boot:
        return False
    if not house.is_member(node):
        return True
    return house.membership.status(node) in {None, Status.ALIVE} and node in house.registry.offers
