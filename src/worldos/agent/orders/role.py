"""Orders about rights: give and take back roles, and say who may do what, and why. ``orders`` finds them by name."""

from __future__ import annotations

import secrets
import time
from typing import Any

from worldos.agent import clock
from worldos.agent.agent import Agent
from worldos.agent.call import Call
from worldos.agent.orders.realm import realm_called
from worldos.agent.orders.right_names import Holder, holders_called, path_called, path_shown
from worldos.agent.wallet import Wallet, take_over_grants
from worldos.errors import BadRequest, BadSignature, NotAllowed, PeerBroke
from worldos.kernel.authority import Asked, level_of
from worldos.kernel.roles import Role, RoleGiven, write_role
from worldos.model.limits import SECOND
from worldos.model.realm import Level
from worldos.model.rights import NODE, REALM, Impact, Op, Path, impact_of_kind, op_of_kind
from worldos.model.statements import Topic
from worldos.trust.feature_code import feature_code_of
from worldos.trust.grant import Authority, issue, read_chain
from worldos.trust.grant_text import grant_text, read_grant_text
from worldos.trust.revocation import EpochBegan, GrantRevoked, write_revocation
from worldos.trust.roles import LIFE_MAX_S, TEMPLATES, RoleName, role_limits

SALT_BYTES = 8
ID_CHARS_MIN = 4
ALL = "all"
LABELS_MAX = 64
KIND_AT = 3  # in a path: account, node, id, kind

IMPACT_OF = {
    Op.READ: Impact.READ,
    Op.AUDIT: Impact.READ,
    Op.LEASE: Impact.REVERSIBLE,
    Op.WRITE: Impact.REVERSIBLE,
    Op.APPROVE: Impact.REVERSIBLE,
    Op.POLICY: Impact.COSTLY,
    Op.ADMIN: Impact.COSTLY,
    Op.DRIVE: Impact.PHYSICAL,
    Op.ADMIT: Impact.IRREVERSIBLE,
    Op.REVOKE: Impact.IRREVERSIBLE,
}
"""How bad an op is where nothing else is said about what is asked for."""


class RoleOrders:
    """The orders about rights, by name."""

    async def order_role_list(self, agent: Agent, call: Call) -> list[dict[str, Any]]:
        """Every role that devices of this account gave, and whether it holds."""
        roles = agent.node.authority.roles.table.values()
        return sorted((_row(agent, role) for role in roles), key=lambda row: (not row["holds"], row["who"], row["id"]))

    async def order_role_grant(  # noqa: PLR0913, PLR0917 - an order's arguments are its JSON
        self,
        agent: Agent,
        call: Call,
        who: str,
        role: str,
        until_s: int = 0,
        realm: str = "",
        resource: str = "",
        untold: bool = False,  # noqa: FBT001, FBT002
    ) -> dict[str, Any]:
        """Give somebody a role: sign a grant for each of their devices, and tell the devices of this account."""
        named = _role_called(role)
        now_s = int(time.time())
        if until_s and not now_s < until_s <= now_s + LIFE_MAX_S:
            raise BadRequest("a role is given for a time from now on, for a year at most", hint="say --until 30d")
        level, below = _level_of(agent, realm)
        paths = path_called(agent, resource) if resource else (below,)
        limits = role_limits(named, level, paths, now_s, until_s)
        holders = holders_called(agent, who)
        told = not untold and not any(holder.own for holder in holders)
        given = [self._give(agent, holder, limits, told=told) for holder in holders]
        return {"role": str(named), "level": level.name.lower(), "told": told, "given": given}

    def _give(self, agent: Agent, holder: Holder, limits: Any, *, told: bool) -> dict[str, Any]:
        owner = agent.node.registry.owner
        epoch = agent.node.authority.revocations.epoch(agent.node)
        fields = {name: getattr(limits, name) for name in limits.__struct_fields__}
        limits = type(limits)(**{**fields, "salt": secrets.token_bytes(SALT_BYTES), "epoch": epoch})
        data = issue(agent.started.key, account=owner, holder=holder.node, limits=limits)
        granted = read_chain(data).authority
        if told:
            body = write_role(RoleGiven(grant=data, name=holder.name[:64], account=holder.account))  # type: ignore[arg-type]
            agent.state(Topic.ROLE, body)
        row = _grant_row(agent, granted)
        return {**row, "who": holder.name, "holder": holder.node, "own": holder.own, "grant": grant_text(data)}

    async def order_role_revoke(self, agent: Agent, call: Call, role: str) -> dict[str, Any]:
        """Take roles back: one by its id, all of one holder, or all grants that there are (``all``)."""
        node = agent.node
        if role == ALL:
            number = node.authority.revocations.epoch(node) + 1
            agent.state(Topic.REVOKED, write_revocation(EpochBegan(number=number)))
            return {"revoked": [ALL], "epoch": number}
        found = [known for known in node.authority.roles.table.values() if _is_called(known, role)]
        blocks = [known.id for known in found] or _block_called(role)
        for block in blocks:
            agent.state(Topic.REVOKED, write_revocation(GrantRevoked(block=block)))
        return {"revoked": blocks, "epoch": node.authority.revocations.epoch(node)}

    async def order_grants(self, agent: Agent, call: Call) -> dict[str, list[dict[str, Any]]]:
        """What was given to others, what this machine holds from others, and what is leased by a grant now."""
        node = agent.node
        held = [
            {**_grant_row(agent, kept.authority), "account": kept.authority.account} for kept in _wallet(agent).all()
        ]
        given = await self.order_role_list(agent, call)
        leases = node.leases.leases
        leased = [
            {"lease": lease, "holder": leases[lease].holder, "kind": leases[lease].terms.need.kind}
            for lease in sorted(node.authority.leased)
            if lease in leases
        ]
        return {"given": given, "held": held, "leased": leased}

    async def order_grant_add(self, agent: Agent, call: Call, grant: str) -> dict[str, Any]:
        """Put a grant of another account into this machine's wallet: it is shown where something of theirs is used."""
        kept = _wallet(agent).put(read_grant_text(grant))
        take_over_grants(agent)
        return {**_grant_row(agent, kept.authority), "account": kept.authority.account}

    async def order_grant_remove(self, agent: Agent, call: Call, grant: str) -> dict[str, Any]:
        """Take a grant out of this machine's wallet."""
        removed = _wallet(agent).remove(grant)
        take_over_grants(agent)
        return {"removed": removed}

    async def order_whoami(self, agent: Agent, call: Call) -> dict[str, Any]:
        """Who this machine is, and what this program may do."""
        node = agent.node
        device = node.keylog.members().get(node.node)
        stale_ns = node.authority.revocations.stale_ns(clock.now_ns(), node)
        grant = call.client.grant
        return {
            "node": node.node,
            "name": node.registry.name,
            "account": node.registry.owner,
            "code": feature_code_of(node.registry.owner),
            "realm": _site_name(agent),
            "level": level_of(node).name.lower(),
            "member": node.is_member(node.node),
            "young": device is not None and device.young,
            "held_back": node.quarantine.ceiling(node.node).why,
            "fresh_s": stale_ns // SECOND,
            "narrowed": _grant_row(agent, read_chain(grant).authority) if grant else None,
            "wallet": len(_wallet(agent).all()),
        }

    async def order_weigh(self, agent: Agent, call: Call, grant: bytes, op: str, below: tuple[str, ...]) -> str:
        """Say why a grant of this machine does not allow something of this account, or nothing: asked by what serves others."""
        node = agent.node
        wanted = _op_called(op)
        path = (str(node.registry.owner), *below[:LABELS_MAX])
        asked = Asked(node.node, wanted, path, IMPACT_OF[wanted], grant)
        ruling = node.authority.weigh(clock.now_ns(), asked, node)
        return "" if ruling.allowed and grant else ruling.why or "there is no grant"

    async def order_can(self, agent: Agent, call: Call, who: str, op: str, resource: str) -> dict[str, Any]:
        """Say whether somebody may do something here, and what each rule says of it."""
        node, now_ns = agent.node, clock.now_ns()
        wanted = _op_called(op)
        paths = path_called(agent, resource)
        impact = _impact(wanted, paths[0])
        answers = []
        for holder in holders_called(agent, who):
            for path in paths:
                asked = Asked(holder.node, _op(wanted, path), path, impact)
                ruling = node.authority.weigh(now_ns, asked, node, here=_is_here(agent, path))
                answers.append((ruling, holder, path))
        ruling, holder, path = next((each for each in answers if not each[0].allowed), answers[0])
        ceiling = node.quarantine.ceiling(holder.node)
        allowed = ruling.allowed and impact <= ceiling.cls
        return {
            "allowed": allowed,
            "by": ruling.by if ruling.allowed == allowed else "quarantine",
            "why": ruling.why if ruling.allowed == allowed else ceiling.why,
            "who": holder.name,
            "node": holder.node,
            "op": str(_op(wanted, path)),
            "path": path_shown(agent, path),
            "class": int(impact),
            "rules": _rules(agent, Asked(holder.node, _op(wanted, path), path, impact)),
        }


def _rules(agent: Agent, asked: Asked) -> list[dict[str, str]]:
    """Say what each rule says, also those that do not decide."""
    node, now_ns = agent.node, clock.now_ns()
    said: list[tuple[str, str]] = []
    device = node.keylog.members().get(asked.principal)
    if asked.principal == node.node and _is_here(agent, asked.path):
        said.append(("this machine itself", "yes: whoever may use this machine's socket has its rights"))
    elif node.is_member(asked.principal):
        young = device is not None and device.young
        said.append(
            ("key log", "yes: it is a device of this account" + (", a young one: class 1 at most" if young else ""))
        )
    else:
        said.append(("key log", "no: it is no active device of this account"))
    ceiling = node.quarantine.ceiling(asked.principal)
    held = asked.impact > ceiling.cls
    said.append(("quarantine", f"no: {ceiling.why}" if held else "nothing against it"))
    for role in node.authority.roles.table.values():
        if role.holder == asked.principal:
            ruling = node.authority.weigh(now_ns, asked._replace(grant=role.given.grant), node)
            word = "yes" if ruling.allowed else f"no: {ruling.why}"
            said.append((f"grant {role.id[:8]}", word))
    if not node.is_member(asked.principal):
        lends = node.registry.lends
        said.append(
            ("lend", "this site lends to those whom its center sends" if lends else "this site lends to nobody else")
        )
        stale_s = node.authority.revocations.stale_ns(now_ns, node) // SECOND
        said.append(("freshness", f"revocations are known as of {stale_s} s ago"))
    said.append(("default", "no"))
    return [{"rule": rule, "says": says} for rule, says in said]


def _row(agent: Agent, role: Role) -> dict[str, Any]:
    try:
        agent.node.authority.check(clock.now_ns(), role.holder, role.given.grant, agent.node)
        why = ""
    except (PeerBroke, BadSignature, NotAllowed) as error:
        why = str(error)
    row = _grant_row(agent, read_chain(role.given.grant).authority)
    names = {device.node: device.name for device in agent.node.keylog.members().devices}
    by = names.get(role.signer, role.signer)
    whose = {"who": role.given.name, "holder": role.holder, "account": role.given.account}
    return {**row, **whose, "by": by, "holds": not why, "why": why}


def _grant_row(agent: Agent, granted: Authority) -> dict[str, Any]:
    return {
        "id": granted.blocks[-1],
        "role": "/".join(granted.roles),
        "level": granted.level.name.lower(),
        "ops": [str(op) for op in granted.ops],
        "class": int(granted.cls),
        "paths": [path_shown(agent, path) for paths in granted.paths[-1:] for path in paths],
        "from_s": granted.not_before_s,
        "until_s": granted.expires_s,
    }


def _is_here(agent: Agent, path: Path) -> bool:
    """Tell whether a path leads to something of this very machine: about all else its other machines rule."""
    return path[:3] == (agent.node.registry.owner, NODE, agent.node.node)


def _role_called(text: str) -> RoleName:
    try:
        return RoleName(text.lower())
    except ValueError:
        hint = "there are: " + "; ".join(f"{name} ({TEMPLATES[name].said})" for name in RoleName)
        raise BadRequest(f"there is no role {text[:40]!r}", hint=hint) from None


def _op_called(text: str) -> Op:
    try:
        return Op(text.lower())
    except ValueError:
        raise BadRequest(f"there is no operation {text[:40]!r}", hint=f"there are: {', '.join(Op)}") from None


def _op(op: Op, path: Path) -> Op:
    """Return what is asked: who leases what moves something drives it."""
    return op_of_kind(path[KIND_AT]) if op is Op.LEASE and len(path) > KIND_AT else op


def _impact(op: Op, path: Path) -> Impact:
    kind = path[KIND_AT] if op is Op.LEASE and len(path) > KIND_AT else ""
    return impact_of_kind(kind) if kind else IMPACT_OF[op]


def _level_of(agent: Agent, realm: str) -> tuple[Level, Path]:
    """Return the level of a realm, and the path of all that belongs to it here."""
    node = agent.node
    if not realm:
        return level_of(node), (node.registry.owner,)
    row = realm_called(agent, realm)
    if row["realm"] == node.realms.site:
        return level_of(node), (node.registry.owner,)
    if row["realm"] not in node.realms.seats:
        hint = "roles give rights on machines of this account, and in realms whose council this machine sits in"
        raise NotAllowed(f"this machine has no seat in the council of {row['name']}", hint=hint)
    return Level[row["level"].upper()], (node.registry.owner, REALM, row["realm"])


def _is_called(role: Role, text: str) -> bool:
    return text in {role.given.name, role.holder} or (len(text) >= ID_CHARS_MIN and role.id.startswith(text))


def _block_called(text: str) -> list[str]:
    """A grant that was never told is named by its whole id, or by itself."""
    if text.startswith("wosg1."):
        return [read_chain(read_grant_text(text)).authority.blocks[-1]]
    if len(text) == len("a" * 52):
        return [text]
    raise BadRequest(f"no role is called {text[:60]!r}", hint="wos role list shows them with their ids")


def _site_name(agent: Agent) -> str:
    center = agent.node.realms.centers.known.get(agent.node.realms.site)
    return center.path if center is not None else ""


def _wallet(agent: Agent) -> Wallet:
    return Wallet(agent.home, agent.node.node)
