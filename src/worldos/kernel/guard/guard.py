"""The guard of one node: it keeps the commands of all realms that this node belongs to, and carries out none before its turn.

It is the keeper of what is said under ``COMMAND``, ``APPROVAL``, ``HEALTH`` and ``STOP``. Widening needs a quorum; one key can
only stop: a command, or another key, and each key only so often. A key that breaks the rules in a way that no honest one would (a
command without its waves, one due without its quorum, a unit of budget given out twice) is *muted* here: what it says counts no
more until the owner says so. All that this node does by it is an effect: ``Carry`` for the shell, ``State`` for the others.

Invariant: ``Carry`` is given once in a life for a command, and only by ``pending.turn``. The owner's envelope is asked after all
that, by the node that would act, and nothing said here can change it. Times in ns of the node's clock and in unix seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldos.kernel.effects import Effect, State
from worldos.kernel.guard.acting import act, conclude, end, turn_of
from worldos.kernel.guard.hearing import judge
from worldos.kernel.guard.limits import (
    EARLY_NS,
    TICK_NS,
    VOUCHED_MAX,
)
from worldos.kernel.guard.look import Look, looks
from worldos.kernel.guard.pending import Stage, Turn
from worldos.kernel.guard.roll import witnesses_of
from worldos.kernel.guard.said import (
    Health,
    Outcome,
    encode_said,
)
from worldos.kernel.guard.table import Table
from worldos.kernel.guard.waves import named
from worldos.kernel.statements import Verdict
from worldos.model.ids import NodeId
from worldos.model.limits import NEVER_NS
from worldos.model.statements import Statement, Topic

if TYPE_CHECKING:
    from worldos.kernel.household import Household


class Guard(Table, kw_only=True):
    """The keeper of its topics, and what a node asks of it."""

    def judge(self, now_ns: int, statement: Statement, house: Household) -> Verdict:
        """Take in a statement about a command, or refuse it."""
        return judge(self, now_ns, statement, house)

    def tick(self, now_ns: int, house: Household) -> list[Effect]:
        """Look at every command again: whose turn has come, whose time is over."""
        effects: list[Effect] = []
        for known in sorted(self.commands):
            pending = self.commands[known]
            effects.extend(act(self, now_ns, pending, house))
            now_s = house.wall_s(now_ns)
            if now_s >= pending.command.expires_s:
                effects.extend(end(self, pending))
        for about in [known for known, at_ns in self.early_ns.items() if at_ns + EARLY_NS <= now_ns]:
            del self.early[about], self.early_ns[about]
            self.put_away(about)
        return effects

    def due_ns(self, now_ns: int) -> int:
        """Return when ``tick`` is to be called next."""
        return now_ns + TICK_NS if self.commands or self.early else NEVER_NS

    def turn(self, now_ns: int, known: str, house: Household) -> Turn:
        """Say whether this command's turn has come here, and why not."""
        return turn_of(self, now_ns, self.commands[known], house)

    def carried(self, now_ns: int, known: str, outcome: Outcome, why: str, house: Household) -> list[Effect]:
        """Take in how it went here; what failed freezes the realm on this node."""
        pending = self.commands.get(known)
        if pending is None or pending.stage is not Stage.CARRYING or pending.wave is None:
            return []
        return conclude(self, now_ns, pending, outcome, why, house)

    def looking(self, now_ns: int, house: Household) -> list[Look]:
        """Return what this node should look at now as a witness; answer each with ``saw``."""
        found: list[Look] = []
        now_s = house.wall_s(now_ns)
        for known in sorted(self.commands):
            pending = self.commands[known]
            roll = self.roll_of(pending)
            if roll is None or house.node not in witnesses_of(roll) or pending.stage is Stage.HALTED:
                continue
            known_by_name = frozenset(named(pending.command, roll))
            is_known = known_by_name.__contains__ if known_by_name else house.may_link
            found.extend(looks(pending, roll, house.node, now_s, is_known))
        return found

    def saw(self, now_ns: int, look: Look, sick: tuple[NodeId, ...], house: Household) -> list[Effect]:
        """Say as a witness what was seen: those of the look that are sick, the others well."""
        bad = {*sick, *look.failed}
        well = tuple(sorted(set(look.nodes) - bad))
        said = Health(
            command=look.command,
            wave=look.wave,
            at_s=house.wall_s(now_ns),
            well=well,
            sick=tuple(sorted(bad)[:VOUCHED_MAX]),
        )
        return [State(topic=Topic.HEALTH, body=encode_said(said))]
