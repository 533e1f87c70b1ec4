"""A fleet for tests: real guards of many nodes, what they say to each other, and one clock for all.

``House`` is the little of a household that a guard asks. Statements are really signed, and reach every node that is not cut off
from their signer; effects are carried out as the agent does.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from tests.trust.soft_passkey import SoftPasskey

from worldos.kernel.effects import Carry, Effect, Notice, State
from worldos.kernel.guard.command import Action, Command, SetConfig, command_id, encode_command, read_command
from worldos.kernel.guard.guard import Guard
from worldos.kernel.guard.levels import RULES
from worldos.kernel.guard.quorum import APPROVAL_DOMAIN
from worldos.kernel.guard.roll import Approver, Roll, Share, Witness, encode_roll, passkey_id, read_roll, roll_id
from worldos.kernel.guard.said import Approval, Halt, Outcome, Said, encode_said, topic_of
from worldos.kernel.statements import Verdict
from worldos.model.ids import NodeId
from worldos.model.limits import SECOND
from worldos.model.realm import Level, RealmId
from worldos.model.rights import Impact
from worldos.model.statements import Statement, Topic
from worldos.trust.keylog import KeyLog
from worldos.trust.keys import DeviceKey
from worldos.trust.passkeys import write_assertion
from worldos.trust.statements import check_statement, sign_statement

REALM = RealmId("realm")
BEGIN_S = 1_800_000_000
DAY_S = 24 * 3600


def key(name: str) -> DeviceKey:
    """The key of a name, always the same."""
    return DeviceKey.from_seed(name.encode().ljust(32, b".")[:32])


def id_of(name: str) -> NodeId:
    return NodeId(key(name).node_id)


class Restoring:
    restoring = False


class Known(msgspec.Struct):
    known: dict[str, object] = {}


class Above(msgspec.Struct):
    site: str
    centers: Known


class House:
    """What a guard asks of its household: who it is, who is a member, and what time it is."""

    def __init__(self, node: NodeId, site: str = "site", members: Iterable[str] = ()) -> None:
        self.node = node
        self.statements = Restoring()
        self.keylog = KeyLog()
        self.realms = Above(site=site, centers=Known())
        self.members = {node, *members}
        self.wall_ahead_ns = BEGIN_S * SECOND

    def is_member(self, node: str) -> bool:
        return node in self.members

    def wall_s(self, now_ns: int) -> int:
        return (now_ns + self.wall_ahead_ns) // SECOND if self.wall_ahead_ns else 0


class Machine:
    """One node: its guard, and what it carried out."""

    def __init__(self, name: str, site: str = "site", members: Iterable[str] = ()) -> None:
        self.name, self.key = name, key(name)
        self.node = NodeId(self.key.node_id)
        self.house = House(self.node, site, members)
        self.guard = Guard()
        self.acted: list[Command] = []
        self.notices: list[Notice] = []
        self.kept: dict[bytes, Statement] = {}
        self.outcome = Outcome.DONE

    def did(self) -> list[Action]:
        return [command.action for command in self.acted]

    def told(self, name: str) -> list[Notice]:
        return [notice for notice in self.notices if notice.name == name]


class Fleet:
    """Machines, linked but for ``cut`` pairs of names; ``now_s`` since the fleet began."""

    def __init__(self, size: int, roll: Roll | None = None, prefix: str = "node") -> None:
        self.machines = [Machine(f"{prefix}{number}") for number in range(size)]
        self.by_node = {machine.node: machine for machine in self.machines}
        self.now_ns = SECOND
        self.verdicts: list[Verdict] = []
        self.apart: dict[NodeId, int] = {}
        if roll is not None:
            self.set_roll(roll)

    def set_roll(self, roll: Roll) -> None:
        for machine in self.machines:
            machine.guard.set_roll(read_roll(encode_roll(roll)))

    @property
    def now_s(self) -> int:
        return BEGIN_S + self.now_ns // SECOND

    def state(self, who: DeviceKey, topic: Topic, body: bytes) -> list[Verdict]:
        """Sign this and let everybody hear it who can."""
        statement = sign_statement(who, topic, body)
        check_statement(statement)
        mine = self.apart.get(NodeId(who.node_id), 0)
        there = [machine for machine in self.machines if self.apart.get(machine.node, 0) == mine]
        return [verdict for machine in there if (verdict := self.hear(machine, statement)) is not None]

    def hear(self, machine: Machine, statement: Statement) -> Verdict | None:
        """Let one machine judge a statement, unless it has it."""
        mark = statement.topic.encode() + statement.signer.encode() + statement.body
        if mark in machine.kept:
            return None
        verdict = machine.guard.judge(self.now_ns, statement, machine.house)  # type: ignore[arg-type]
        self.verdicts.append(verdict)
        if verdict.keep:
            machine.kept[mark] = statement
        self.carry(machine, verdict.effects)
        return verdict

    def carry(self, machine: Machine, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Carry):
                machine.acted.append(read_command(effect.command))
                known = command_id(effect.command)
                done = machine.guard.carried(self.now_ns, known, machine.outcome, "", machine.house)  # type: ignore[arg-type]
                self.carry(machine, done)
            elif isinstance(effect, State):
                self.state(machine.key, effect.topic, effect.body)
            elif isinstance(effect, Notice):
                machine.notices.append(effect)

    def say(self, who: str, said: Said) -> list[Verdict]:
        return self.state(key(who), topic_of(said), encode_said(said))

    def propose(self, who: str, command: Command) -> str:
        body = encode_command(command)
        self.state(key(who), Topic.COMMAND, body)
        return command_id(body)

    def approve(self, command: Command, *who: str) -> None:
        for each in who:
            self.say(each, Approval(command=command_id(encode_command(command)), key=id_of(each)))

    def approve_by_passkey(self, command: Command, carrier: str, passkey: SoftPasskey) -> list[Verdict]:
        body = encode_command(command)
        assertion = write_assertion(passkey.assertion(APPROVAL_DOMAIN, body))
        known = passkey_id(passkey.public)
        return self.say(carrier, Approval(command=command_id(body), key=NodeId(known), assertion=assertion))

    def halt(self, who: str, known: str, mute: str = "") -> list[Verdict]:
        return self.say(who, Halt(command=known, mute=mute, why="a person said so"))

    def tick(self) -> None:
        for machine in self.machines:
            self.carry(machine, machine.guard.tick(self.now_ns, machine.house))  # type: ignore[arg-type]

    def look(self, sick: Iterable[NodeId] = ()) -> None:
        """Let every witness look at what it should; those in ``sick`` are not well."""
        bad = set(sick)
        for machine in self.machines:
            for look in machine.guard.looking(self.now_ns, machine.house):  # type: ignore[arg-type]
                seen = tuple(node for node in look.nodes if node in bad)
                self.carry(machine, machine.guard.saw(self.now_ns, look, seen, machine.house))  # type: ignore[arg-type]

    def run(self, seconds: int, step_s: int = 1, *, looks: bool = True, sick: Iterable[NodeId] = ()) -> None:
        for _ in range(0, seconds, step_s):
            self.now_ns += step_s * SECOND
            self.tick()
            if looks:
                self.look(sick)

    def join(self) -> None:
        """Let those that were cut off from each other hear what the others kept."""
        self.apart = {}
        everything = [statement for machine in self.machines for statement in machine.kept.values()]
        for machine in self.machines:
            for statement in everything:
                self.hear(machine, statement)

    def acted(self) -> list[str]:
        return [machine.name for machine in self.machines if machine.acted]


def a_roll(
    level: Level,
    nodes: Iterable[str] = (),
    approvers: Iterable[tuple[str, str] | str] = (),
    witnesses: Iterable[str] = (),
    *,
    population: int = 0,
    human: bool = True,
    shares: tuple[Share, ...] = (),
    number: int = 1,
) -> Roll:
    """A roll: approvers are names, or names with their institutions; each its own owner."""
    named = tuple(sorted(id_of(name) for name in nodes))
    pairs = [(each, each) if isinstance(each, str) else each for each in approvers]
    return Roll(
        realm=REALM,
        level=level,
        number=number,
        population=population or len(named),
        approvers=tuple(Approver(key=id_of(n), owner=n, institution=i, human=human) for n, i in pairs),
        witnesses=tuple(Witness(node=id_of(name), owner=f"witness {name}") for name in witnesses),
        nodes=() if population else named,
        cap=sum(share.amount for share in shares),
        shares=shares,
    )


def a_command(roll: Roll, action: Action | None = None, /, **more: object) -> Command:
    """A command that its level allows, to begin at once."""
    rule = RULES[roll.level]
    chosen: dict[str, object] = {
        "realm": roll.realm,
        "roll": roll_id(roll),
        "level": roll.level,
        "cls": Impact.COSTLY,
        "action": action or SetConfig(key="color", value="blue"),
        "waves_ppm": rule.waves_ppm,
        "soak_s": rule.soak_s,
        "beacon": bytes(32),
        "not_before_s": BEGIN_S,
        "expires_s": BEGIN_S + 30 * DAY_S,
        "blast": roll.population,
        "owner": "owner",
    }
    return Command(**{**chosen, **more})  # type: ignore[arg-type]
