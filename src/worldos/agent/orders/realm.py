"""Orders about realms: begin one, let others in, join, leave, look. ``orders`` finds them by name."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

from worldos.agent import clock
from worldos.agent.agent import Agent
from worldos.agent.call import Call
from worldos.agent.charters import Charters, next_level
from worldos.agent.orders.realm_rows import Row, detail, rows
from worldos.errors import BadRequest, NotAllowed, Refused
from worldos.kernel.charter import name_refusal
from worldos.model.realm import Level, RealmId
from worldos.trust.keys import id_of
from worldos.trust.ticket import Guest, Ticket

if TYPE_CHECKING:
    from worldos.model.parentage import Parent

TICKET_LIFE_S = 600


class RealmOrders:
    """The orders about realms, by name."""

    async def order_realm_tree(self, agent: Agent, call: Call) -> list[Row]:
        """Every realm that is known here."""
        return rows(agent.node, clock.now_ns())

    async def order_realm_show(self, agent: Agent, call: Call, path: str) -> Row:
        """All that is known of one realm."""
        return detail(agent.node, clock.now_ns(), realm_called(agent, path))

    async def order_realm_create(self, agent: Agent, call: Call, name: str, level: str = "") -> dict[str, Any]:
        """Begin a realm over the topmost one of this account, with this node as its council."""
        charters = _charters(agent)
        why = name_refusal(name)
        if why:
            raise BadRequest(f"{name[:64]!r} cannot be a realm's name: {why}")
        below = charters.center(charters.own_top())
        wanted = _level(level) if level else next_level(below.level)
        if wanted <= below.level:
            raise BadRequest(f"{below.name} is {below.level.name.lower()}: what is over it is of a higher level")
        if below.realm != agent.node.realms.site and below.realm not in agent.node.realms.seats:
            hint = f"run it on a machine of its council, as {below.primary.name}"
            raise NotAllowed(f"this machine has no seat in the council of {below.name}", hint=hint)
        realm = RealmId(id_of(secrets.token_bytes(32)))
        agent.found_realm(realm, name, wanted)
        await charters.admit_child(realm, charters.child_record(below.realm), agent.node.node)
        made = charters.parent_record(realm)
        try:
            await charters.add_parent(below.realm, made)
        except Refused as refused:
            hint = f"put it there: wos realm invite {name}, then wos realm join with that ticket"
            raise NotAllowed(f"{name} is there, but {below.name} is not below it: {refused}", hint=hint) from refused
        return {"realm": realm, "name": name, "level": wanted.name.lower(), "path": made.path, "below": below.name}

    async def order_realm_found(self, agent: Agent, call: Call) -> dict[str, Any]:
        """Begin the council of this account's own site, which never had one, or lost it for good."""
        charters = _charters(agent)
        site = agent.node.realms.site
        center = charters.center(site)
        if not center.epoch.provisional:
            raise BadRequest(f"{center.name} has a council: {center.primary.name} leads it", hint="wos realm show")
        if site in agent.node.realms.seats:
            hint = f"bring back the machines of its council: {', '.join(c.name for c in center.council)}"
            raise NotAllowed(f"this machine has a seat in the council of {center.name} already", hint=hint)
        agent.found_realm(site, center.name, center.level)
        await charters.name(site, center.name, center.level)
        return {"realm": center.path, "epoch": charters.center(site).epoch.number}

    async def order_realm_invite(
        self, agent: Agent, call: Call, realm: str = "", life_s: int = TICKET_LIFE_S
    ) -> dict[str, Any]:
        """Make a ticket for one child of a realm, and wait for the realm that uses it."""
        network = agent.network
        if network is None or not agent.reachable:
            raise BadRequest("no other machine can reach this one", hint="wos down, then wos up --reachable")
        charters = _charters(agent)
        target = RealmId(realm_called(agent, realm)["realm"]) if realm else charters.own_top()

        def said(setback: str) -> None:
            call.progress({"setback": setback})

        life_s = min(max(1, life_s), TICKET_LIFE_S)
        door = network.realm_door(charters)
        invite = await door.invite(target, life_s, said)
        ticket = invite.invitation.ticket
        call.progress(
            {
                "ticket": ticket.encode(),
                "realm": invite.parent.path,
                "expires_s": ticket.expires_s,
                "addresses": list(ticket.addresses),
            }
        )
        try:
            async with asyncio.timeout(life_s):
                done = await invite.ended
        except asyncio.CancelledError:  # who asked is gone: nobody is left to be told
            door.withdraw(invite)
            raise
        except TimeoutError as cause:
            raise NotAllowed("nobody used the ticket in time", hint="make a new one: wos realm invite") from cause
        return {"realm": done.child.realm, "name": done.child.name, "parent": done.parent.path, "why": done.why}

    async def order_realm_join(self, agent: Agent, call: Call, ticket: str, realm: str = "") -> dict[str, Any]:
        """Put a realm of this account below the one that a ticket is of, once the person here wants it."""
        from worldos.agent.realm_door import join  # noqa: PLC0415 - an embedded node has no cryptography for it

        network = agent.network
        if network is None:
            raise BadRequest("an embedded node joins nothing", hint="start an agent: wos up")
        parsed = Ticket.parse(ticket, Guest.REALM)
        charters = _charters(agent)
        child = charters.child_record(RealmId(realm_called(agent, realm)["realm"]) if realm else charters.own_top())
        asked: list[int] = []

        async def decide(parent: Parent) -> bool:
            number, answer = network.confirmations.begin()
            asked.append(number)
            shown = {"name": parent.name, "level": parent.level.name.lower(), "path": parent.path}
            call.progress({"parent": shown, "child": child.name, "confirm": number})
            return await answer

        try:
            parent = await join(parsed, agent.started.key, agent.node.registry.owner, charters, child, decide)
        finally:
            for number in asked:
                network.confirmations.give_up(number)
        return {"child": child.name, "parent": parent.name, "path": parent.path, "realm": parent.realm}

    async def order_realm_leave(self, agent: Agent, call: Call, realm: str = "") -> dict[str, Any]:
        """Take a realm of this account out from below another."""
        charters = _charters(agent)
        child = charters.center(charters.own_top())
        parents = list(child.parents)
        if realm:
            target = realm_called(agent, realm)["realm"]
            known = agent.node.realms.centers.known.values()
            child = next((center for center in known if any(p.realm == target for p in center.parents)), child)
            parents = [parent for parent in child.parents if parent.realm == target]
        if len(parents) != 1:
            names = ", ".join(parent.name for parent in child.parents)
            hint = f"say which one: {names}" if names else "see them: wos realm tree"
            where = realm[:64] or ("one realm alone" if names else "any realm")
            raise BadRequest(f"{child.name} is not below {where}", hint=hint)
        parent = parents[0]
        await charters.leave_parent(child.realm, parent.realm)
        return {"child": child.name, "left": parent.name, "realm": parent.realm}

    async def order_realm_remove(self, agent: Agent, call: Call, realm: str) -> dict[str, Any]:
        """Put a realm out from below one whose council this node sits in."""
        row = realm_called(agent, realm)
        charters = _charters(agent)
        parent = charters.parent_record(RealmId(row["parent"])) if row["parent"] else None
        if parent is None:
            raise BadRequest(f"{row['name']} is below no realm that is known here", hint="wos realm tree")
        await charters.let_child_go(parent.realm, RealmId(row["realm"]))
        return {"removed": row["name"], "parent": parent.path}

    async def order_realm_policy(
        self, agent: Agent, call: Call, key: str = "", value: str = "", realm: str = ""
    ) -> dict[str, Any]:
        """Show a realm's rules, or change one."""
        row = realm_called(agent, realm) if realm else _row_of(agent, agent.node.realms.site)
        if key:
            _only_directly(row, key, value)
            await _charters(agent).set_policy(RealmId(row["realm"]), key, value)
        policy = detail(agent.node, clock.now_ns(), row)["policy"]
        return {"realm": row["path"], "policy": {**policy, **({key: value} if key else {})}}


def realm_called(agent: Agent, text: str) -> Row:
    """Find a realm by path, name, or id (or the beginning of it)."""
    known = rows(agent.node, clock.now_ns())
    wanted = text.strip("/")
    for fits in (
        [row for row in known if wanted in {row["path"], row["realm"]}],
        [row for row in known if wanted == row["name"] or row["path"].endswith(f"/{wanted}")],
        [row for row in known if len(wanted) >= 4 and row["realm"].startswith(wanted)],
    ):
        if len(fits) == 1:
            return fits[0]
        if fits:
            paths = ", ".join(row["path"] for row in fits)
            raise BadRequest(f"{len(fits)} realms are called {wanted[:64]!r}", hint=f"name it by its path: {paths}")
    raise BadRequest(f"no realm is called {text[:64]!r} here", hint="wos realm tree lists them")


def _only_directly(row: Row, key: str, value: str) -> None:
    """Refuse a change that reaches so many that the guard must carry it: waves, several who approve, witnesses."""
    level = Level[str(row["level"]).upper()]
    widens = (key, value) == ("lend", "kin")
    if level >= Level.GROUP or (level >= Level.ENTERPRISE and widens):
        what = "lends more" if widens else "changes a rule"
        hint = f"wos guard propose policy {key[:40]} {value[:40]} --realm {row['path']}"
        raise NotAllowed(f"{row['name']} is of level {row['level']}: nobody {what} there alone", hint=hint)


def center_line(agent: Agent) -> str:
    """Say in a line who is the primary of this site, and where it stands."""
    realms = agent.node.realms
    center = realms.centers.known.get(realms.site)
    if realms.off:
        return "none: an embedded node is alone"
    if center is None:
        return "none yet"
    who = "this node" if center.primary.node == agent.node.node else center.primary.name
    stands = ", standing in (an island)" if center.epoch.provisional else ""
    return f"{who} for {center.path}, epoch {center.epoch.number}{stands}"


def _row_of(agent: Agent, realm: RealmId) -> Row:
    for row in rows(agent.node, clock.now_ns()):
        if row["realm"] == realm:
            return row
    raise NotAllowed("this site has no center yet", hint="see it with: wos status")


def _charters(agent: Agent) -> Charters:
    if agent.node.realms.off:
        raise BadRequest("an embedded node belongs to no realm", hint="start an agent: wos up")
    return Charters(agent)


def _level(text: str) -> Level:
    levels = {level.name.lower(): level for level in Level}
    if text.lower() not in levels:
        raise BadRequest(f"there is no level {text[:40]!r}", hint=f"there are: {', '.join(levels)}")
    return levels[text.lower()]
