"""Orders about guarded commands: who may approve, what is proposed, how far it is, and the limits of this machine's owner.

Whoever may use this machine's door may propose and approve with the machine's key; what it takes together is for the guard of
each node to say (``kernel/guard``). Rolls and limits are set here alone, on the machine itself. ``orders`` finds these by name.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec

from worldos.agent import clock
from worldos.agent.agent import Agent
from worldos.agent.call import Call
from worldos.agent.guarded import updates
from worldos.agent.orders.guard_rows import Row, command_row, limit_row, roll_row
from worldos.agent.orders.named import named_node
from worldos.agent.orders.realm import realm_called
from worldos.errors import BadRequest, NotAllowed, PeerBroke
from worldos.kernel.events import GuardSet
from worldos.kernel.guard.command import Action, Command, Revoke, class_of, command_id, encode_command
from worldos.kernel.guard.envelope import Limit
from worldos.kernel.guard.levels import RULES
from worldos.kernel.guard.owner import Change, LimitsSet, Resumed, RollSet, Unmuted, encode_change
from worldos.kernel.guard.quorum import APPROVAL_DOMAIN
from worldos.kernel.guard.roll import (
    Approver,
    Roll,
    Share,
    Witness,
    encode_roll,
    passkey_id,
    read_roll,
    roll_id,
)
from worldos.kernel.guard.said import Approval, Halt, encode_said, topic_of
from worldos.kernel.guard.waves import population
from worldos.model.ids import NodeId
from worldos.model.realm import Level, RealmId
from worldos.model.rights import Impact
from worldos.model.statements import Topic

if TYPE_CHECKING:
    from worldos.kernel.guard.pending import Pending

DAY_S = 24 * 3600
HALT_WHY = "a person said so"


class ApproverPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One who may approve, as a person writes it: a machine by name or id, or a passkey with its origin."""

    who: str
    owner: str
    institution: str = ""
    human: bool = False
    passkey: bytes = b""
    rp: str = ""


class SharePart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A share of the budget: of which realm, who gives it out, how many nodes in an hour."""

    place: str
    holder: str
    amount: int


class WitnessPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One who bears witness."""

    who: str
    owner: str


class RollPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A roll as a person writes it. ``nodes`` are machines; ``population``: how many there are where they are not named."""

    approvers: tuple[ApproverPart, ...]
    witnesses: tuple[WitnessPart, ...] = ()
    nodes: tuple[str, ...] = ()
    level: str = ""
    population: int = 0
    shares: tuple[SharePart, ...] = ()


Ppm: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a command goes: its waves and the soak between them, when it begins and ends, to which machines alone."""

    waves_ppm: tuple[Ppm, ...] = ()
    soak_s: int = -1
    begin_s: int = 0
    life_s: int = 0
    to: tuple[str, ...] = ()
    note: str = ""
    cls: Annotated[int, msgspec.Meta(ge=0, le=4)] = 0


DEFAULT = Plan()


class GuardOrders:
    """The orders about guarded commands, by name."""

    async def order_guard_status(self, agent: Agent, call: Call, command: str = "") -> list[Row]:
        """The commands that this node knows of, the newest last; or one, with all that is known of it."""
        known = [_called(agent, command)] if command else list(agent.node.guard.commands.values())
        return [command_row(agent.node, clock.now_ns(), pending) for pending in known]

    async def order_guard_policy(self, agent: Agent, call: Call, realm: str = "") -> list[Row]:
        """The rolls that this node goes by, and what their levels ask for."""
        rolls = agent.node.guard.rolls
        wanted = [_realm(agent, realm)[0]] if realm else sorted(rolls)
        return [roll_row(agent.node, rolls[known]) for known in wanted if known in rolls]

    async def order_guard_roll(self, agent: Agent, call: Call, plan: RollPlan, realm: str = "") -> dict[str, Any]:
        """Make a roll and set it on this machine; without ``nodes`` it has those of this site."""
        target, found = _realm(agent, realm)
        listed = tuple(sorted({named_node(agent.node, name) for name in plan.nodes} or _site(agent)))
        before = agent.node.guard.rolls.get(target)
        roll = Roll(
            realm=target,
            level=Level[plan.level.upper()] if plan.level.upper() in Level.__members__ else found,
            number=before.number + 1 if before is not None else 1,
            population=plan.population or len(listed),
            approvers=tuple(_approver(agent, part) for part in plan.approvers),
            witnesses=tuple(Witness(node=named_node(agent.node, w.who), owner=w.owner) for w in plan.witnesses),
            nodes=() if plan.population else listed,
            cap=sum(share.amount for share in plan.shares),
            shares=tuple(
                Share(place=_realm(agent, s.place)[0], holder=named_node(agent.node, s.holder), amount=s.amount)
                for s in plan.shares
            ),
        )
        try:
            data = encode_roll(roll)
        except PeerBroke as cause:
            raise BadRequest(str(cause)) from cause
        _set(agent, RollSet(roll=data))
        return {"roll": data, **roll_row(agent.node, roll)}

    async def order_guard_take(self, agent: Agent, call: Call, roll: bytes) -> Row:
        """Set a roll that was made on another machine."""
        try:
            read = read_roll(roll)
        except PeerBroke as cause:
            raise BadRequest(f"this is no roll: {cause}") from cause
        _set(agent, RollSet(roll=roll))
        return roll_row(agent.node, read)

    async def order_guard_propose(
        self, agent: Agent, call: Call, action: tuple[Any, ...], realm: str = "", plan: Plan = DEFAULT
    ) -> Row:
        """Propose a command to all nodes of a realm. What the plan does not say is what the level asks for."""
        target, _ = _realm(agent, realm)
        roll = agent.node.guard.rolls.get(target)
        if roll is None:
            hint = "say who may approve: wos guard policy --approver MACHINE=OWNER"
            raise NotAllowed("this machine goes by no roll for that realm", hint=hint)
        rule, wanted = RULES[roll.level], _meant(agent, _action_of(action))
        waves = plan.waves_ppm or rule.waves_ppm
        soak_s = plan.soak_s if plan.soak_s >= 0 else rule.soak_s
        begin_s = plan.begin_s or agent.node.wall_s(clock.now_ns())
        command = Command(
            realm=target,
            roll=roll_id(roll),
            level=roll.level,
            cls=Impact(max(class_of(wanted), plan.cls)),
            action=wanted,
            waves_ppm=waves,
            soak_s=soak_s,
            beacon=secrets.token_bytes(32),
            not_before_s=begin_s,
            expires_s=begin_s + (plan.life_s or max(DAY_S, 2 * soak_s * len(waves))),
            blast=1,
            owner=RealmId(agent.node.registry.owner),
            to=tuple(sorted({named_node(agent.node, name) for name in plan.to})),
            note=plan.note,
        )
        command = msgspec.structs.replace(command, blast=population(command, roll))
        try:
            body = encode_command(command)
        except PeerBroke as cause:
            raise BadRequest(str(cause)) from cause
        agent.state(Topic.COMMAND, body)
        pending = agent.node.guard.commands.get(command_id(body))
        if pending is None:
            raise NotAllowed("this machine's own guard does not take it", hint="wos log says why")
        return command_row(agent.node, clock.now_ns(), pending)

    async def order_guard_to_sign(self, agent: Agent, call: Call, command: str) -> dict[str, Any]:
        """The exact bytes that a passkey signs to approve a command."""
        pending = _called(agent, command)
        return {"id": pending.id, "domain": APPROVAL_DOMAIN, "message": pending.body}

    async def order_guard_approve(
        self, agent: Agent, call: Call, command: str, passkey: bytes = b"", assertion: bytes = b""
    ) -> Row:
        """Approve a command, with this machine's key or with what a passkey signed (``passkey``: its COSE key)."""
        pending = _called(agent, command)
        key = passkey_id(passkey) if assertion else agent.node.node
        before = len(pending.approvals)
        said = Approval(command=pending.id, key=NodeId(key), assertion=assertion)
        agent.state(topic_of(said), encode_said(said))
        if len(pending.approvals) == before and key not in pending.approvals:
            hint = "see who may: wos guard policy"
            raise NotAllowed("this key may not approve it, or what it signed does not fit", hint=hint)
        return command_row(agent.node, clock.now_ns(), pending)

    async def order_guard_stop(self, agent: Agent, call: Call, command: str, mute: bool = False, why: str = "") -> Row:  # noqa: FBT001, FBT002
        """Have a command carried out on no further node; ``mute``: and let who proposed it propose nothing more."""
        pending = _called(agent, command)
        said = Halt(command=pending.id, mute=pending.proposer if mute else "", why=(why or HALT_WHY)[:256])
        agent.state(topic_of(said), encode_said(said))
        return command_row(agent.node, clock.now_ns(), pending)

    async def order_guard_envelope(
        self, agent: Agent, call: Call, limits: tuple[Limit, ...] | None = None
    ) -> list[dict[str, Any]]:
        """The limits that this machine's owner set for what it drives; with ``limits`` these are all of them from now on."""
        if limits is not None:
            _set(agent, LimitsSet(limits=limits))
            if agent.guarded is not None:
                agent.guarded.set_envelope()
                agent.guarded.find()
            agent.scanner.look_anew()  # a thing that may be driven now may have been put there just before
        return [limit_row(agent.node, key) for key in sorted(agent.node.guard.envelope.limits)]

    async def order_guard_unmute(self, agent: Agent, call: Call, key: str) -> dict[str, str]:
        """Let a key that broke the rules count again on this machine."""
        found = [known for known in agent.node.guard.muted if len(key) >= 4 and known.startswith(key)]
        if len(found) != 1:
            raise BadRequest(f"no muted key begins with {key[:60]!r}", hint="they are in: wos guard status")
        _set(agent, Unmuted(key=found[0]))
        return {"unmuted": found[0]}

    async def order_guard_resume(self, agent: Agent, call: Call, realm: str = "") -> dict[str, str]:
        """Go on with a realm that was frozen, on this machine."""
        target, _ = _realm(agent, realm)
        _set(agent, Resumed(realm=target))
        return {"realm": target}

    async def order_guard_state(self, agent: Agent, call: Call) -> dict[str, Any]:
        """What this node's guard holds against keys and realms, and the updates that lie ready."""
        guard = agent.node.guard
        frozen = {realm: breaker.why for realm, breaker in sorted(guard.breakers.items()) if breaker.is_open}
        return {"muted": dict(sorted(guard.muted.items())), "frozen": frozen, "updates": updates(agent.home)}


def _set(agent: Agent, change: Change) -> None:
    if agent.guarded is None:
        raise NotAllowed("an embedded node obeys nobody but its program", hint="start an agent: wos up")
    agent.feed(GuardSet(now_ns=clock.now_ns(), change=encode_change(change)))


def _called(agent: Agent, text: str) -> Pending:
    """Find a command by its id or the beginning of it."""
    commands = agent.node.guard.commands
    found = [known for known in commands if len(text) >= 4 and known.startswith(text)]
    if len(found) != 1:
        what = "no command begins" if not found else f"{len(found)} commands begin"
        raise BadRequest(f"{what} with {text[:60]!r}", hint="wos guard status lists them")
    return commands[found[0]]


def _realm(agent: Agent, text: str) -> tuple[RealmId, Level]:
    """Return a realm that a person named, or this site, and its level."""
    realms = agent.node.realms
    if not text or text == realms.site:
        center = realms.centers.known.get(realms.site)
        return realms.site, center.level if center is not None else realms.level
    row = realm_called(agent, text)
    return RealmId(row["realm"]), Level[str(row["level"]).upper()]


def _site(agent: Agent) -> set[NodeId]:
    return {device.node for device in agent.node.keylog.members().active}


def _approver(agent: Agent, part: ApproverPart) -> Approver:
    if part.passkey:
        key = NodeId(passkey_id(part.passkey))
        return Approver(
            key=key, owner=part.owner, institution=part.institution, human=True, passkey=part.passkey, rp=part.rp
        )
    key = named_node(agent.node, part.who)
    return Approver(key=key, owner=part.owner, institution=part.institution, human=part.human)


def _meant(agent: Agent, action: Action) -> Action:
    """Put the id in the place of a name that a person gave."""
    if not isinstance(action, Revoke):
        return action
    try:
        return Revoke(who=named_node(agent.node, action.who))
    except BadRequest:
        return action  # an account, or somebody whom this machine does not know


def _action_of(parts: tuple[Any, ...]) -> Action:
    """Read an action as programs write it: its tag, then its values."""
    try:
        return msgspec.msgpack.decode(msgspec.msgpack.encode(parts), type=Action)  # type: ignore[no-any-return]
    except msgspec.ValidationError as cause:
        raise BadRequest(f"this is no action: {cause}", hint="see wos guard propose --help") from cause
