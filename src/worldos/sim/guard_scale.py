"""The guard at scale: one command on up to a million nodes, decided by the guards that nodes really run.

Nodes that hear the same statements and have their turn in the same wave decide alike, so one real node with its real ``Guard``
stands for all of them; who is in which wave is worked out for every single node, by the same function. Witnesses are real nodes
too. What an owner allows is asked of every node's own envelope. Statements carry no signature here: nodes check those before a
guard hears of them (``kernel/statements.py``), and no thief of this simulator forges one.

``Campaign`` is one command and what an attacker does with it. ``salami`` is the other attack: very many small commands, each with
its own target, in regions that are cut off from each other. Source: research of 2026 in docs/decisions/0025-guard.md.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

import numpy as np

from worldos.kernel.effects import Carry, Effect, Notice, State
from worldos.kernel.guard.breaker import Breaker
from worldos.kernel.guard.budget import Purse
from worldos.kernel.guard.command import Command, Drive, command_id, encode_command
from worldos.kernel.guard.envelope import Envelope, Limit
from worldos.kernel.guard.limits import SHARE_WINDOW_S
from worldos.kernel.guard.look import looks
from worldos.kernel.guard.pending import Pending, Stage, turn
from worldos.kernel.guard.roll import Roll, encode_roll, read_roll
from worldos.kernel.guard.said import Did, Health, Outcome, Said, Spent, encode_said, topic_of
from worldos.kernel.guard.waves import RANKS, ends, named, rank, reports, wave_of
from worldos.model.ids import AccountId, NodeId
from worldos.model.limits import SECOND
from worldos.model.realm import RealmId
from worldos.model.statements import Statement, Topic
from worldos.node import Node, new_node
from worldos.trust.keylog import KeyLog

Bools: TypeAlias = np.ndarray[tuple[int], np.dtype[np.bool_]]
Waves: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int8]]

BEGIN_S: Final = 1_800_000_000
_ANYTHING: Final = 1 << 60


def name(number: int) -> NodeId:
    """Return the id of a node of the fleet."""
    return NodeId(f"{number:052d}")


class Campaign:
    """One command in a realm. ``acted`` has every node; ``now_s`` counts from the beginning.

    ``harmful``: a node that carries it out is not well any more. ``stolen``: witnesses that say what the attacker wants.
    ``envelope_of`` gives the owner's limits of a node, by number, for what is driven.
    """

    def __init__(
        self,
        roll: Roll,
        command: Command,
        *,
        harmful: bool = True,
        stolen: Iterable[str] = (),
        envelope_of: Callable[[int], Envelope] | None = None,
    ) -> None:
        self.roll, self.command = read_roll(encode_roll(roll)), command
        self.harmful, self.stolen, self.envelope_of = harmful, frozenset(stolen), envelope_of
        self.known = command_id(encode_command(command))
        self.now_ns = SECOND
        self.acted: Bools = np.zeros(roll.population, dtype=np.bool_)
        self.waves = self._waves()
        self.notices: list[tuple[int, Notice]] = []
        self.cohorts = {wave: self._cohort(wave) for wave in sorted(set(self.waves.tolist()))}
        self.witnesses = [self._node(witness.node) for witness in roll.witnesses]
        self._telling: list[tuple[int, NodeId]] = []

    @property
    def reached(self) -> int:
        """Return how many nodes carried it out."""
        return int(self.acted.sum())

    @property
    def now_s(self) -> int:
        """Return how long it has been going on."""
        return self.now_ns // SECOND

    def told(self, notice: str) -> list[int]:
        """Return when people were told of this, for the first time on each kind of node."""
        return [at_s for at_s, each in self.notices if each.name == notice]

    def propose(self, who: NodeId) -> None:
        """Let this key propose the command."""
        self.state(who, Topic.COMMAND, encode_command(self.command))

    def say(self, who: NodeId, said: Said) -> None:
        """Let this key say something about it."""
        self.state(who, topic_of(said), encode_said(said))

    def state(self, who: NodeId, topic: Topic, body: bytes) -> None:
        """Let every node hear a statement."""
        statement = Statement(topic=topic, signer=who, body=body, signature=bytes(64))
        for node in (*self.cohorts.values(), *self.witnesses):
            self._carry(node, node.guard.judge(self.now_ns, statement, node).effects)

    def run(self, seconds: int, step_s: int) -> None:
        """Let time pass."""
        for _ in range(0, seconds, step_s):
            self.now_ns += step_s * SECOND
            for node in (*self.cohorts.values(), *self.witnesses):
                self._carry(node, node.guard.tick(self.now_ns, node))
            self._look()

    # -- nodes ------------------------------------------------------------------------------------------------------------

    def _waves(self) -> Waves:
        """Work out the wave of every node, each by its own rank."""
        listed = named(self.command, self.roll)
        bounds = ends(self.command, self.roll)
        found = np.empty(self.roll.population, dtype=np.int8)
        for number in range(self.roll.population):
            node = self._id(number)
            if listed:
                wave = wave_of(self.command, self.known, self.roll, node)
                found[number] = -1 if wave is None else wave
            else:
                found[number] = bisect_right(bounds, rank(self.known, self.command.beacon, node))
        return found

    def _id(self, number: int) -> NodeId:
        return self.roll.nodes[number] if self.roll.nodes else name(number)

    def _cohort(self, wave: int) -> Node:
        """Make the node that stands for all of a wave: the last, which is hardly ever one of those that tell."""
        return self._node(self._id(int(np.flatnonzero(self.waves == wave)[-1])))

    def _node(self, node: NodeId) -> Node:
        account = AccountId(f"account-{node}"[:52])
        made = new_node(
            node=node, account=account, boot=1, name="n", place="", keylog=KeyLog(), seed=1, now_ns=self.now_ns
        )
        made.wall_ahead_ns = BEGIN_S * SECOND
        made.guard.set_roll(self.roll)
        action = self.command.action
        if isinstance(action, Drive):  # for a whole wave: what owners allow is asked of each of its nodes
            anything = Limit(path=action.path, min_milli=-_ANYTHING, max_milli=_ANYTHING, verbs=(action.verb,))
            made.guard.set_envelope((anything,))
        return made

    # -- what they do -----------------------------------------------------------------------------------------------------

    def _carry(self, node: Node, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Notice):
                self.notices.append((self.now_s, effect))
            elif isinstance(effect, State) and effect.topic is not Topic.HEALTH:
                self.state(node.node, effect.topic, effect.body)
            elif isinstance(effect, Carry):
                for wave, each in self.cohorts.items():
                    if each is node:
                        self._act(wave)
                done = node.guard.carried(self.now_ns, self.known, Outcome.DONE, "", node)
                self._carry(node, done)  # what it tells is told for the whole wave, by ``_act``

    def _act(self, wave: int) -> None:
        """Let all nodes of a wave carry it out, as far as their owners allow, and those that tell tell it."""
        its_turn = np.flatnonzero(self.waves == wave)
        for number in its_turn:
            node = self._id(int(number))
            is_allowed = self._owner_allows(int(number))
            self.acted[number] = is_allowed
            if reports(self.command, self.known, self.roll, node):
                outcome = Outcome.DONE if is_allowed else Outcome.REFUSED
                self._tell(node, Did(command=self.known, wave=wave, outcome=outcome))

    def _tell(self, node: NodeId, did: Did) -> None:
        statement = Statement(topic=Topic.HEALTH, signer=node, body=encode_said(did), signature=bytes(64))
        for each in (*self.cohorts.values(), *self.witnesses):
            each.guard.judge(self.now_ns, statement, each)

    def _owner_allows(self, number: int) -> bool:
        action = self.command.action
        if self.envelope_of is None or not isinstance(action, Drive):
            return True
        return not self.envelope_of(number).refusal(self.now_ns, action)

    def _look(self) -> None:
        for node in self.witnesses:
            if node.node in self.stolen:
                self._lie(node)
                continue
            pending = node.guard.commands.get(self.known)
            if pending is None or pending.stage is Stage.HALTED:
                continue
            for look in looks(pending, self.roll, node.node, node.wall_s(self.now_ns), self._is_of_the_realm):
                sick = look.nodes if self.harmful else ()
                self._carry_health(node, node.guard.saw(self.now_ns, look, sick, node))

    def _is_of_the_realm(self, node: NodeId) -> bool:
        return node in self.roll.nodes or int(node) < self.roll.population

    def _lie(self, node: Node) -> None:
        """Say of every wave, from the first moment on, that all that told of it are well."""
        pending = node.guard.commands.get(self.known)
        if pending is None:
            return
        for wave in range(len(self.command.waves_ppm)):
            if node.node in pending.healths.get(wave, {}):
                continue
            telling = tuple(sorted(each for each, did in pending.did.items() if did.wave == wave))[:64]
            far_s = BEGIN_S + self.command.soak_s * 64
            lie = Health(command=self.known, wave=wave, at_s=far_s, well=telling or (name(0), name(1), name(2)))
            if telling:
                self.say(node.node, lie)

    def _carry_health(self, node: Node, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, State):
                self.state(node.node, effect.topic, effect.body)


class Salami:
    """Many commands without a quorum, in regions that are cut off: what each region's share lets through, and all together."""

    def __init__(self, roll: Roll, regions: Iterable[str]) -> None:
        self.roll = roll
        self.regions = tuple(regions)
        self.purses = {
            (share.place, share.holder): Purse(place=share.place, amount=share.amount) for share in roll.shares
        }
        self.said: list[tuple[NodeId, Spent]] = []
        self.reached: dict[str, int] = dict.fromkeys(self.regions, 0)

    def attack(self, command: Command, region: RealmId, approvals: Iterable[str], now_s: int) -> bool:
        """Send a command to its one target in a region; tell whether the target carried it out."""
        body = encode_command(command)
        known = command_id(body)
        pending = Pending(
            id=known,
            body=body,
            command=command,
            proposer=NodeId("thief"),
            wave=wave_of(command, known, self.roll, command.to[0]),
            seen_ns=0,
            seen_s=now_s,
            approvals=list(approvals),
        )
        for (place, holder), purse in self.purses.items():
            if place == region:
                spent = purse.spend(known, 1, now_s)
                if spent is not None:
                    pending.spent.append((holder, spent))
                    self.said.append((holder, spent))
        decided = turn(pending, self.roll, Breaker(), SECOND, now_s, (region,))
        self.reached[region] += decided.go
        return decided.go


def window_of(now_s: int) -> int:
    """Return the window of a share's budget at this moment."""
    return now_s // SHARE_WINDOW_S


def part_of_ranks(command: Command, roll: Roll, wave: int) -> float:
    """Return the part of all nodes that is expected to be reached when a wave and all before it are done."""
    return ends(command, roll)[wave] / (roll.population if named(command, roll) else RANKS)
