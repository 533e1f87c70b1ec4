"""What programs may ask of the agent by name: questions about the realm, and orders of its owner.

Each order is a method ``order_NAME(agent, call, ...)`` with keyword arguments; arguments that do not fit are refused.
Answers are plain values (numbers, text, lists, dicts) so that ``--json`` shows them as they are.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec

from worldos.agent import clock
from worldos.agent.agent import Agent
from worldos.agent.call import Call
from worldos.agent.depots import KEEPER_PROGRAM
from worldos.agent.journal import newest
from worldos.agent.local_api import Client
from worldos.agent.narrowed import refusal
from worldos.agent.orders.account import AccountOrders
from worldos.agent.orders.audit import AuditOrders
from worldos.agent.orders.guard import GuardOrders
from worldos.agent.orders.lend import LendOrders
from worldos.agent.orders.named import device_called
from worldos.agent.orders.net import NetOrders
from worldos.agent.orders.passkey import PasskeyOrders
from worldos.agent.orders.post import PostOrders
from worldos.agent.orders.profile import ProfileOrders
from worldos.agent.orders.provider import ProviderOrders
from worldos.agent.orders.realm import RealmOrders, center_line
from worldos.agent.orders.role import RoleOrders
from worldos.agent.orders.security import SecurityOrders
from worldos.agent.orders.session import SessionOrders
from worldos.agent.orders.store import StoreOrders
from worldos.agent.orders.transfer import TransferOrders
from worldos.agent.orders.work import WorkOrders
from worldos.agent.runner_host import RUNNER_PROGRAM
from worldos.errors import BadRequest, NotAllowed, WorldError
from worldos.kernel.events import DrainAsked
from worldos.kernel.search import Query, find
from worldos.model.ids import NodeId
from worldos.model.local import Answer, Ask, Failure
from worldos.model.offer import Offer
from worldos.model.resource import Kind
from worldos.model.swim import Status
from worldos.model.where import parse_where
from worldos.node import offline
from worldos.trust.keylog import hash_of, remove_device

if TYPE_CHECKING:
    from worldos.trust.pairing import ShowCode

LOG_LINES_DEFAULT = 100
OWN_PROGRAMS = (KEEPER_PROGRAM, RUNNER_PROGRAM)  # processes of the agent's own that ask it like a program
TICKET_LIFE_S = 600
MICRO = 1000


class Orders(
    AccountOrders,
    AuditOrders,
    GuardOrders,
    LendOrders,
    NetOrders,
    PasskeyOrders,
    PostOrders,
    ProfileOrders,
    ProviderOrders,
    RealmOrders,
    RoleOrders,
    SecurityOrders,
    SessionOrders,
    StoreOrders,
    TransferOrders,
    WorkOrders,
):
    """All orders, by name."""

    async def carry_out(self, agent: Agent, client: Client, ask: Ask) -> None:
        """Run one order; answer with its value, or with what went wrong."""
        order = getattr(self, f"order_{ask.name}", None)
        try:
            if order is None:
                known = ", ".join(sorted(n[6:] for n in dir(self) if n.startswith("order_")))
                raise BadRequest(f"there is no order {ask.name[:50]!r}", hint=f"there are: {known}")
            why = refusal(agent.node, clock.now_ns(), client.grant, ask.name) if client.grant else ""
            if why:
                raise NotAllowed(
                    why, hint="this program came with a grant (wos --grant, WORLDOS_GRANT): see wos whoami"
                )
            arguments = msgspec.convert(ask.arguments, arguments_of(order.__func__))
            value = await order(agent, Call(client, ask.request), **msgspec.structs.asdict(arguments))
        except WorldError as error:
            failure = Failure(request=ask.request, error=type(error).__name__, message=str(error), hint=error.hint)
            client.tell(failure)
        except msgspec.ValidationError as error:
            hint = "is the program of another version than the agent? restart that: wos down, wos up"
            why = f"the order {ask.name!r} does not take that: {error}"
            client.tell(Failure(request=ask.request, error="BadRequest", message=why, hint=hint))
        except Exception as bug:
            why = f"a mistake of the agent itself: {type(bug).__name__}: {bug}"
            client.tell(Failure(request=ask.request, error="WorldError", message=why, hint="report it with: wos log"))
            raise
        else:
            client.tell(Answer(request=ask.request, value=value))

    # -- questions ------------------------------------------------------------------------------------------------------

    async def order_status(self, agent: Agent, call: Call) -> dict[str, Any]:
        """This node in a few lines."""
        node = agent.node
        statistics = agent.network.statistics() if agent.network is not None else None
        journal = newest(agent.home.journal_folder)
        return {
            "node": node.node,
            "name": node.registry.name,
            "place": node.registry.place,
            "account": node.registry.owner,
            "life": node.boot,
            "up_s": (clock.now_ns() - agent.started_ns) // 1_000_000_000,
            "home": str(agent.home.path),
            "listens": list(agent.addresses()),
            "reachable": agent.reachable,
            "nodes_linked": len(node.members()),
            "kin_linked": len(node.paths) - len(node.members()),
            "devices": len(node.keylog.members().active),
            "center": center_line(agent),
            "drained": node.leases.drained,
            "leases_granted": sum(not lease.held for lease in node.leases.leases.values()),
            "leases_held": len(node.uses.held.leases),
            "limits_by": agent.lanes.describe(),
            "kept_apart": agent.lanes.kept_apart(),
            "strangers_refused": statistics.refused if statistics else 0,
            "journal": str(journal or ""),
            "programs": sum(not client.program.endswith(OWN_PROGRAMS) for client in agent.api.clients.values()),
        }

    async def order_nodes(self, agent: Agent, call: Call) -> list[dict[str, Any]]:
        """Every device of the account, linked or not."""
        node = agent.node
        rows = []
        names = {device.node: device.name for device in node.keylog.members().active}
        names.setdefault(node.node, node.registry.name)  # an embedded node has no account with devices
        for device, name in names.items():
            rows.append(_node_row(agent, device, name, node.registry.offers.get(device)))
        return sorted(rows, key=lambda row: (not row["here"], row["status"] != "alive", row["name"]))

    async def order_resources(
        self,
        agent: Agent,
        call: Call,
        kind: str = "",
        tag: str = "",
        name: str = "",
        owner: str = "",
        place: str = "",
        text: str = "",
        near: str = "",
        where: str = "",
    ) -> list[dict[str, Any]]:
        """Every resource that is known and fits."""
        node = agent.node
        offers = [_shown(agent, offer) for _, offer in sorted(node.registry.offers.items())]
        known = {*Kind, *(resource.kind for offer in offers for resource in offer.resources)}
        if kind and kind.casefold() not in {name.casefold() for name in known}:
            raise BadRequest(f"there is no kind {kind[:40]!r}", hint=f"there are: {', '.join(sorted(known))}")
        query = Query(
            kind=kind,
            tag=tag,
            name=name,
            owner=owner,
            place=place,
            text=text,
            near=node.node if near == "me" else near,
            where=parse_where(where) if where else None,
        )
        found = find(offers, query)
        names = {offer.node: offer.name for offer in offers}
        return [{**_whole(resource), "node_name": names[resource.node]} for resource in found]

    async def order_resource(self, agent: Agent, call: Call, id: str) -> dict[str, Any]:
        """One resource with the history of its life (kept at its own node)."""
        for offer in agent.node.registry.offers.values():
            for resource in offer.resources:
                if id in {resource.id, resource.uri}:
                    history = agent.node.registry.history.get(resource.id, [])
                    return {**_whole(resource), "history": [_whole(line) for line in history]}
        raise BadRequest(f"there is no resource {id[:80]!r}", hint="wos resources lists them")

    async def order_leases(self, agent: Agent, call: Call) -> dict[str, list[dict[str, Any]]]:
        """What this node granted, and what its programs hold."""
        used = agent.lanes.statistics()
        granted = [
            {
                "lease": lease.terms.lease,
                "holder": lease.holder,
                "kind": lease.terms.need.kind,
                "amount": lease.terms.need.amount,
                "memory_bytes": lease.terms.need.memory_bytes,
                "use": lease.use,
                **used.get(lease.terms.lease, {}),
            }
            for lease in agent.node.leases.leases.values()
            if not lease.held
        ]
        programs = {client.id: client.program for client in agent.api.clients.values()}
        held = [
            {
                "lease": held.terms.lease,
                "node": held.terms.node,
                "kind": held.terms.need.kind,
                "amount": held.terms.need.amount,
                "program": programs.get(held.client, ""),
                "doubted": held.doubted,
            }
            for held in agent.node.uses.held.leases.values()
        ]
        return {"granted": granted, "held": held}

    async def order_devices(self, agent: Agent, call: Call) -> list[dict[str, Any]]:
        """Every device that ever belonged to the account."""
        return [
            {
                "node": device.node,
                "name": device.name,
                "status": str(device.status),
                "added_by": device.added_by,
                "young": device.young,
                "held_back": _held_back(agent, device.node),
                "here": device.node == agent.node.node,
            }
            for device in agent.node.keylog.members().devices
        ]

    async def order_log(self, agent: Agent, call: Call, lines: int = LOG_LINES_DEFAULT) -> list[dict[str, Any]]:
        """The last notices of this node."""
        return [msgspec.to_builtins(line) for line in agent.notices.last(lines)]

    # -- orders of the owner --------------------------------------------------------------------------------------------

    async def order_drain(self, agent: Agent, call: Call, drained: bool) -> None:
        """Take this node out of service, or back in."""
        agent.feed(DrainAsked(now_ns=clock.now_ns(), drained=drained))

    async def order_invite(self, agent: Agent, call: Call, life_s: int = TICKET_LIFE_S) -> dict[str, Any]:
        """Make a ticket, wait for the machine that uses it, and let the person confirm its code."""
        network = agent.network
        if network is None or not agent.reachable:
            raise BadRequest("no other machine can reach this one", hint="wos down, then wos up --reachable")

        asked: list[int] = []

        async def decide(shown: ShowCode) -> bool:
            number, answer = network.confirmations.begin()
            asked.append(number)
            call.progress({"code": shown.code, "name": shown.name, "node": shown.node, "confirm": number})
            return await answer

        account = agent.node.registry.owner
        invite = await network.claim_door.invite(account, min(max(1, life_s), TICKET_LIFE_S), decide)
        ticket = invite.invitation.ticket
        call.progress({"ticket": ticket.encode(), "expires_s": ticket.expires_s, "addresses": list(ticket.addresses)})
        try:
            async with asyncio.timeout(min(max(1, life_s), TICKET_LIFE_S)):
                admitted = await invite.ended
        except asyncio.CancelledError:  # who asked is gone: nobody is left to compare the code
            network.claim_door.withdraw(invite)
            raise
        except TimeoutError as cause:
            raise NotAllowed("nobody used the ticket in time", hint="make a new one: wos invite") from cause
        finally:
            for number in asked:
                network.confirmations.give_up(number)
        return {"node": admitted.node, "name": admitted.name}

    async def order_confirm(self, agent: Agent, call: Call, confirm: int, yes: bool) -> None:
        """Say whether the code that an invitation showed is the one on the other machine."""
        if agent.network is not None:
            agent.network.confirmations.answer(confirm, yes=yes)

    async def order_revoke(self, agent: Agent, call: Call, device: str) -> dict[str, Any]:
        """Put a device out of the account, now and for every node that hears of it."""
        target = device_called(agent.node, device)
        if target == agent.node.node:
            hint = "to take this machine out: wos leave"
            raise BadRequest("a device does not revoke itself", hint=hint)
        entry = remove_device(agent.node.keylog, agent.started.key, target)
        before = {device.node: device.name for device in agent.node.keylog.members().active}
        agent.offer_entries(((entry.body, entry.signature),))
        gone = before.keys() - {target, *(device.node for device in agent.node.keylog.members().active)}
        return {"revoked": target, "entry": hash_of(entry), "also": sorted(before[node] for node in gone)}

    async def order_learn(self, agent: Agent, call: Call, entries: tuple[tuple[bytes, bytes], ...]) -> dict[str, Any]:
        """Take in entries of the key log that a program found; they are checked as those of other nodes are."""
        agent.offer_entries(entries)
        return {"devices": len(agent.node.keylog.members().devices)}

    async def order_leave(self, agent: Agent, call: Call) -> dict[str, Any]:
        """Take this device itself out of its account: it signs its own removal, tells the others, and stops."""
        entry = remove_device(agent.node.keylog, agent.started.key, agent.node.node)
        told = len(agent.node.members())
        agent.offer_entries(((entry.body, entry.signature),))
        return {"left": agent.node.registry.owner, "told": told}

    async def order_down(self, agent: Agent, call: Call) -> dict[str, Any]:
        """Stop the agent."""
        ended = len(agent.node.leases.leases)
        agent.stopped.set()
        return {"stopping": True, "leases_ended": ended}


@functools.cache
def arguments_of(order: Callable[..., Any]) -> type[msgspec.Struct]:
    """Return the struct of an order's arguments: what a program sends is checked against the method's own types."""
    hints = get_type_hints(order)
    given = [p for p in inspect.signature(order).parameters.values() if p.name not in {"self", "agent", "call"}]
    fields = [(p.name, hints[p.name]) if p.default is p.empty else (p.name, hints[p.name], p.default) for p in given]
    return msgspec.defstruct(order.__name__, fields, kw_only=True, forbid_unknown_fields=True)


def _held_back(agent: Agent, device: NodeId) -> str:
    """Say why a device may do less than the others, or nothing at all."""
    cloned = agent.node.clones.cloned.get(device)
    if cloned is not None:
        return f"its key lives twice ({cloned}): put it out, and claim it anew"
    return agent.node.quarantine.ceiling(device).why


def _whole(item: msgspec.Struct) -> dict[str, Any]:
    """Return all fields of a value, those with their usual value too: a program reads them by name."""
    return {name: msgspec.to_builtins(value) for name, value in msgspec.structs.asdict(item).items()}


def _shown(agent: Agent, offer: Offer) -> Offer:
    here = offer.node == agent.node.node
    return offer if here or offer.node in agent.node.paths else offline(offer)


def _node_row(agent: Agent, node_id: NodeId, name: str, offer: Offer | None) -> dict[str, Any]:
    node = agent.node
    here = node_id == node.node
    path = node.paths.get(node_id)
    status = "alive" if here else _status(agent, node_id)
    row: dict[str, Any] = {
        "node": node_id,
        "name": offer.name if offer else name,
        "here": here,
        "status": status,
        "place": offer.place if offer else "",
        "via": "" if here or path is None else (path.via or "direct"),
        "rtt_us": path.rtt_us if path is not None else 0,
        "addresses": list(offer.addresses) if offer else [],
        "facts": dict(offer.facts) if offer else {},
    }
    for kind in (Kind.CPU, Kind.MEMORY, Kind.STORAGE, Kind.GPU):
        resources = [r for r in offer.resources if r.kind == kind] if offer else []
        row[f"{kind.lower()}_capacity"] = sum(r.capacity for r in resources)
        row[f"{kind.lower()}_free"] = sum(r.free for r in resources) if here or path is not None else 0
    return row


def _status(agent: Agent, node_id: NodeId) -> str:
    if node_id not in agent.node.paths:
        return "offline"
    status = agent.node.membership.status(node_id)
    return str((status or Status.ALIVE).value)
