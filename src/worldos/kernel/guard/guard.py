"""The guard of one node: it keeps the commands of all realms that this node belongs to, and carries out none before its turn.

It is the keeper of what is said under ``COMMAND``, ``APPROVAL``, ``HEALTH`` and ``STOP``. Widening needs a quorum; one key can
only stop: a command, or another key, and each key only so often. A key that breaks the rules in a way that no honest one would (a
command without its waves, one due without its quorum, a unit of budget given out twice) is *muted* here: what it says counts no
more until the owner says so. All that this node does by it is an effect: ``Carry`` for the shell, ``State`` for the others.

Invariant: ``Carry`` is given once in a life for a command, and only by ``pending.turn``. The owner's envelope is asked after all
that, by the node that would act, and nothing said here can change it. Times in ns of the node's clock and in unix seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import msgspec

from worldos.errors import BadSignature, PeerBroke
from worldos.kernel.effects import Carry, Effect, Notice, State
from worldos.kernel.guard.breaker import Breaker
from worldos.kernel.guard.budget import Buckets, Purse, overlap, share_of, within
from worldos.kernel.guard.command import (
    Command,
    Drive,
    Resume,
    SetRoll,
    command_id,
    haste,
    narrows,
    read_command,
    too_far_ahead,
)
from worldos.kernel.guard.envelope import Envelope, Limit
from worldos.kernel.guard.levels import RULES
from worldos.kernel.guard.limits import (
    COMMANDS_MAX,
    COMMANDS_PER_SIGNER_MAX,
    EARLY_MAX,
    EARLY_PER_SIGNER_MAX,
    ENDED_MAX,
    HASTE_GRACE_S,
    ROLLS_MAX,
    SHARE_WINDOW_S,
    TICK_NS,
    VOUCHED_MAX,
)
from worldos.kernel.guard.look import Look, failed, looks
from worldos.kernel.guard.pending import Pending, Stage, Turn, agreed, has_budget, is_bare, sick_wave, turn
from worldos.kernel.guard.quorum import voice
from worldos.kernel.guard.roll import Roll, approvers_of, read_roll, roll_id, witnesses_of
from worldos.kernel.guard.said import (
    Approval,
    Did,
    Halt,
    Health,
    Outcome,
    Said,
    Spent,
    encode_said,
    read_said,
    topic_of,
)
from worldos.kernel.guard.waves import population, reports, wave_of
from worldos.kernel.statements import Verdict
from worldos.model.ids import NodeId
from worldos.model.limits import NEVER_NS
from worldos.model.rights import Impact
from worldos.model.statements import Statement, Topic
from worldos.trust.keylog import DeviceStatus
from worldos.trust.statements import statement_id

if TYPE_CHECKING:
    from worldos.kernel.household import Household


class Guard(msgspec.Struct, kw_only=True):
    """The table. ``rolls`` are by realm; ``early`` are statements about commands that are not known here yet.

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
        self.breakers.pop(realm, None)

    # -- what is said -----------------------------------------------------------------------------------------------------

    def judge(self, now_ns: int, statement: Statement, house: Household) -> Verdict:
        """Take in a statement about a command, or refuse it."""
        if statement.signer in self.muted:
            return _no(f"this key is muted: {self.muted[statement.signer]}")
        try:
            if statement.topic is Topic.COMMAND:
                about, verdict = command_id(statement.body), self._proposed(now_ns, statement, house)
            else:
                said = read_said(statement.topic, statement.body)
                about, verdict = said.command, self._heard(now_ns, statement, said, house)
        except (PeerBroke, BadSignature) as error:
            return _no(str(error))
        if verdict.keep:
            self.kept.setdefault(about, []).append((statement.topic, statement_id(statement)))
        return msgspec.structs.replace(verdict, drop=(*verdict.drop, *self.over.pop(statement.topic, ())))

    def _heard(self, now_ns: int, statement: Statement, said: Said, house: Household) -> Verdict:
        pending = self.commands.get(said.command)
        if pending is None:
            return self._too_early(statement, said.command, house)
        roll = self._roll_of(pending)
        if roll is None:
            return _no("the roll of this command is not the one of this node any more")
        signer = NodeId(statement.signer)
        match said:
            case Approval():
                return self._approved(now_ns, signer, said, pending, roll, house)
            case Spent():
                return self._spent(now_ns, signer, said, pending, roll, house)
            case Did():
                return self._did(signer, said, pending, roll, house)
            case Health():
                return self._looked(now_ns, signer, said, pending, roll)
            case Halt():
                return self._halted(now_ns, signer, said, pending, roll, house)
            case _:
                assert_never(said)

    def _proposed(self, now_ns: int, statement: Statement, house: Household) -> Verdict:
        """Take in a command, if this node has its roll and whoever says it may propose one."""
        body, signer = statement.body, NodeId(statement.signer)
        command = read_command(body)
        roll = self.rolls.get(command.realm)
        if roll is None:
            return _no("this node has no roll of that realm")
        if not self._may_propose(signer, roll, house):
            return _no("whoever proposes this is not of the realm")
        known = command_id(body)
        if known in self.commands:
            return _no("it was proposed already")
        why = self._form_refusal(now_ns, command, roll, house)
        if why:
            return _no(why)
        fast = haste(command)
        if fast:
            return Verdict(
                keep=False, why=fast, effects=self._alarm(signer, known, f"it goes too fast: {fast}", mute=True)
            )
        full = self._no_room(now_ns, signer, house)
        if full:
            return _no(full)
        wave = wave_of(command, known, roll, house.node)
        self.commands[known] = pending = Pending(
            id=known,
            body=body,
            command=command,
            proposer=signer,
            wave=wave,
            seen_ns=now_ns,
            seen_s=house.wall_s(now_ns),
        )
        effects: list[Effect] = [_notice("command proposed", pending, by=signer, wave=-1 if wave is None else wave)]
        for early in self.early.pop(known, ()):
            effects.extend(self._again(now_ns, early, house))
        return Verdict(keep=True, effects=(*effects, *self._act(now_ns, pending, house)))

    def _form_refusal(self, now_ns: int, command: Command, roll: Roll, house: Household) -> str:
        now_s = house.wall_s(now_ns)
        if command.roll != roll_id(roll):
            return "it was made under another roll than this node's"
        if command.level != roll.level:
            return f"the realm is of level {roll.level.name.lower()}"
        if population(command, roll) > command.blast:
            return f"it reaches {population(command, roll)} nodes, and says {command.blast} at most"
        if now_s and now_s >= command.expires_s:
            return "its time is over"
        if now_s and too_far_ahead(command, now_s):
            return "it is for a time that is too far ahead"
        if isinstance(command.action, SetRoll):
            after = read_roll(command.action.roll)
            if after.realm != roll.realm or after.level != roll.level or after.number <= roll.number:
                return "a new roll is of the same realm and level, and has a higher number"
        return ""

    def _approved(
        self, now_ns: int, signer: NodeId, said: Approval, pending: Pending, roll: Roll, house: Household
    ) -> Verdict:
        if said.key in self.muted:
            return _no(f"this key is muted: {self.muted[said.key]}")
        if said.key in pending.approvals:
            return _no("it was approved by this key already")
        approver = voice(roll, signer, said, pending.body)
        if approver is None:
            return _no("no approver of this realm's roll")
        pending.approvals.append(said.key)
        tally = agreed(pending, roll, self._void(house))
        effects = [_notice("command approved", pending, by=approver.owner, missing=tally.missing)]
        return Verdict(keep=True, effects=(*effects, *self._act(now_ns, pending, house)))

    def _spent(
        self, now_ns: int, signer: NodeId, said: Spent, pending: Pending, roll: Roll, house: Household
    ) -> Verdict:
        share = share_of(roll, signer, said.place)
        if share is None or not within(share, said):
            return _no("no such share, or not so much of it")
        if said.window > house.wall_s(now_ns) // SHARE_WINDOW_S + 1 and not house.statements.restoring:
            return _no("it is spent of a window that is not yet")
        given = self.spendings.setdefault(f"{signer}/{said.place}", [])
        twice = next((other for other in given if overlap(other, said)), None)
        if twice is not None:
            return Verdict(
                keep=True,
                effects=self._alarm(signer, pending.id, f"a unit was given to {twice.command} too", mute=True),
            )
        given.append(said)
        pending.spent.append((signer, said))
        if signer == house.node:
            self._purse(roll, said.place, house).gave(said)
        return Verdict(keep=True, effects=tuple(self._act(now_ns, pending, house)))

    def _did(self, signer: NodeId, said: Did, pending: Pending, roll: Roll, house: Household) -> Verdict:
        if wave_of(pending.command, pending.id, roll, signer) != said.wave:
            return _no("it is not that node's wave")
        if not reports(pending.command, pending.id, roll, signer):
            return _no("this node need not tell")
        if signer in pending.did:
            return _no("it told so already")
        pending.did[signer] = said
        if signer == house.node and pending.stage in {Stage.WAITING, Stage.CARRYING}:
            pending.stage = Stage.DID  # in an earlier life, perhaps: it is not carried out twice
        return Verdict(keep=True)

    def _looked(self, now_ns: int, signer: NodeId, said: Health, pending: Pending, roll: Roll) -> Verdict:
        if signer not in witnesses_of(roll):
            return _no("no witness of this realm's roll")
        if said.wave >= len(pending.command.waves_ppm):
            return _no("there is no such wave")
        seen = pending.healths.setdefault(said.wave, {})
        before = seen.get(signer)
        if before is not None and before.at_s >= said.at_s:
            return _no("this witness looked again since")
        seen[signer] = said
        old = () if before is None else (_id_of(signer, before),)
        return Verdict(keep=True, effects=tuple(self._feel(now_ns, pending, roll)), drop=old)

    def _halted(
        self, now_ns: int, signer: NodeId, said: Halt, pending: Pending, roll: Roll, house: Household
    ) -> Verdict:
        is_owner = house.is_member(signer)
        if not is_owner and signer not in approvers_of(roll) and signer not in witnesses_of(roll):
            return _no("only who is on the roll, or the owner here, may stop a command")
        if not house.statements.restoring and not self.buckets.may_stop(now_ns, signer):
            return _no("this key stopped too much in this hour")
        effects: list[Effect] = []
        if pending.stage is Stage.WAITING:
            pending.stage, pending.why = Stage.HALTED, said.why or "it was stopped"
            effects.append(_notice("command stopped", pending, by=signer, why=said.why))
        if said.mute in {pending.proposer, *pending.approvals} and said.mute != signer:
            effects.extend(self._alarm(said.mute, pending.id, f"muted by {signer}", mute=True))
        return Verdict(keep=True, effects=tuple(effects))

    def _again(self, now_ns: int, early: Statement, house: Household) -> tuple[Effect, ...]:
        """Judge what was put aside; it is kept already, and goes with its command."""
        try:
            return self._heard(now_ns, early, read_said(early.topic, early.body), house).effects
        except (PeerBroke, BadSignature):
            return ()

    def _too_early(self, statement: Statement, about: str, house: Household) -> Verdict:
        """Put aside what is about a command that is not known yet: statements come in any order."""
        if about in self.ended:
            return _no("that command is over")
        signer = statement.signer
        waiting = [each for many in self.early.values() for each in many]
        is_known = house.is_member(signer) or any(
            signer in approvers_of(roll) or signer in witnesses_of(roll) or signer in roll.nodes
            for roll in self.rolls.values()
        )
        if len(waiting) >= (EARLY_MAX if is_known else EARLY_MAX // 2):
            return _no("too much is said about commands that are not known here")
        if sum(each.signer == signer for each in waiting) >= EARLY_PER_SIGNER_MAX:
            return _no("this node says too much about commands that are not known here")
        self.early.setdefault(about, []).append(statement)
        return Verdict(keep=True)

    # -- what comes of it -------------------------------------------------------------------------------------------------

    def tick(self, now_ns: int, house: Household) -> list[Effect]:
        """Look at every command again: whose turn has come, whose time is over."""
        effects: list[Effect] = []
        for known in sorted(self.commands):
            pending = self.commands[known]
            effects.extend(self._act(now_ns, pending, house))
            now_s = house.wall_s(now_ns)
            if now_s >= pending.command.expires_s:
                effects.extend(self._end(pending))
        return effects

    def due_ns(self, now_ns: int) -> int:
        """Return when ``tick`` is to be called next."""
        return now_ns + TICK_NS if self.commands else NEVER_NS

    def turn(self, now_ns: int, known: str, house: Household) -> Turn:
        """Say whether this command's turn has come here, and why not."""
        pending = self.commands[known]
        roll = self.rolls.get(pending.command.realm)
        places = (*self.places, *places_of(house))
        breaker = self.breakers.get(pending.command.realm, Breaker())
        return turn(pending, roll, breaker, now_ns, house.wall_s(now_ns), places, self._void(house))

    def carried(self, now_ns: int, known: str, outcome: Outcome, why: str, house: Household) -> list[Effect]:
        """Take in how it went here; what failed freezes the realm on this node."""
        pending = self.commands.get(known)
        if pending is None or pending.stage is not Stage.CARRYING or pending.wave is None:
            return []
        return self._conclude(now_ns, pending, outcome, why, house)

    def looking(self, now_ns: int, house: Household) -> list[Look]:
        """Return what this node should look at now as a witness; answer each with ``saw``."""
        found: list[Look] = []
        now_s = house.wall_s(now_ns)
        for known in sorted(self.commands):
            pending = self.commands[known]
            roll = self._roll_of(pending)
            if roll is None or house.node not in witnesses_of(roll) or pending.stage is Stage.HALTED:
                continue
            found.extend(looks(pending, roll, house.node, now_s))
        return found

    def saw(self, now_ns: int, look: Look, sick: tuple[NodeId, ...], house: Household) -> list[Effect]:
        """Say as a witness what was seen: those of the look that are sick, the others well."""
        bad = {*sick, *failed(self.commands[look.command], look.wave)}
        well = tuple(sorted(set(look.nodes) - bad))
        said = Health(
            command=look.command,
            wave=look.wave,
            at_s=house.wall_s(now_ns),
            well=well,
            sick=tuple(sorted(bad)[:VOUCHED_MAX]),
        )
        return [State(topic=Topic.HEALTH, body=encode_said(said))]

    def _act(self, now_ns: int, pending: Pending, house: Household) -> list[Effect]:
        """Do what can be done about a command now."""
        roll = self._roll_of(pending)
        if roll is None or pending.stage is not Stage.WAITING or house.statements.restoring:
            return []
        pending.seen_s = pending.seen_s or house.wall_s(now_ns)
        effects = self._feel(now_ns, pending, roll)
        effects.extend(self._watch(now_ns, pending, roll, house))
        effects.extend(self._give(now_ns, pending, roll, house))
        if not self.turn(now_ns, pending.id, house).go:
            return effects
        bare = narrows(pending.command.action) and not self.buckets.narrow.take(now_ns)
        if bare or not self.buckets.node.take(now_ns):
            return effects  # its turn stays, for when there is room again
        return [*effects, *self._begin(now_ns, pending, house)]

    def _begin(self, now_ns: int, pending: Pending, house: Household) -> list[Effect]:
        """Carry a command out: the guard's own by itself, within the envelope what is driven, the rest by the shell."""
        pending.stage = Stage.CARRYING
        action = pending.command.action
        if isinstance(action, SetRoll):
            self.set_roll(read_roll(action.roll))
            return self._conclude(now_ns, pending, Outcome.DONE, "", house)
        if isinstance(action, Resume):
            self.resume(pending.command.realm)
            return self._conclude(now_ns, pending, Outcome.DONE, "", house)
        if isinstance(action, Drive):
            why = self.envelope.refusal(now_ns, action)
            if why:
                return self._conclude(now_ns, pending, Outcome.REFUSED, why, house)
            self.envelope.drove(now_ns, action)
        return [Carry(command=pending.body)]

    def _conclude(self, now_ns: int, pending: Pending, outcome: Outcome, why: str, house: Household) -> list[Effect]:
        assert pending.wave is not None
        pending.stage, pending.why = Stage.DID, why
        effects: list[Effect] = [_notice("command carried out", pending, outcome=outcome.value, why=why)]
        roll = self._roll_of(pending)
        if outcome is Outcome.FAILED and self._breaker(pending).trip(now_ns, pending.id, f"it failed here: {why}"):
            effects.append(_notice("guard frozen", pending, why=why))
        if roll is not None and reports(pending.command, pending.id, roll, house.node):
            did = Did(command=pending.id, wave=pending.wave, outcome=outcome)
            effects.append(State(topic=topic_of(did), body=encode_said(did)))
        del house
        return effects

    def _feel(self, now_ns: int, pending: Pending, roll: Roll) -> list[Effect]:
        """Freeze the realm if witnesses saw that a wave did badly."""
        why = sick_wave(pending, roll)
        if not why or not self._breaker(pending).trip(now_ns, pending.id, why):
            return []
        if pending.stage is Stage.WAITING:
            pending.stage, pending.why = Stage.HALTED, why
        return [_notice("guard frozen", pending, why=why)]

    def _watch(self, now_ns: int, pending: Pending, roll: Roll, house: Household) -> list[Effect]:
        """Sound the alarm for a physical command that is due and was not agreed on: nobody honest is in such haste."""
        command, now_s = pending.command, house.wall_s(now_ns)
        if not RULES[command.level].hasty or command.cls < Impact.PHYSICAL or not now_s or now_s < command.not_before_s:
            return []
        tally = agreed(pending, roll, self._void(house))
        if not tally.missing:
            return []
        effects: list[Effect] = []
        if not pending.is_alarmed:
            pending.is_alarmed = True
            effects.extend(self._alarm(pending.proposer, pending.id, "it is due, and is not agreed on", mute=False))
        if now_s >= max(command.not_before_s, pending.seen_s) + HASTE_GRACE_S:
            pending.stage, pending.why = Stage.HALTED, "it was due, and was not agreed on"
            lonely = pending.approvals if len(tally.owners) <= 1 else ()
            for key in sorted({pending.proposer, *lonely}):
                effects.extend(self._alarm(key, pending.id, pending.why, mute=True))
        return effects

    def _give(self, now_ns: int, pending: Pending, roll: Roll, house: Household) -> list[Effect]:
        """Give units of the shares that this node holds to a command that needs them; each once, as long as there are any."""
        now_s, command = house.wall_s(now_ns), pending.command
        if not RULES[command.level].budgeted or not is_bare(pending, roll) or now_s < max(1, command.not_before_s):
            return []
        if agreed(pending, roll, self._void(house)).missing:
            return []
        effects: list[Effect] = []
        for share in roll.shares:
            if share.holder != house.node or has_budget(pending, roll, (share.place,), self._void(house)):
                continue
            spent = self._purse(roll, share.place, house).spend(pending.id, population(command, roll), now_s)
            if spent is not None:
                effects.append(State(topic=Topic.APPROVAL, body=encode_said(spent)))
        return effects

    def _end(self, pending: Pending) -> list[Effect]:
        del self.commands[pending.id]
        for topic, statement in self.kept.pop(pending.id, ()):
            self.over.setdefault(topic, []).append(statement)
        self.ended[pending.id] = pending.stage.value
        while len(self.ended) > ENDED_MAX:
            del self.ended[next(iter(self.ended))]
        if pending.stage in {Stage.WAITING, Stage.HALTED}:
            return [_notice("command ended", pending, why=pending.why or "its time is over")]
        return []

    def _alarm(self, key: str, about: str, why: str, *, mute: bool) -> tuple[Effect, ...]:
        """Tell that a key does what no honest one would; a muted one counts no more here."""
        if mute:
            self.muted[key] = why
        return (Notice(name="guard alarm", fields={"key": key, "command": about, "why": why, "muted": int(mute)}),)

    # -- small questions --------------------------------------------------------------------------------------------------

    def _roll_of(self, pending: Pending) -> Roll | None:
        roll = self.rolls.get(pending.command.realm)
        is_current = roll is not None and roll_id(roll) == pending.command.roll
        return roll if is_current else self.past.get(pending.command.roll)

    def _breaker(self, pending: Pending) -> Breaker:
        return self.breakers.setdefault(pending.command.realm, Breaker())

    def _purse(self, roll: Roll, place: str, house: Household) -> Purse:
        share = share_of(roll, house.node, place)
        assert share is not None
        purse = self.purses.setdefault(place, Purse(place=share.place, amount=share.amount))
        purse.amount = share.amount
        return purse

    def _void(self, house: Household) -> frozenset[str]:
        """Return the keys that do not count: muted ones, and devices of our account that were put out."""
        members = house.keylog.members().devices if house.keylog.entries else ()
        return frozenset(self.muted).union(d.node for d in members if d.status is not DeviceStatus.ACTIVE)

    def _may_propose(self, signer: NodeId, roll: Roll, house: Household) -> bool:
        is_on_roll = signer in approvers_of(roll) or signer in witnesses_of(roll) or signer in roll.nodes
        return is_on_roll or house.is_member(signer)

    def _no_room(self, now_ns: int, signer: NodeId, house: Household) -> str:
        if house.statements.restoring:
            return ""
        if len(self.commands) >= COMMANDS_MAX:
            return f"{COMMANDS_MAX} commands are the most"
        if sum(pending.proposer == signer for pending in self.commands.values()) >= COMMANDS_PER_SIGNER_MAX:
            return f"{COMMANDS_PER_SIGNER_MAX} commands by one proposer are the most"
        if not self.buckets.may_propose(now_ns, signer):
            return "this key proposed too much in this hour"
        return ""


def places_of(house: Household) -> tuple[str, ...]:
    """Return the realms in which a node is: its site, and those above it as its center says."""
    center = house.realms.centers.known.get(house.realms.site)
    return (house.realms.site, *(center.lineage if center is not None else ()))


def _no(why: str) -> Verdict:
    return Verdict(keep=False, why=why)


def _notice(name: str, pending: Pending, **fields: str | int) -> Notice:
    return Notice(name=name, fields={"command": pending.id, "realm": pending.command.realm, **fields})


def _id_of(signer: NodeId, said: Said) -> str:
    return statement_id(Statement(topic=topic_of(said), signer=signer, body=encode_said(said), signature=bytes(64)))
