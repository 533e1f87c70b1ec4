"""Membership: who of the site is there, found out by asking, and by listening to what others found out.

Every round this node pings one other (each once per cycle, in random order) and its lease partners (``focus``).
No answer: it asks through some peers. Still none: the target is *suspect*, everyone is told, the suspect itself
first, and it is *dead* unless it speaks up in time. A suspect is trusted again on proof of a way there **and
back**: an ack to a later ping, or its own refutation (a higher incarnation). Any other word from it makes us ask
at once, so that a cut in one direction does not make it flap.

Our own faults are not held against others (Lifeguard): a timer that comes late moves every deadline by as much, so
a node that slept accuses nobody; late timers, missed acks and refutations stretch our time-outs.

Invariants: a closed link is a hint, never a verdict. Fresh proof of our own outweighs hearsay, which is brought to
the accused to refute. Nothing here is unbounded (limits.py). The whole state is encodable: a snapshot continues
exactly. Times in ns of this node's own clock; ``next_deadline_ns`` may move earlier at any call.

Source: SWIM (DSN 2002); Lifeguard (arXiv:1707.00788); hashicorp/memberlist (state.go) for what the papers leave out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, assert_never

import msgspec

from worldos.kernel.dice import Dice
from worldos.kernel.gossip import NEWS_PER_MESSAGE_MAX, Gossip
from worldos.kernel.probes import (
    ERRAND_TIMEOUT_NS,
    ERRANDS_MAX,
    NUMBERS_PER_LIFE_BITS,
    Errand,
    Probe,
    Probes,
)
from worldos.kernel.roster import Member, Roster
from worldos.model.ids import NodeId
from worldos.model.limits import (
    MEMBERS_MAX,
    MS,
    PROBE_INDIRECT_PEERS,
    PROBE_INDIRECT_TIMEOUT_NS,
    PROBE_PERIOD_NS,
    PROBE_TIMEOUT_NS,
    SECOND,
)
from worldos.model.swim import (
    NUMBER_MAX,
    Ack,
    Nack,
    Ping,
    PingRequest,
    Rumor,
    SendSwim,
    Status,
    SwimEffect,
    SwimMessage,
    first_incarnation,
    weight,
)

LATE_NS: Final = 150 * MS  # a timer later than this is our own fault
HINT_TIMEOUT_NS: Final = 150 * MS  # its link closed: it answers by another way in this time, or is suspect
FRESH_NS: Final = 2 * PROBE_PERIOD_NS  # an answer younger than this outweighs hearsay
GONE_PERIOD_NS: Final = SECOND  # one of the dead is pinged so often, in turn: that finds a cut that healed
SYNC_PERIOD_NS: Final = 30 * SECOND  # so often a ping carries all that is believed: that finds rumors that got lost


class Membership(msgspec.Struct, kw_only=True):
    """The members of a site as this node sees them: tell it what happens, do the effects it returns, in order."""

    me: NodeId
    clock_ns: int
    round_ns: int
    due_ns: int
    gone_ns: int
    sync_ns: int
    left: bool = False
    focused: list[NodeId] = []
    roster: Roster
    probes: Probes
    refutations: int = 0
    contradictions: int = 0
    late: int = 0

    @classmethod
    def begin(cls, *, me: NodeId, boot: int, seed: int, now_ns: int) -> Membership:
        """Return the membership of a node that starts its life number ``boot`` (from 1) and knows nobody yet."""
        dice = Dice(state=seed)
        first_ns = now_ns + dice.below(PROBE_PERIOD_NS)  # nodes that start together must not ping together
        return cls(
            me=me,
            clock_ns=now_ns,
            round_ns=first_ns,
            due_ns=first_ns,
            gone_ns=now_ns + GONE_PERIOD_NS,
            sync_ns=now_ns + SYNC_PERIOD_NS,
            roster=Roster(me=me, boot=boot, incarnation=first_incarnation(boot), gossip=Gossip()),
            probes=Probes(dice=dice, number=boot << NUMBERS_PER_LIFE_BITS),
        )

    # -- what is asked ------------------------------------------------------------------------------------------------

    @property
    def next_deadline_ns(self) -> int:
        """Return when ``tick`` is due. Later is a fault of ours, and counted as one; earlier does nothing."""
        return self.due_ns

    def alive(self) -> tuple[NodeId, ...]:
        """Return the others that are believed to be there, sorted; a suspect is not among them."""
        return tuple(sorted(self.roster.here(Status.ALIVE)))

    def status(self, node: NodeId) -> Status | None:
        """Return what is believed about a node; None if nothing is known of it."""
        if node == self.me:
            return Status.LEFT if self.left else Status.ALIVE
        member = self.roster.members.get(node)
        return member.status if member else None

    def statistics(self) -> dict[str, int]:
        """Return counts for people and tests."""
        roster, probes = self.roster, self.probes
        return {
            **{status.value: len(roster.here(status)) for status in Status},
            "health": probes.health,
            "probes": probes.started,
            "missed": probes.missed,
            "suspicions": roster.suspicions,
            "recoveries": roster.recoveries,
            "deaths": roster.deaths,
            "no_room": roster.no_room,
            "refutations": self.refutations,
            "contradictions": self.contradictions,
            "late": self.late,
        }

    # -- what happens -------------------------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> list[SwimEffect]:
        """Let time pass: end what is overdue, and start a round of probes if one is due."""
        self._wake(now_ns)
        if now_ns < self.due_ns or self.left:
            return []
        out: list[SwimEffect] = []
        if self.probes.open or self.probes.errands or self.roster.suspects:
            self._end_overdue(now_ns, out)
        if self.round_ns <= now_ns:
            self._round(out)
        self._plan()
        return out

    def _end_overdue(self, now_ns: int, out: list[SwimEffect]) -> None:
        for number, probe in self.probes.overdue(now_ns):
            self._miss(number, probe, out)
        for errand in self.probes.failed_errands(now_ns):
            nack = Nack(number=errand.number, rumors=self.roster.news())
            out.append(SendSwim(node=errand.asker, message=nack))
        for node in self.roster.expired(now_ns):
            member = self.roster.members[node]
            self.roster.become(node, member, Status.DEAD, now_ns, out)
            member.doubt = self.probes.number + 1

    def heard(self, now_ns: int, peer: NodeId, message: SwimMessage) -> list[SwimEffect]:
        """Take in what ``peer`` said; who it is was proven by its link, or by the seal of what came relayed."""
        self._wake(now_ns)
        if self.left or peer == self.me or peer in self.roster.forgotten:
            return []
        out: list[SwimEffect] = []
        behind = self._learn(message.rumors, out) if message.rumors else []
        member = self.roster.members.get(peer) or self._meet(peer, 0, out)
        if member is None:
            return out
        match message:
            case Ping():
                self._answer(peer, member, message, behind, out)
            case Ack():
                self._answered(peer, message, out)
            case PingRequest():
                self._run_errand(peer, message, out)
            case Nack():
                probe = self.probes.open.get(message.number)
                if probe and peer in probe.helpers:
                    probe.helpers.remove(peer)
            case _:
                assert_never(message)
        if message.rumors or not isinstance(message, Ping):
            self._plan()
        return out

    def linked(self, now_ns: int, node: NodeId, boot: int) -> list[SwimEffect]:
        """Note a link to ``node`` in its life number ``boot``: a handshake is proof of a way there and back."""
        self._wake(now_ns)
        if self.left or node == self.me:
            return []
        if node in self.roster.forgotten:
            self.roster.forgotten.remove(node)
        out: list[SwimEffect] = []
        member = self.roster.members.get(node)
        if member is None:
            self._meet(node, boot, out)
        elif boot != member.boot:
            self.probes.stop(node)
            self.roster.restart(node, member, boot, now_ns, out)
            self._tell_everything(node, out)
        elif member.status is not Status.LEFT:
            self.probes.stop(node)
            self._prove(node, member, out)
        self._plan()
        return out

    def unlinked(self, now_ns: int, node: NodeId) -> list[SwimEffect]:
        """Note that the last link to ``node`` closed: ask at once, by whatever way is left, and wait only briefly."""
        self._wake(now_ns)
        member = self.roster.members.get(node)
        if self.left or member is None or not member.here:
            return []
        out: list[SwimEffect] = []
        self.roster.hint(node, member)
        self._probe(node, out, hinted=True)
        self._plan()
        return out

    def forget(self, node: NodeId) -> None:
        """Drop a revoked node, and close the ears to it, and to rumors of it, until it is linked again."""
        self.probes.stop(node)
        self.roster.forget(node)

    def focus(self, nodes: Iterable[NodeId]) -> None:
        """From now on probe these (lease partners) in every round, so that silence is noticed within a second."""
        self.focused = sorted(set(nodes) - {self.me})[:MEMBERS_MAX]

    def leave(self, now_ns: int) -> list[SwimEffect]:
        """Say goodbye to everyone, and nothing more ever after."""
        self._wake(now_ns)
        if self.left:
            return []
        self.left = True
        self.due_ns = NUMBER_MAX
        goodbye = msgspec.structs.replace(self.roster.rumor(self.me), status=Status.LEFT)
        out: list[SwimEffect] = []
        for node in sorted(self.roster.here()):
            self._ping(node, (goodbye,), out)
        return out

    # -- asking -------------------------------------------------------------------------------------------------------

    def _round(self, out: list[SwimEffect]) -> None:
        now_ns, members = self.clock_ns, self.roster.members
        self.round_ns = max(self.round_ns + PROBE_PERIOD_NS, now_ns + PROBE_PERIOD_NS // 2)
        if self.roster.arrived:
            for node in self.roster.arrived:
                self.probes.insert(node)
            self.roster.arrived.clear()
        if self.focused or self.roster.suspects:
            accused = [node for node in self.roster.suspects if self.me in members[node].accusers]
            for node in dict.fromkeys([*self.focused, *accused]):
                if node in members and members[node].here and node not in self.probes.probing:
                    self._probe(node, out)
        turn = self.probes.turn(self.roster)
        if turn:
            self._probe(turn, out)
            if self.sync_ns <= now_ns:
                self._tell_everything(turn, out)
        if self.sync_ns <= now_ns:
            self.sync_ns = now_ns + SYNC_PERIOD_NS
            self.roster.drop_long_dead(now_ns)
        if self.roster.gone and self.gone_ns <= now_ns:
            self.gone_ns = now_ns + GONE_PERIOD_NS
            node = self.roster.gone.pop(0)
            self.roster.gone.append(node)
            self._ping(node, self.roster.news(about=node), out)

    def _probe(self, node: NodeId, out: list[SwimEffect], *, hinted: bool = False) -> None:
        number = self._ping(node, self.roster.news(about=node), out)
        timeout_ns = HINT_TIMEOUT_NS if hinted else PROBE_TIMEOUT_NS
        probe = self.probes.start(number, node, self.clock_ns, timeout_ns, hinted=hinted)
        if hinted:
            self._ask_helpers(number, probe, out)

    def _ask_helpers(self, number: int, probe: Probe, out: list[SwimEffect]) -> None:
        near = [node for node in self.roster.here(Status.ALIVE) if node != probe.target]
        probe.helpers = self.probes.sample(near, PROBE_INDIRECT_PEERS)
        probe.helped = bool(probe.helpers)
        probe.indirect = True
        for helper in probe.helpers:
            request = PingRequest(number=number, target=probe.target, rumors=self.roster.news())
            out.append(SendSwim(node=helper, message=request))

    def _miss(self, number: int, probe: Probe, out: list[SwimEffect]) -> None:
        """Try through others if that was not done yet; else accuse."""
        node = probe.target
        if not probe.indirect:
            probe.deadline_ns = self.clock_ns + self.probes.stretched(PROBE_INDIRECT_TIMEOUT_NS)
            self._ask_helpers(number, probe, out)
            again = Ping(number=number, target=node, rumors=self.roster.news(about=node))
            out.append(SendSwim(node=node, message=again))  # of two nodes none can help: a second chance
            return
        self.probes.stop(node)
        self.probes.missed += 1
        member = self.roster.members.get(node)
        if member is None or not member.here:
            return
        # Not our fault: a link that closed, a suspect's silence, and silence where every helper said it found the same.
        unexplained = probe.helpers or not probe.helped
        if unexplained and not probe.hinted and member.status is Status.ALIVE:
            self.probes.ail()
        if member.status is Status.ALIVE:
            member.doubt = number
        if self.roster.accuse(node, member, (self.me,), self.clock_ns, out):
            self._ping(node, self.roster.news(about=node), out)  # the buddy system: the accused hears it first

    def _answered(self, peer: NodeId, ack: Ack, out: list[SwimEffect]) -> None:
        errand = self.probes.errands.get(ack.number)
        if errand and errand.target == peer:
            del self.probes.errands[ack.number]
            answer = Ack(number=errand.number, target=peer, rumors=self.roster.news())
            out.append(SendSwim(node=errand.asker, message=answer))
            return
        node = ack.target or peer
        member = self.roster.members.get(node)
        if member is None or member.status is Status.LEFT:
            return
        if self.probes.probing.get(node) == ack.number:
            self.probes.stop(node)
            self.probes.mend()
            self._prove(node, member, out)
        elif member.status is not Status.ALIVE and member.doubt <= ack.number <= self.probes.number:
            self._prove(node, member, out)

    def _run_errand(self, asker: NodeId, request: PingRequest, out: list[SwimEffect]) -> None:
        node = request.target
        errands = self.probes.errands
        if node not in self.roster.members or node == asker or len(errands) >= ERRANDS_MAX:
            nack = Nack(number=request.number, rumors=self.roster.news())
            out.append(SendSwim(node=asker, message=nack))
            return
        number = self._ping(node, self.roster.news(about=node), out)
        deadline_ns = self.clock_ns + ERRAND_TIMEOUT_NS
        errands[number] = Errand(asker=asker, number=request.number, target=node, deadline_ns=deadline_ns)

    def _ping(self, node: NodeId, rumors: tuple[Rumor, ...], out: list[SwimEffect]) -> int:
        number = self.probes.next_number()
        out.append(SendSwim(node=node, message=Ping(number=number, target=node, rumors=rumors)))
        return number

    def _tell_everything(self, node: NodeId, out: list[SwimEffect]) -> None:
        self._ping(node, self.roster.everything(self.clock_ns), out)

    # -- being told ---------------------------------------------------------------------------------------------------

    def _answer(self, peer: NodeId, member: Member, ping: Ping, behind: list[NodeId], out: list[SwimEffect]) -> None:
        if ping.target != self.me:
            return
        rumors = self.roster.news(about=peer, first=behind)
        out.append(SendSwim(node=peer, message=Ack(number=ping.number, rumors=rumors)))
        if member.status is Status.DEAD or (member.status is Status.SUSPECT and peer not in self.probes.probing):
            self._ping(peer, self.roster.news(about=peer), out)  # it speaks: does it hear us too?

    def _learn(self, rumors: tuple[Rumor, ...], out: list[SwimEffect]) -> list[NodeId]:
        """Take in what a peer believes; return about whom it is behind, to tell it."""
        behind: list[NodeId] = []
        for rumor in rumors:
            node = rumor.node
            if node == self.me:
                if self._hear_of_me(rumor):
                    behind.insert(0, node)
                continue
            member = self.roster.members.get(node)
            if member is None:
                self.roster.admit(rumor, self.clock_ns, out)
            elif weight(rumor) > member.weight:
                self._believe(rumor, member, out)
            elif weight(rumor) < member.weight:
                if len(behind) < NEWS_PER_MESSAGE_MAX:
                    behind.append(node)
            elif rumor.status is Status.SUSPECT:
                self.roster.accuse(node, member, rumor.accusers, self.clock_ns, out)
        return behind

    def _believe(self, rumor: Rumor, member: Member, out: list[SwimEffect]) -> None:
        doubted = rumor.status in (Status.SUSPECT, Status.DEAD)
        fresh = member.proven_ns is not None and self.clock_ns - member.proven_ns <= FRESH_NS
        if doubted and fresh and member.status is Status.ALIVE:
            self.contradictions += 1  # we know better, and the accused can say so with more weight
            self._ping(rumor.node, (rumor,), out)
            return
        if doubted and member.status is not Status.SUSPECT:
            member.doubt = self.probes.number + 1
        self.roster.believe(rumor, member, self.clock_ns, out)

    def _hear_of_me(self, rumor: Rumor) -> bool:
        """Refute what is false about ourselves; return whether who said it must hear from us."""
        mine = self.roster.incarnation
        if rumor.incarnation < mine or (rumor.incarnation == mine and rumor.status is Status.ALIVE):
            return rumor.incarnation < mine
        if rumor.incarnation >= NUMBER_MAX:
            return False  # nothing is above it; those whom we answer trust their own ears
        if rumor.status is not Status.ALIVE:
            self.probes.ail()
        self.refutations += 1
        self.roster.refute(rumor)
        return True

    def _meet(self, node: NodeId, boot: int, out: list[SwimEffect]) -> Member | None:
        """Take in a node that stands before us, and tell it all we know."""
        rumor = Rumor(node=node, status=Status.ALIVE, incarnation=first_incarnation(boot), boot=boot)
        member = self.roster.admit(rumor, self.clock_ns, out)
        if member:
            member.proven_ns = self.clock_ns
            self._tell_everything(node, out)
        return member

    def _prove(self, node: NodeId, member: Member, out: list[SwimEffect]) -> None:
        ended = self.roster.trust(node, member, self.clock_ns, out)
        if ended:
            self._ping(node, (ended,), out)  # it must refute that itself
            if ended.status is Status.DEAD:
                self._tell_everything(node, out)

    # -- time ---------------------------------------------------------------------------------------------------------

    def _wake(self, now_ns: int) -> None:
        """Notice that we slept, or that the clock began anew: nobody else is to blame, so all deadlines move along."""
        if now_ns < self.clock_ns:
            self._shift(now_ns - self.clock_ns)
        elif now_ns - self.due_ns > LATE_NS:
            self.late += 1
            self.probes.ail()
            self._shift(now_ns - self.due_ns)
        self.clock_ns = now_ns

    def _shift(self, by_ns: int) -> None:
        self.round_ns += by_ns
        self.due_ns += by_ns
        self.gone_ns += by_ns
        self.sync_ns += by_ns
        self.probes.shift(by_ns)
        self.roster.shift(by_ns)

    def _plan(self) -> None:
        self.due_ns = self.roster.due_ns(self.probes.due_ns(self.round_ns))
