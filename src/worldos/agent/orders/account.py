"""Orders about the account: who can act for it, and what this device says in its key log.

What the words, a passkey or a quorum sign is made where they are, and comes in by ``learn``.
"""

from __future__ import annotations

from typing import Any

from worldos.agent.agent import Agent
from worldos.agent.call import Call
from worldos.errors import BadRequest
from worldos.trust.actors import Actor, limits_of, recovery_path, who_can_act
from worldos.trust.entries import hash_of
from worldos.trust.keylog import KeyLog
from worldos.trust.sayings import remove_key


class AccountOrders:
    """The orders about the account, by name."""

    async def order_account_show(self, agent: Agent, call: Call) -> dict[str, Any]:
        """Who can act for this account, and the way back when every device is lost."""
        return account_rows(agent.node.keylog, agent.node.node)

    async def order_account_remove(
        self, agent: Agent, call: Call, key: str, keep: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """Put a key out by this device's own: a device, a young passkey; ``keep`` names admissions by it that stay."""
        log = agent.node.keylog
        actor = actor_called(log, key)
        if actor.key == agent.node.node:
            raise BadRequest("a device does not remove itself", hint="to take this machine out: wos leave")
        kept = tuple(actor_called(log, name).entry for name in keep)
        entry = remove_key(log, agent.started.key, actor.key, kept)
        before = {other.key: other.name for other in who_can_act(log)}
        agent.offer_entries(((entry.body, entry.signature),))
        gone = sorted(before.keys() - {other.key for other in who_can_act(agent.node.keylog)})
        return {"removed": actor.key, "entry": hash_of(entry), "gone": [before[key] for key in gone]}


def account_rows(log: KeyLog, here: str) -> dict[str, Any]:
    """Return what is shown of an account: plain values, the strongest actor first."""
    actors = who_can_act(log)
    names = {actor.key: actor.name for actor in actors}
    names.update({device.node: device.name for device in log.members().devices if device.node not in names})
    return {
        "account": log.account,
        "entries": len(log.entries),
        "recovery": recovery_path(actors),
        "actors": [_row(actor, names, here) for actor in actors],
    }


def actor_called(log: KeyLog, text: str) -> Actor:
    """Find who can act by the id of the key, by the beginning of it, or by name."""
    actors = who_can_act(log)
    exact = [actor for actor in actors if text in {actor.key, actor.name}]
    found = exact or [actor for actor in actors if len(text) >= 4 and actor.key.startswith(text)]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadRequest(f"{len(found)} keys are called {text[:60]!r}", hint="name it by its id: wos account show")
    raise BadRequest(f"no key is called {text[:60]!r}", hint="wos account show lists them")


def _row(actor: Actor, names: dict[str, str], here: str) -> dict[str, Any]:
    return {
        "kind": str(actor.kind),
        "key": actor.key,
        "name": actor.name,
        "here": actor.key == here,
        "weight": actor.weight,
        "young": actor.young,
        "by": actor.by,
        "by_name": names.get(actor.by, actor.by[:8]) if actor.by else "",
        "entry": actor.entry,
        "since_s": actor.since_s,
        "ripens_s": actor.ripens_s,
        "limits": limits_of(actor),
        "origin": actor.origin,
        "threshold": actor.threshold,
        "seats": [{"account": seat.account, "key": seat.key, "weight": seat.weight} for seat in actor.seats],
    }
