"""Orders about what the analysis of behaviour sees and narrows on this node, and how a person widens it again."""

from __future__ import annotations

from typing import Any

from worldos.agent import clock
from worldos.agent.agent import Agent
from worldos.agent.call import Call
from worldos.agent.orders.named import name_of
from worldos.errors import BadRequest, NotAllowed
from worldos.kernel.behaviour import behaviour
from worldos.kernel.behaviour.limits import WINDOWS_LEARNT
from worldos.kernel.behaviour.window import Feature
from worldos.kernel.quarantine import UNBOUND, Widen
from worldos.kernel.quarantine import encode_said as encode_quarantine
from worldos.model.statements import Topic

SECOND = 1_000_000_000


class SecurityOrders:
    """The orders about behaviour and quarantine, by name."""

    async def order_security(self, agent: Agent, call: Call) -> dict[str, Any]:
        """Everybody who asked this node for something, how far it is from what is usual, and who is narrowed."""
        node, now_ns = agent.node, clock.now_ns()
        return {
            "principals": [_principal_row(agent, who, now_ns) for who in sorted(node.behaviour.table)],
            "narrowings": [_narrowing_row(agent, known, now_ns) for known in sorted(node.quarantine.table)],
        }

    async def order_security_free(self, agent: Agent, call: Call, who: str) -> dict[str, Any]:
        """Say as this device that what was taken from somebody is given back: a narrowing, or all of a principal."""
        node, now_ns = agent.node, clock.now_ns()
        table = node.quarantine.table
        chosen = [k for k, held in table.items() if (len(who) >= 4 and k.startswith(who)) or _is(agent, who, held)]
        if not chosen:
            raise BadRequest(f"nothing was taken from {who[:60]!r}", hint="see it: wos watch security")
        said = {known: table[known].narrow.principal for known in chosen}
        if agent.node.node in said.values():
            raise NotAllowed("no machine widens what was taken from itself", hint="say it on another one of yours")
        for known in chosen:
            agent.state(Topic.QUARANTINE, encode_quarantine(Widen(narrowing=known, at_s=node.wall_s(now_ns))))
        left = [known for known in chosen if known in node.quarantine.table]
        return {"freed": sorted(set(chosen) - set(left)), "wait": left}

    async def order_security_learn(self, agent: Agent, call: Call, who: str) -> dict[str, str]:
        """Say as this device that what is usual for somebody is learnt anew, on all devices of the account."""
        node = agent.node
        principal = next((known for known in sorted(node.behaviour.table) if _means(agent, who, known)), None)
        if principal is None:
            raise BadRequest(f"nobody called {who[:60]!r} asked this machine for anything", hint="wos watch security")
        said = behaviour.Usual(principal=principal, baseline=None, at_s=max(1, node.wall_s(clock.now_ns())))
        agent.state(Topic.BASELINE, behaviour.encode_said(said))
        if node.behaviour.table[principal].baseline is not None:
            raise NotAllowed("this machine may not say that", hint="who is narrowed itself, or new, may not: wos log")
        return {"learns": principal}


def _principal_row(agent: Agent, who: str, now_ns: int) -> dict[str, Any]:
    watched = agent.node.behaviour.table[who]
    sums, baseline = watched.now(), watched.baseline
    ceiling = agent.node.quarantine.ceiling(who)
    strange = {
        feature.name.lower(): 100 * sums[feature] // baseline.norms[feature].limit if baseline is not None else 0
        for feature in Feature
    }
    return {
        "who": who,
        "name": name_of(agent.node, who),
        "member": agent.node.is_member(who),  # type: ignore[arg-type]
        "learnt": WINDOWS_LEARNT if baseline is not None else len(watched.learnt),
        "learns": WINDOWS_LEARNT,
        "per_minute": baseline.per_minute if baseline is not None else 0,
        "strange_percent": strange,
        "step": watched.step,
        "last_s": (now_ns - watched.window.start_ns) // SECOND,
        "ceiling": None
        if ceiling == UNBOUND
        else {"class": ceiling.cls.name.lower(), "per_minute": ceiling.per_minute},
        "why": ceiling.why,
    }


def _narrowing_row(agent: Agent, known: str, now_ns: int) -> dict[str, Any]:
    held = agent.node.quarantine.table[known]
    narrow = held.narrow
    return {
        "id": known,
        "who": narrow.principal,
        "name": name_of(agent.node, narrow.principal),
        "class": agent.node.quarantine.ceiling(narrow.principal).cls.name.lower(),
        "per_minute": narrow.per_minute,
        "human": narrow.human,
        "left_s": max(0, (held.until_ns - now_ns) // SECOND),
        "by": held.signer,
        "by_name": name_of(agent.node, held.signer),
        "why": narrow.why,
        "for_its_end": len(agent.node.quarantine.widened.get(known, ())),
    }


def _is(agent: Agent, who: str, held: Any) -> bool:
    return _means(agent, who, held.narrow.principal)


def _means(agent: Agent, text: str, principal: str) -> bool:
    return text in {principal, name_of(agent.node, principal)} or (len(text) >= 8 and principal.startswith(text))
