"""Lending: the door at which leases of this node are asked for and renewed. It refuses who may not; leases.py does the rest.

Who may is for authority.py; of those that are not of this account, the owner's lend rules say who may now (lend_rules.py).
"""

from __future__ import annotations

from worldos.errors import BadRequest
from worldos.kernel import isolation, lend_rules, score
from worldos.kernel.authority import BY_GRANT, Ruling
from worldos.kernel.behaviour.asked import Asked
from worldos.kernel.effects import Effect, Send
from worldos.kernel.household import Household
from worldos.kernel.question import check_need
from worldos.model.ids import NodeId
from worldos.model.isolation import Isolation
from worldos.model.need import Need
from worldos.model.resource import Kind
from worldos.model.wire import LeaseAsk, LeaseRefused, LeaseRenew


def asked(house: Household, now_ns: int, peer: NodeId, ask: LeaseAsk) -> list[Effect]:
    """Grant, hold or refuse what is asked for; who comes by the word of an older center is refused first."""
    realms = house.realms
    if ask.realm == realms.site and realms.centers.is_stale(realms.site, ask.epoch):
        return [_refused(peer, ask, f"stale epoch: you were sent in epoch {ask.epoch.number}, there is a newer one")]
    if peer == house.node and not ask.grant:
        return _lent(house, now_ns, peer, ask, by_grant=False)  # whoever has this machine's socket has its rights
    ruling = house.authority.judge_lease(now_ns, peer, ask.need, ask.resources, house, ask.grant)
    effects = _watched(house, now_ns, ruling)
    if not ruling.allowed:
        return [*effects, _refused(peer, ask, ruling.why)]
    if f"{peer}:{ask.ask}" not in house.leases.answered:  # else it has its answer already
        why = lend_rules.going_why(house)
        why = why or lend_rules.refusal(house, now_ns, peer, ask.need, by_grant=ruling.by == BY_GRANT)
        if why:
            return [*effects, _refused(peer, ask, why)]
    effects += _lent(house, now_ns, peer, ask, by_grant=ruling.by == BY_GRANT)
    if ruling.by == BY_GRANT:
        house.authority.granted(peer, ask, house)
    return effects


def _lent(house: Household, now_ns: int, peer: NodeId, ask: LeaseAsk, *, by_grant: bool) -> list[Effect]:
    """Ask the table of leases, in the class that is demanded; refuse where this machine cannot give that."""
    try:
        check_need(ask.need)
    except BadRequest as error:
        return [_refused(peer, ask, str(error))]
    guest = not house.is_member(peer)
    demanded = isolation.demanded(house, now_ns, peer, ask.need, by_grant=by_grant)
    why = isolation.missing(house.registry.facts, ask.need.kind, demanded)
    if why:
        return [_refused(peer, ask, why)]
    apart = "" if demanded is Isolation.PROCESS else demanded.value
    price = _price_uwos_hour(house, now_ns, peer, ask.need, by_grant=by_grant) if guest else 0
    return house.leases.ask(now_ns, peer, ask, guest=guest, isolation=apart, price_uwos_hour=price)


def _price_uwos_hour(house: Household, now_ns: int, peer: NodeId, need: Need, *, by_grant: bool) -> int:
    """Return what an hour of a lease costs a guest: by the rule that lends it, and no less than what is set for its kind."""
    guest = lend_rules.guest_of(house, peer, by_grant=by_grant)
    lent, total = lend_rules.told(house, now_ns), 0
    for kind, amount in ((need.kind, need.amount), (Kind.MEMORY, 0 if need.kind == Kind.MEMORY else need.memory_bytes)):
        entry = lend_rules.lent_to(lent, guest, kind)
        unit = max(house.registry.prices.get(kind, 0), entry.price_uwos if entry else 0)
        total += score.price_hour_uwos(unit, score.thousandths(kind, amount), score.INTEGERS)
    return total


def renewed(house: Household, now_ns: int, peer: NodeId, renew: LeaseRenew) -> list[Effect]:
    """Renew a lease, unless it was given by a grant that holds no more."""
    if renew.lease in house.authority.leased:
        ended = house.authority.renewal(now_ns, renew.lease, house)
        if ended:
            return ended
    return house.leases.renew(now_ns, peer, renew)


def _watched(house: Household, now_ns: int, ruling: Ruling) -> list[Effect]:
    """Let the analysis of behaviour see who asked for what."""
    if ruling.principal == house.node:
        return []
    asked = Asked(
        principal=ruling.principal, target="/".join(ruling.path), cls=ruling.impact, is_allowed=ruling.allowed
    )
    return house.behaviour.saw(now_ns, asked, house)


def _refused(peer: NodeId, ask: LeaseAsk, why: str) -> Send:
    return Send(node=peer, message=LeaseRefused(ask=ask.ask, reason=why[:512], free=0))
