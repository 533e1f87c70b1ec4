"""Bids: who in other realms could fill a need? A question that goes up and down the tree and comes back as candidates.

A center answers from its own site, else asks its best children, else the next best, else its superior; a bid that came down never
goes up again. Each hop keeps part of the time that it was given, so an answer comes before the asker gives up, and a realm that
never answers costs that much and no more. Invariant: a realm is asked once per bid (``trail`` on the way, ``done`` for what comes
around), hops are counted, tables are bounded: so a loop of parents, a lie or a repetition ends. Answers that are late, unknown or
of somebody else mean nothing. Times are ns on this node's clock; ``wait_ns`` is a duration. Source: DESIGN.md section 6.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from worldos.errors import BadRequest
from worldos.kernel.bid_route import Route, Target, children_to_ask, keeping, superior_to_ask
from worldos.kernel.effects import Send
from worldos.kernel.question import check_need, is_within
from worldos.kernel.shortlist import covers, fitting, shortlist
from worldos.model import limits
from worldos.model.ids import NodeId, short
from worldos.model.need import Need
from worldos.model.realm import HOPS_MAX, BidAnswer, BidAsk, Candidate, Contact, RealmId
from worldos.model.units import show

TRAIL_MAX = 256
WHY_CHARS_MAX = 512
NOTES_MAX = 4
NOTE_CHARS_MAX = 160
REMARK = "; "  # an answer's reason, then remarks that every hop passes on
ASKED_MAX = 1_000_000_000
KEPT_PART = 16  # a hop keeps 1/16 of the time that it was given


class BidDone(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What a bid of a program here came to: candidates, or none and why. ``asked``: how many realms were."""

    bid: int
    candidates: tuple[Candidate, ...]
    why: str
    hops: int
    asked: int


class ChildDoubted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A child of ``realm`` promised in its summary and did not keep it, or was silent: it is believed less from now on."""

    realm: RealmId
    child: RealmId


BidResult: TypeAlias = Send | BidDone | ChildDoubted


class Mine(msgspec.Struct, kw_only=True):
    """A bid of a program on this machine, on its way."""

    ask: BidAsk
    center: NodeId
    deadline_ns: int


class Relay(msgspec.Struct, kw_only=True):
    """A bid that others asked this center. ``waiting`` are realms that were asked and have not answered.

    ``deadline_ns`` ends this round, ``end_ns`` all of them, and until ``asked_ns + wait_ns`` the asker waits.
    """

    asker: NodeId
    ask: BidAsk
    name: str  # of this center's realm, for people: the end of its path
    asked_ns: int
    end_ns: int
    deadline_ns: int
    best: list[Target]
    superior: Target | None
    rounds: int = 0
    waiting: dict[RealmId, Target] = {}
    found: tuple[Candidate, ...] = ()
    is_covered: bool = False
    broken: bool = False  # a child of this round promised, and it was not so
    asked: int = 1
    hops: int = 0
    notes: list[str] = []


class Bids(msgspec.Struct, kw_only=True):
    """All bids that this node started or passes on, for whichever realms it is the center of.

    ``asks`` finds the relay that an answer belongs to; ``done`` keeps those that were answered until nobody can ask again.
    """

    node: NodeId
    boot: int
    number: int = 0
    mine: dict[int, Mine] = {}
    relays: dict[str, Relay] = {}
    asks: dict[str, str] = {}
    done: dict[str, int] = {}
    due_ns: int = limits.NEVER_NS

    # -- at the consumer ------------------------------------------------------------------------------------------------------

    def start(
        self,
        now_ns: int,
        home: Contact,
        needs: tuple[Need, ...],
        within: str,
        center: NodeId,
        realm: RealmId,
        wait_ns: int = limits.BID_WAIT_NS,
    ) -> tuple[int, list[Send]]:
        """Ask the center of ``realm`` for candidates; ``BidDone`` comes within ``wait_ns``. A bid of 0: too many are waiting."""
        if len(self.mine) >= limits.BIDS_MAX:
            return 0, []
        self.number += 1
        ask = BidAsk(
            bid=(self.boot << 32) + self.number,
            home=home,
            realm=realm,
            needs=needs,
            within=within,
            trail=(),
            hops=1,
            wait_ns=min(wait_ns, limits.BID_WAIT_MAX_NS),
            down=False,
        )
        self.mine[ask.bid] = Mine(ask=ask, center=center, deadline_ns=now_ns + ask.wait_ns)
        self.due_ns = min(self.due_ns, now_ns + ask.wait_ns)
        return ask.bid, [Send(node=center, message=ask)]

    def cancel(self, bid: int) -> None:
        """Nobody wants the answer any more."""
        self.mine.pop(bid, None)

    # -- at a center ----------------------------------------------------------------------------------------------------------

    def asked(
        self, now_ns: int, peer: NodeId, ask: BidAsk, route: Route, here: tuple[Candidate, ...] | None
    ) -> list[BidResult]:
        """Somebody asks this center. ``here``: who could in its own site; None where the realm has no devices itself."""
        key = _key(ask, ask.realm)
        known = self.relays.get(key)
        if known is not None and known.asker == peer:
            return []
        why = "this realm was asked already" if known is not None or key in self.done else self._objection(peer, ask)
        if why:
            return [_answer(peer, ask, (), why, hops=2 * ask.hops, asked=0)]
        wait_ns = min(ask.wait_ns, limits.BID_WAIT_MAX_NS)
        end_ns = now_ns + wait_ns - wait_ns // KEPT_PART
        relay = Relay(
            asker=peer,
            ask=ask,
            name=route.path.rpartition("/")[2] or short(route.realm),
            asked_ns=now_ns,
            end_ns=end_ns,
            deadline_ns=end_ns,
            best=children_to_ask(ask, route),
            superior=superior_to_ask(ask, route),
            hops=2 * ask.hops,
        )
        self.relays[key] = relay
        if names := keeping(ask, route):
            _note(relay, _kept(names))
        if here and (not ask.within or is_within(ask.within, route.path)):
            self._take(relay, here)
        return self._finish(key) if relay.is_covered else self._go_on(now_ns, key)

    def answered(self, now_ns: int, peer: NodeId, answer: BidAnswer) -> list[BidResult]:
        """A center answers what this node asked, for a program here or for somebody else."""
        mine = self.mine.get(answer.bid) if answer.home == self.node else None
        if mine is not None and mine.ask.realm == answer.realm and mine.center == peer:
            del self.mine[answer.bid]
            found = shortlist(mine.ask, fitting(mine.ask, answer.candidates))
            why = answer.why or ("" if found else "the candidates do not fit")
            done = BidDone(bid=answer.bid, candidates=found, why=why, hops=answer.hops, asked=answer.asked)
            return [done]
        name = _name(answer.home, answer.bid, answer.realm)
        key = self.asks.get(name, "")
        relay = self.relays.get(key)
        if relay is None or relay.waiting[answer.realm].node != peer:
            return []
        del self.asks[name]
        target = relay.waiting.pop(answer.realm)
        relay.asked = min(relay.asked + answer.asked, ASKED_MAX)
        relay.hops = max(relay.hops, answer.hops)
        results = self._weigh(relay, target, answer)
        if not relay.waiting:
            return results + (self._finish(key) if relay.is_covered else self._go_on(now_ns, key))
        if relay.is_covered:
            self._until(relay, min(relay.deadline_ns, now_ns + limits.BID_LINGER_NS))
        return results

    def unlinked(self, now_ns: int, peer: NodeId) -> list[BidResult]:
        """No link to this node is left: what it was asked it will not answer, and what it asked it will not hear."""
        results: list[BidResult] = []
        for bid in [bid for bid, mine in self.mine.items() if mine.center == peer]:
            del self.mine[bid]
            results.append(_nobody(bid, "the center that was asked is gone"))
        for key in [key for key, relay in self.relays.items() if relay.asker == peer]:
            self._close(key)
        for key, relay in list(self.relays.items()):
            gone = [target for target in relay.waiting.values() if target.node == peer]
            for target in gone:
                self._give_up(relay, target, "is gone")
            if gone and not relay.waiting:
                results += self._finish(key) if relay.is_covered else self._go_on(now_ns, key)
        return results

    def tick(self, now_ns: int) -> list[BidResult]:
        """Pass over who did not answer in time."""
        results: list[BidResult] = []
        for bid in [bid for bid, mine in self.mine.items() if mine.deadline_ns <= now_ns]:
            del self.mine[bid]
            results.append(_nobody(bid, "no center answered in time"))
        for key in [key for key, relay in self.relays.items() if relay.deadline_ns <= now_ns]:
            relay = self.relays[key]
            for target in [] if relay.is_covered else list(relay.waiting.values()):
                self._give_up(relay, target, "did not answer in time")
                if target.is_child:
                    relay.broken = True
                    results.append(ChildDoubted(realm=relay.ask.realm, child=target.realm))
            results += self._finish(key) if relay.is_covered else self._go_on(now_ns, key)
        self.done = {key: until_ns for key, until_ns in self.done.items() if until_ns > now_ns}
        deadlines = [mine.deadline_ns for mine in self.mine.values()]
        deadlines += [relay.deadline_ns for relay in self.relays.values()]
        due_ns = min([*deadlines, *self.done.values()], default=limits.NEVER_NS)
        self.due_ns = max(due_ns, now_ns + limits.BID_TICK_NS) if due_ns < limits.NEVER_NS else due_ns
        return results

    # -- rounds ---------------------------------------------------------------------------------------------------------------

    def _objection(self, peer: NodeId, ask: BidAsk) -> str:
        if not ask.trail and peer != ask.home.node:
            return "a bid begins at its own node"
        if ask.realm in ask.trail:
            return "a bid went in a circle"
        if ask.hops >= HOPS_MAX or len(ask.trail) >= TRAIL_MAX:
            return "the bid has come too far"
        if len(self.relays) >= limits.BIDS_MAX:
            return f"{limits.BIDS_MAX} bids are waiting here already"
        most = limits.BIDS_PER_PEER_MAX
        if len(self.relays) >= most and sum(relay.asker == peer for relay in self.relays.values()) >= most:
            return f"{most} bids of yours are waiting here already"
        try:
            for need in ask.needs:
                check_need(need)
        except BadRequest as error:
            return str(error)[:WHY_CHARS_MAX]
        return ""

    def _go_on(self, now_ns: int, key: str) -> list[BidResult]:
        """Ask the next round: children, the next best children, the superior; or answer when nobody is left."""
        relay = self.relays[key]
        left_ns = relay.end_ns - now_ns
        targets = self._next_targets(relay)
        if not targets:
            return self._finish(key)
        if left_ns < limits.BID_WAIT_MIN_NS:
            _note(relay, "there was no time to ask further")
            return self._finish(key)
        is_last = not relay.best and relay.superior is None
        wait_ns = left_ns if is_last else left_ns * 5 // 8
        relay.broken = False
        results: list[BidResult] = []
        for target in targets:
            relay.waiting[target.realm] = target
            self.asks[_key(relay.ask, target.realm)] = key
            ask = msgspec.structs.replace(
                relay.ask,
                realm=target.realm,
                trail=(*relay.ask.trail, relay.ask.realm),
                hops=relay.ask.hops + 1,
                wait_ns=wait_ns,
                down=target.is_child,
            )
            results.append(Send(node=target.node, message=ask))
        self._until(relay, now_ns + wait_ns)
        return results

    def _next_targets(self, relay: Relay) -> list[Target]:
        """Take the next to ask. On the way down a second round is only for the case that the first was a lie or silence."""
        targets: list[Target] = []
        while not targets and (relay.best or relay.superior is not None):
            again = relay.rounds == 0 or not relay.ask.down or relay.broken
            if relay.best and again and relay.rounds < limits.BID_ROUNDS_MAX:
                relay.rounds += 1
                targets, relay.best = relay.best[: limits.BID_FANOUT], relay.best[limits.BID_FANOUT :]
            else:
                targets, relay.best, relay.superior = [relay.superior] if relay.superior else [], [], None
            targets = [target for target in targets if _key(relay.ask, target.realm) not in self.asks]
        return targets

    def _weigh(self, relay: Relay, target: Target, answer: BidAnswer) -> list[BidResult]:
        """Take in what a realm answered; who promised and brings nothing, or brings what does not fit, is doubted."""
        _, _, remarks = answer.why.partition(REMARK)
        if remarks and remarks.isprintable():
            _note(relay, remarks[:NOTE_CHARS_MAX])
        fits = fitting(relay.ask, answer.candidates)
        if fits:
            self._take(relay, tuple(fits))
        if len(fits) == len(answer.candidates) and (fits or not target.promised):
            return []
        if not target.is_child:
            return []
        relay.broken = True
        return [ChildDoubted(realm=relay.ask.realm, child=target.realm)]

    def _take(self, relay: Relay, candidates: tuple[Candidate, ...]) -> None:
        relay.found = shortlist(relay.ask, fitting(relay.ask, (*relay.found, *candidates)))
        relay.is_covered = covers(relay.ask, relay.found)

    def _give_up(self, relay: Relay, target: Target, why: str) -> None:
        del relay.waiting[target.realm]
        self.asks.pop(_key(relay.ask, target.realm), None)
        _note(relay, f"{'a child' if target.is_child else 'the superior'} of {relay.name} {why}")

    def _finish(self, key: str) -> list[BidResult]:
        relay = self._close(key)
        why = "" if relay.is_covered else _explain(relay)
        return [_answer(relay.asker, relay.ask, relay.found, why, hops=relay.hops, asked=relay.asked)]

    def _close(self, key: str) -> Relay:
        relay = self.relays.pop(key)
        for realm in relay.waiting:
            self.asks.pop(_key(relay.ask, realm), None)
        if len(self.done) >= limits.BIDS_MAX:
            del self.done[next(iter(self.done))]
        self.done[key] = relay.asked_ns + min(relay.ask.wait_ns, limits.BID_WAIT_MAX_NS)
        self.due_ns = min(self.due_ns, self.done[key])
        return relay

    def _until(self, relay: Relay, deadline_ns: int) -> None:
        relay.deadline_ns = deadline_ns
        self.due_ns = min(self.due_ns, deadline_ns)


def _name(home: NodeId, bid: int, realm: RealmId) -> str:
    return f"{bid}/{realm}/{home}"


def _key(ask: BidAsk, realm: RealmId) -> str:
    return _name(ask.home.node, ask.bid, realm)


def _nobody(bid: int, why: str) -> BidDone:
    return BidDone(bid=bid, candidates=(), why=why, hops=0, asked=0)


def _answer(
    peer: NodeId, ask: BidAsk, candidates: tuple[Candidate, ...], why: str, *, hops: int, asked: int
) -> BidResult:
    message = BidAnswer(
        bid=ask.bid,
        home=ask.home.node,
        realm=ask.realm,
        candidates=candidates,
        why=why[:WHY_CHARS_MAX],
        hops=min(hops, 2 * HOPS_MAX),
        asked=asked,
    )
    return Send(node=peer, message=message)


def _note(relay: Relay, note: str) -> None:
    if note not in relay.notes and len(relay.notes) < NOTES_MAX:
        relay.notes.append(note)


def _kept(names: list[str]) -> str:
    """Say who has it and keeps it."""
    few = f"{names[0]} lends" if len(names) == 1 else f"{len(names)} realms lend"
    return f"{few} to {'its' if len(names) == 1 else 'their'} own account only (wos realm policy lend kin)"


def _explain(relay: Relay) -> str:
    """Say in one sentence why there are no, or not enough, candidates."""
    needs = relay.ask.needs
    wanted = show(needs[0].kind, needs[0].amount) if len(needs) == 1 else f"{len(needs)} parts together"
    realms = "1 realm" if relay.asked == 1 else f"{relay.asked} realms"
    where = f" in {relay.ask.within}" if relay.ask.within else ""
    found = f"only {len(relay.found)} nodes, for a part of it" if relay.found else f"none had {wanted} free"
    said = f"{realms} asked{where}, {found}"
    return REMARK.join([said, *relay.notes])
