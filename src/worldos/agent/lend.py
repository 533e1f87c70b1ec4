"""What this machine lends, as its owner says it: kept in the home's settings, told to the node, shown with what is lent now."""

from __future__ import annotations

from typing import Any

import msgspec

from worldos.agent import clock
from worldos.agent.agent import Agent
from worldos.agent.orders.named import name_of
from worldos.config import read_settings, write_settings
from worldos.errors import BadRequest, NotAllowed, WorldError
from worldos.kernel import lend_rules
from worldos.kernel.events import LendSet
from worldos.kernel.leases import Lease
from worldos.model.ids import AccountId
from worldos.model.lend import (
    LENT_KINDS,
    RULES_MAX,
    Audience,
    Lend,
    LendRule,
    check_rules,
    particular,
    permille_of,
    show_rule,
)
from worldos.model.limits import SECOND

Row = dict[str, Any]


def set_lend(agent: Agent, lend: Lend) -> None:
    """Let other rules hold from now on, also after the next start."""
    if agent.started.passing:
        raise BadRequest("an embedded node lends nothing", hint="start an agent: wos up")
    check_rules(lend.rules)
    write_settings(agent.home, msgspec.structs.replace(read_settings(agent.home), lend=lend))
    agent.feed(LendSet(now_ns=clock.now_ns(), lend=lend))


def with_rule(lend: Lend, rule: LendRule) -> Lend:
    """Return what holds with one more rule: one for the same people, time and kinds is said anew, not twice."""
    kept = tuple(each for each in lend.rules if _what_for(each) != _what_for(rule))
    if len(kept) >= RULES_MAX:
        raise NotAllowed(f"{RULES_MAX} rules are the most", hint="drop one: wos lend forget 1")
    changed = Lend(rules=(*kept, rule))
    check_rules(changed.rules)
    return changed


def without_rule(lend: Lend, number: int) -> Lend:
    """Return what holds without the rule of this number (from 1)."""
    if not 1 <= number <= len(lend.rules):
        there = f"rules 1 to {len(lend.rules)}" if lend.rules else "no rules"
        raise BadRequest(f"there is no rule {number}", hint=f"there are {there}: wos lend shows them")
    return msgspec.structs.replace(lend, rules=lend.rules[: number - 1] + lend.rules[number:])


def audience_called(agent: Agent, text: str) -> str:
    """Return whom people mean: ``me``, ``family``, ``realm``, ``anyone``, or an account by name, code or id."""
    if text in tuple(Audience):
        return text
    if agent.company is None:
        raise BadRequest("an embedded node knows nobody", hint="say me, family, realm or anyone")
    try:
        return agent.company.post.find(text).account
    except WorldError as cause:
        hint = "say me, family, realm, anyone, or an account that wos contact list shows"
        raise BadRequest(f"nobody is called {text[:40]!r} here", hint=hint) from cause


def shown(agent: Agent) -> Row:
    """Return the rules with whether they hold now, what guests have, and what else decides."""
    node, now_ns = agent.node, clock.now_ns()
    lend, moment = node.lend.lend, lend_rules.moment_of(agent.node, now_ns)
    return {
        "off": lend.off,
        "rules": [_rule_row(agent, number, rule, moment) for number, rule in enumerate(lend.rules, 1)],
        "guests": [
            _guest_row(agent, now_ns, lease) for lease in node.leases.leases.values() if _is_guests(agent, lease)
        ],
        "realm": "kin" if node.registry.lends else "own",
        "open": not node.leases.drained,
        "battery": moment.on_battery,
        "owner_here": moment.owner_here,
        "rests": node.lend.felt.rests,
        "local_minute": moment.minute,
    }


def _rule_row(agent: Agent, number: int, rule: LendRule, moment: lend_rules.Moment) -> Row:
    why = lend_rules.why_not_now(rule, moment) if not agent.node.lend.lend.off else "lending is off"
    left = {kind: lend_rules.left(agent.node, rule, kind) for kind in LENT_KINDS if permille_of(rule, kind)}
    contact = agent.node.contacts.table.get(AccountId(rule.to))
    return {
        "number": number,
        "says": show_rule(rule),
        "holds": not why,
        "why": why,
        "whom": contact.name if contact is not None else rule.to,
        "left": left,
        **msgspec.to_builtins(msgspec.structs.asdict(rule)),
    }


def _is_guests(agent: Agent, lease: Lease) -> bool:
    return not lease.held and lend_rules.is_guest(agent.node, lease.holder)


def _guest_row(agent: Agent, now_ns: int, lease: Lease) -> Row:
    node = agent.node
    until_ns, why = node.lend.ending.get(lease.terms.lease, (0, ""))
    guest = lend_rules.guest_of(node, lease.holder)
    return {
        "lease": lease.terms.lease,
        "holder": lease.holder,
        "name": name_of(node, lease.holder),
        "account": guest.account,
        "named": guest.is_named,
        "kind": lease.terms.need.kind,
        "amount": lease.terms.need.amount,
        "memory_bytes": lease.terms.need.memory_bytes,
        "isolation": lease.terms.isolation,
        "ends_s": max(0, until_ns - now_ns) // SECOND if until_ns else -1,
        "why": why,
    }


def _what_for(rule: LendRule) -> tuple[object, ...]:
    return (rule.to, rule.when, particular(rule), tuple(kind for kind in LENT_KINDS[:2] if permille_of(rule, kind)))
