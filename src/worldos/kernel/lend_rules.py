"""Lend rules at work: may this guest have this now, what is left for whom, and which guests must go.

A *guest* is whoever is not of this account; devices of the account itself are none, unless a rule is for ``me``. A rule never
gives a right: who may come at all is for authority.py, and the realm's policy is asked there. It only says how much, when and at
which price. Without any rule a guest may have what the realm lends, but never on battery.

What ends (a window, mains, a share that became smaller) ends with a grace: no new lease at once, those that run are given back
within LEND_GRACE_NS, the newest first. Who is merely told to rest (agent/comfort.py) keeps its lease for LEND_REST_MAX_NS.
Invariant: with all of it, guests never have more than the share of the rule that the last of them was granted under. Shares are
of all there is of a kind. Times in ns of the node's clock; minutes of the week by the wall's, as this machine shows it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from worldos.kernel.effects import Effect, Notice, Send
from worldos.kernel.foresight import GOING_WHY, going_s
from worldos.kernel.leases import Lease
from worldos.model.ids import LeaseId, NodeId, ResourceId
from worldos.model.lend import (
    LENT_KINDS,
    PERMILLE_MAX,
    Audience,
    Felt,
    Lend,
    LendRule,
    Lent,
    is_within,
    minute_of_week,
    particular,
    permille_of,
    show_permille,
    windows_of,
)
from worldos.model.limits import GOING_DRAIN_S, LEND_GRACE_NS, LEND_REST_MAX_NS
from worldos.model.need import Need
from worldos.model.offer import Offer
from worldos.model.resource import Kind
from worldos.model.wire import LeaseYield

if TYPE_CHECKING:
    from worldos.kernel.household import Household

UNKNOWN_MINUTE: Final = -1
BY_THE_REALM: Final = LendRule(
    to=Audience.ANYONE, cpu_permille=PERMILLE_MAX, gpu_permille=PERMILLE_MAX, memory_permille=PERMILLE_MAX
)
"""What holds where the owner said nothing: all that the realm lends, on mains."""


class Guest(NamedTuple):
    """Who asks. ``account`` as the centers or a role say it; ``is_named``: our account gave it a role or a grant."""

    account: str = ""
    is_named: bool = False
    is_member: bool = False


class Moment(NamedTuple):
    """What decides whether a rule holds now."""

    minute: int
    on_battery: bool
    owner_here: bool


class Lending(msgspec.Struct, kw_only=True):
    """What the owner said, what the machine feels, and which leases are on their way out (until when, and why)."""

    lend: Lend = Lend()
    felt: Felt = Felt()
    ending: dict[LeaseId, tuple[int, str]] = {}
    rests_since_ns: int = 0

    @property
    def is_limited(self) -> bool:
        """Tell whether the owner said anything."""
        return self.lend.off or bool(self.lend.rules)


def guest_of(house: Household, peer: NodeId, *, by_grant: bool = False) -> Guest:
    """Say who a node is to us: by its account's own card, by a role that we gave it, or as the centers say."""
    roles = house.authority.roles
    given = [roles.table[role].given for role in roles.holders.get(peer, ())]
    account: str | None = house.contacts.account_of(peer)
    if account is None:
        contact = house.realms.kin.contact(peer)
        account = given[0].account if given else contact.site if contact is not None else ""
    return Guest(account=account, is_named=by_grant or bool(given), is_member=house.is_member(peer))


def is_guest(house: Household, peer: NodeId) -> bool:
    """Tell whether the rules are for this node: another account's, or the own one's where a rule is for ``me``."""
    if peer == house.node:
        return False
    return not house.is_member(peer) or any(rule.to == Audience.ME for rule in house.lend.lend.rules)


def moment_of(house: Household, now_ns: int) -> Moment:
    """Say what decides now."""
    wall_s, felt = house.wall_s(now_ns), house.lend.felt
    minute = minute_of_week(wall_s, felt.zone_s) if wall_s else UNKNOWN_MINUTE
    return Moment(minute, house.registry.facts.get("battery") is True, felt.owner_here)


def in_force(lend: Lend, guest: Guest, kind: str, moment: Moment) -> LendRule | None:
    """Return the rule by which a guest may have some of a kind now: the most particular that holds."""
    if lend.off:
        return None
    fitting = (rule for rule in _sorted(lend) if permille_of(rule, kind) and _is_for(rule, guest))
    return next((rule for rule in fitting if not why_not_now(rule, moment)), None)


def why_not(lend: Lend, guest: Guest, kind: str, moment: Moment) -> str:
    """Say why a guest has no rule now."""
    if lend.off:
        return "this machine lends nothing to others: its owner said so"
    fitting = [rule for rule in _sorted(lend) if permille_of(rule, kind) and _is_for(rule, guest)]
    if not fitting:
        return f"no rule of this machine lends {kind} to you"
    return f"this machine lends {kind}, but not now: {why_not_now(fitting[0], moment)}"


def refusal(house: Household, now_ns: int, peer: NodeId, need: Need, *, by_grant: bool = False) -> str:
    """Return why the rules refuse a lease, or nothing. Who asks may come: that was ruled on before."""
    if not is_guest(house, peer):
        return ""
    guest, lend = guest_of(house, peer, by_grant=by_grant), house.lend.lend
    if need.kind not in LENT_KINDS:
        named = guest.is_named or not house.lend.is_limited
        return "" if named and not lend.off else f"no rule of this machine lends {need.kind} to you"
    moment = moment_of(house, now_ns)
    rule = in_force(lend, guest, need.kind, moment)
    if rule is None:
        return why_not(lend, guest, need.kind, moment)
    for kind, amount in _wanted(need):
        if amount > left(house, rule, kind):
            share = show_permille(permille_of(rule, kind))
            return f"this machine lends {share} of its {kind}, and not so much of it is left"
    return ""


def going_why(house: Household) -> str:
    """Say why this node begins nothing new for others, as it foresees its end; empty while it does not."""
    left_s = going_s(house.registry.facts)
    if left_s is None or left_s > GOING_DRAIN_S:
        return ""
    return f"this machine will go in about {left_s} s: {house.registry.facts.get(GOING_WHY, '')}"


def left(house: Household, rule: LendRule, kind: str) -> int:
    """Return how much of a kind guests may still have under a rule, in base units."""
    kinds, leases = house.leases.kinds, house.leases
    all_of_it = sum(leases.capacity[resource] for resource, its in kinds.items() if its == kind)
    return max(0, all_of_it * permille_of(rule, kind) // PERMILLE_MAX - _taken(house, kind, leases.leases.values()))


def told(house: Household, now_ns: int) -> tuple[Lent, ...]:
    """Return what an offer says of it, for each audience that a rule names; nothing where the owner said nothing."""
    lend, moment = house.lend.lend, moment_of(house, now_ns)
    if lend.off:
        return ()
    found: dict[tuple[str, str], Lent] = {}
    for rule in _sorted(lend) if lend.rules else ():
        if why_not_now(rule, moment):
            continue
        for kind in LENT_KINDS:
            if permille_of(rule, kind) and (rule.to, kind) not in found:
                price = 0 if kind is Kind.MEMORY else rule.price_uwos_hour
                entry = Lent(to=rule.to, kind=kind, left=left(house, rule, kind), price_uwos=price)
                found[rule.to, kind] = entry
    return tuple(found[key] for key in sorted(found))


def seen_by(offer: Offer, guest: Guest, given: Iterable[ResourceId] = ()) -> Offer:
    """Return an offer as a guest may have it, by what it says of itself; ``given`` are resources that a role opens."""
    rules = offer.rules
    if not rules.limited:
        return offer
    opened = set(given)
    seen = []
    for item in offer.resources:
        if item.kind not in LENT_KINDS:
            if item.id in opened:
                seen.append(item)
            continue
        entry = lent_to(rules.lent, guest, item.kind)
        if entry is not None:
            price = max(item.price_uwos, entry.price_uwos)
            seen.append(msgspec.structs.replace(item, free=min(item.free, max(0, entry.left)), price_uwos=price))
    return msgspec.structs.replace(offer, resources=tuple(seen))


def lent_to(lent: tuple[Lent, ...], guest: Guest, kind: str) -> Lent | None:
    """Return what an offer lends of a kind to a guest: what its narrowest audience gets."""
    for audience in (guest.account, *([Audience.FAMILY] if guest.is_named else []), Audience.REALM, Audience.ANYONE):
        for entry in lent:
            if audience and entry.to == audience and entry.kind == kind:
                return entry
    return None


def isolation_of(house: Household, now_ns: int, peer: NodeId, kind: str) -> str:
    """Return the least isolation that the rule in force asks for; empty where none says."""
    rule = in_force(house.lend.lend, guest_of(house, peer), kind, moment_of(house, now_ns))
    return rule.isolation if rule is not None else ""


def rule_of(house: Household, now_ns: int, lease: Lease) -> LendRule | None:
    """Return the rule that keeps a guest's lease, who is here not counting; None where none does."""
    guest = guest_of(house, lease.holder, by_grant=lease.terms.lease in house.authority.leased)
    moment = moment_of(house, now_ns)._replace(owner_here=False)
    return in_force(house.lend.lend, guest, lease.terms.need.kind, moment)


def look(house: Household, now_ns: int) -> list[Effect]:
    """See which guests the rules keep, and send away those whose grace is over. Asked at each look at the machine."""
    lending = house.lend
    guests = [lease for lease in house.leases.leases.values() if is_guest(house, lease.holder)]
    lending.rests_since_ns = (lending.rests_since_ns or now_ns) if lending.felt.rests else 0
    must_go = {lease.terms.lease: why for lease in guests if (why := _why_go(house, now_ns, lease))}
    must_go |= _too_much(house, now_ns, [lease for lease in guests if lease.terms.lease not in must_go])
    effects: list[Effect] = []
    before, lending.ending = lending.ending, {}
    for name, why in must_go.items():
        until_ns, _ = before.get(name, (now_ns + LEND_GRACE_NS, why))
        if now_ns < until_ns:
            lending.ending[name] = (until_ns, why)
            if name not in before:
                effects.append(Notice(name="guest must go", fields={"lease": name, "why": why}))
                effects.extend(_asked_back(house.leases.leases[name]))
            continue
        house.dirty = True
        effects.extend(house.leases.fail(name, why))
    return effects


def _asked_back(lease: Lease) -> list[Effect]:
    """Tell a holder whose lease yields that it ends, so that its work can be saved; others hear of it when it is over."""
    if not lease.terms.need.yields:
        return []
    return [Send(node=lease.holder, message=LeaseYield(lease=lease.terms.lease, grace_ns=LEND_GRACE_NS))]


def _why_go(house: Household, now_ns: int, lease: Lease) -> str:
    lending, need = house.lend, lease.terms.need
    going = going_why(house)
    if going:
        return going
    guest = guest_of(house, lease.holder, by_grant=lease.terms.lease in house.authority.leased)
    if lending.rests_since_ns and now_ns - lending.rests_since_ns >= LEND_REST_MAX_NS:
        return f"it rested for long: {lending.felt.rests}"
    if need.kind not in LENT_KINDS:
        return "this machine lends nothing to others: its owner said so" if lending.lend.off else ""
    moment = moment_of(house, now_ns)._replace(owner_here=False)  # who is here already rests, and stays
    if in_force(lending.lend, guest, need.kind, moment) is not None:
        return ""
    return why_not(lending.lend, guest, need.kind, moment)


def _too_much(house: Household, now_ns: int, guests: list[Lease]) -> dict[LeaseId, str]:
    """Say which leases are above what their rules give now: the newest of them, until the rest fits."""
    moment = moment_of(house, now_ns)._replace(owner_here=False)
    over: dict[LeaseId, str] = {}
    for kind in LENT_KINDS:
        all_of_it = sum(house.leases.capacity[r] for r, its in house.leases.kinds.items() if its == kind)
        taken = 0
        for lease in guests:  # in the order in which they were granted
            guest = guest_of(house, lease.holder, by_grant=lease.terms.lease in house.authority.leased)
            rule = in_force(house.lend.lend, guest, lease.terms.need.kind, moment)
            amount = _taken(house, kind, (lease,))
            if rule is None or lease.terms.lease in over or not amount:
                continue
            if taken + amount > all_of_it * permille_of(rule, kind) // PERMILLE_MAX:
                over[lease.terms.lease] = (
                    f"this machine lends {show_permille(permille_of(rule, kind))} of its {kind} now"
                )
            else:
                taken += amount
    return over


def _sorted(lend: Lend) -> list[LendRule]:
    return sorted(lend.rules, key=particular) if lend.rules else [BY_THE_REALM]


def _is_for(rule: LendRule, guest: Guest) -> bool:
    if guest.is_member:
        return rule.to == Audience.ME
    match rule.to:
        case Audience.ME:
            return False
        case Audience.FAMILY:
            return guest.is_named
        case Audience.REALM | Audience.ANYONE:
            return True
        case _:
            return rule.to == guest.account


def why_not_now(rule: LendRule, moment: Moment) -> str:
    """Say what of a rule does not hold at a moment, or nothing."""
    if moment.on_battery and not rule.on_battery:
        return "it runs on its battery"
    if rule.when and (moment.minute == UNKNOWN_MINUTE or not is_within(windows_of(rule.when), moment.minute)):
        return f"only at {rule.when} of its own time"
    if rule.idle_only and moment.owner_here:
        return "its owner is using it"
    return ""


def _wanted(need: Need) -> list[tuple[str, int]]:
    wanted: list[tuple[str, int]] = [(need.kind, need.amount)]
    if need.memory_bytes and need.kind != Kind.MEMORY:
        wanted.append((Kind.MEMORY, need.memory_bytes))
    return wanted


def _taken(house: Household, kind: str, leases: Iterable[Lease]) -> int:
    kinds = house.leases.kinds
    return sum(
        amount
        for lease in leases
        if is_guest(house, lease.holder)
        for resource, amount in lease.takes.items()
        if kinds.get(resource) == kind
    )
