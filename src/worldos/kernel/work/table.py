"""The table of a site's work at one node: its replica, if it has one, and all that is asked of the work here.

An *ask* comes from a program of this node or from another member, and is answered once: with bytes, or why not. Where this node
leads, asks gather until ``flush``, and go into the log together; elsewhere they travel to who leads, are told again where that
is silent, and follow changes of leader. All commands bear ids that make it harmless to say them twice. A command that is one
``Take`` may wait at the leader for a message, so that nobody needs to ask again and again.

The shell (agent/work_door.py) carries out what comes back, in order. It lives beside ``node.py`` and not in it: the journal of
the node would hold each message and result. Invariant: nobody is told that something was done before a majority's disks have it.
Times in ns of the node's clock; the work's own are of people's clocks, as the leader saw them.
"""

from __future__ import annotations

from typing import Final, assert_never

import msgspec

from worldos.errors import PeerBroke
from worldos.kernel.raft import SendRaft
from worldos.kernel.stored import Recovered
from worldos.kernel.tenure import caught_up
from worldos.kernel.work.asks import Asked, Begin, Drop, Mended, Out, Reply, Say, Store
from worldos.kernel.work.dispatch import Dispatch
from worldos.kernel.work.held_takes import HeldTakes
from worldos.kernel.work.limits import (
    ANSWER_BYTES_MAX,
    ASK_AGAIN_NS,
    ASK_NS,
    ASK_SILENT_NS,
    ASKS_MAX,
    ROUND_BYTES,
    TEND_NS,
)
from worldos.kernel.work.look import keepers, look
from worldos.kernel.work.replica import Applied, Changed, Leads, LeftOut, Lost, Outcome, Ready, Replica
from worldos.kernel.work.site import Site
from worldos.kernel.work.voters import next_step
from worldos.kernel.work.words import decode_command, encode_answers
from worldos.model.ids import NodeId
from worldos.model.limits import MS, NEVER_NS
from worldos.model.raft import NOBODY
from worldos.model.work import BATCH_MAX, LineCommand, QueueCommand, Take, WorkAnswer, WorkCommand
from worldos.model.work import Applied as AppliedAnswer
from worldos.model.work_wire import WORK_PART_BYTES, TasksHeld, WorkAsk, WorkDropped, WorkMessage, WorkRaft, WorkTold

NOBODY_LEADS: Final = "no majority of the nodes that keep this site's work can be reached"
NOBODY_LEADS_HINT: Final = "wos nodes shows which are there; it is tried again by itself when they are back"
NO_COUNCIL: Final = "no council keeps this site's work: nobody has founded one, or none of it is known here"
NO_COUNCIL_HINT: Final = (
    "wos realm show; where nobody ever founded one: wos realm found, once, on a machine that is mostly on"
)
TOO_MUCH: Final = "too much waits for the site's work"
TOO_MUCH_HINT: Final = "try again in a moment, or say more in one command"


class WorkTable(msgspec.Struct, kw_only=True):
    """The work at one node. ``tick`` is not due before ``due_ns``.

    ``gathered`` wait for the next round, ``rounds`` are in the log: by index there, which asks, and how many commands of each.
    ``known``: asks of others by who asked and how they call it. ``hint``: who leads, as others said. ``asks_ns``: no ask needs
    to be looked after before. ``begins_ns``: when the charter is asked (again) to begin the work; ``stood``:
    it knows that the work stands. ``fresh``: this node's runner was given nothing in this life.
    """

    me: NodeId
    seed: int
    replica: Replica | None = None
    number: int = 0
    asks: dict[int, Asked] = {}
    known: dict[tuple[NodeId, int], int] = {}
    gathered: list[int] = []
    rounds: dict[int, list[tuple[int, int]]] = {}
    held: HeldTakes = msgspec.field(default_factory=HeldTakes)
    hint: NodeId = NOBODY
    turn: int = 0
    begins_ns: int = 0
    stood: bool = False
    fresh: bool = False
    tend_ns: int = 0
    asks_ns: int = NEVER_NS
    due_ns: int = NEVER_NS
    dispatch: Dispatch = msgspec.field(default_factory=Dispatch)

    @property
    def leads(self) -> bool:
        """Tell whether this node leads the work."""
        return self.replica is not None and self.replica.leads

    # -- what is asked -----------------------------------------------------------------------------------------------------

    def ask(self, now_ns: int, site: Site, words: WorkAsk) -> tuple[int, list[Out]]:
        """Take an ask of this node; a ``Reply`` of the number returned will come, perhaps at once."""
        self.number += 1
        asked = Asked(number=self.number, words=words, until_ns=now_ns + ASK_NS + words.wait_ms * MS)
        return asked.number, self._take(now_ns, site, asked)

    def drop(self, number: int) -> list[Out]:
        """Nobody waits for this answer any more; what it commands may be done all the same."""
        asked = self.asks.get(number)
        if asked is None:
            return []
        self._forget(asked)
        return [Say(asked.at, WorkDropped(number=number))] if asked.at not in (NOBODY, self.me) else []

    def _take(self, now_ns: int, site: Site, asked: Asked) -> list[Out]:
        if len(self.asks) >= ASKS_MAX:
            return self._end(asked, error="OverQuota", why=TOO_MUCH, hint=TOO_MUCH_HINT)
        if asked.words.command:
            try:
                asked.said = decode_command(asked.words.command).said
            except PeerBroke as error:
                return self._end(asked, error="BadRequest", why=str(error))
        self.asks[asked.number] = asked
        if asked.peer:
            self.known[asked.peer, asked.request] = asked.number
        out = self._route(now_ns, site, asked)
        self._mind_ask(asked.until_ns)
        return out

    def _route(self, now_ns: int, site: Site, asked: Asked) -> list[Out]:
        """Bring an ask to who leads: into the next round here, or on its way."""
        asked.parts, asked.size, asked.again_ns = [], 0, NEVER_NS
        replica = self.replica
        if replica is not None and replica.leads:
            asked.at = self.me
            return self._lead(now_ns, site, asked)
        if asked.peer:
            told = WorkTold(number=asked.request, again=True, leader=replica.leader if replica is not None else NOBODY)
            self._forget(asked)
            return [Say(asked.peer, told)]
        asked.at = self._whom(site)
        out = self._begin_work(now_ns, site)
        if self.leads:
            return [*out, *self._route(now_ns, site, asked)]
        if asked.at == NOBODY:
            asked.again_ns = now_ns + ASK_AGAIN_NS
        else:
            asked.again_ns = now_ns + ASK_SILENT_NS + asked.words.wait_ms * MS
            out.append(Say(asked.at, msgspec.structs.replace(asked.words, number=asked.number)))
        self._mind_ask(asked.again_ns)
        return out

    def _lead(self, now_ns: int, site: Site, asked: Asked) -> list[Out]:
        assert self.replica is not None
        if asked.words.look:
            return self._carry(now_ns, site, self.replica.read(now_ns, asked.number))
        first = asked.said[0] if len(asked.said) == 1 else None
        wait_ms = asked.words.wait_ms
        if wait_ms and isinstance(first, Take) and self._is_dry(now_ns, site, first.queue):
            self.held.hold(first.queue, asked.number, first.count, now_ns + wait_ms * MS)
            self._mind(self.held.due_ns)
            return self._release(now_ns, site)
        self.gathered.append(asked.number)
        return []

    def _whom(self, site: Site) -> NodeId:
        """Return who is to be asked: who leads, or else one after the other of the council."""
        leader = self.replica.leader if self.replica is not None else NOBODY
        for node in (leader, self.hint):
            if node not in (NOBODY, self.me) and site.is_linked(node):
                return node
        others = [node for node in site.council() if node != self.me and site.is_linked(node)]
        self.turn += 1
        return others[self.turn % len(others)] if others else NOBODY

    def flush(self, now_ns: int, site: Site) -> list[Out]:
        """Put what was gathered into the log, together. The shell calls it at the end of each turn of its loop."""
        out: list[Out] = []
        while self.gathered and self.replica is not None and self.replica.leads:
            said: list[LineCommand | QueueCommand] = []
            parts: list[tuple[int, int]] = []
            size = 0
            for number in self.gathered:
                asked = self.asks.get(number)
                if asked is None:
                    parts.append((number, 0))
                    continue
                size += len(asked.words.command)
                if said and (size > ROUND_BYTES or len(said) + len(asked.said) > BATCH_MAX):
                    break
                said += asked.said
                parts.append((number, len(asked.said)))
            del self.gathered[: len(parts)]
            command = WorkCommand(said=tuple(said), wall_ms=self.replica.time_ms(now_ns, site))
            index, outcome = self.replica.propose(now_ns, command)
            if index:
                self.rounds[index] = parts
                out += self._carry(now_ns, site, outcome)
                continue
            out += self._carry(now_ns, site, outcome)
            for number, _ in parts:
                out += self._later(now_ns, number)
        return out

    def holds(self, now_ns: int, site: Site, message: TasksHeld) -> list[Out]:
        """The runner of this node says what it has: whoever leads is told."""
        if self.leads:
            self.dispatch.held(now_ns, self.me, message)
            self._mind(self.dispatch.due_ns)
            return []
        leader = self._whom(site)
        return [Say(leader, message)] if leader != NOBODY else []

    # -- giving tasks ------------------------------------------------------------------------------------------------------

    def _give(self, now_ns: int, site: Site) -> list[Out]:
        """As who leads, see what can be begun, and who is to be told what."""
        replica = self.replica
        if replica is None or not replica.stands or self.dispatch.due_ns > now_ns:
            return []
        wall_ms = replica.time_ms(now_ns, site)
        commands, said = self.dispatch.turn(now_ns, wall_ms, replica.work, site)
        out: list[Out] = [Say(each.node, each.message) for each in said]
        if commands or self.dispatch.lets_time_pass(now_ns, replica.work):
            command = WorkCommand(said=tuple(commands), wall_ms=wall_ms)
            index, outcome = replica.propose(now_ns, command)
            if index:
                self.rounds[index] = [(0, len(commands))]
            out += self._carry(now_ns, site, outcome)
        return out

    # -- what happens ------------------------------------------------------------------------------------------------------

    def recover(self, now_ns: int, recovered: Recovered) -> None:
        """Take the replica up again with what the disk has. The shell calls this before anything else."""
        self.replica = Replica.recover(self.me, recovered, self.seed, now_ns)
        self.due_ns = now_ns

    def tick(self, now_ns: int, site: Site) -> list[Out]:
        """Do what is due."""
        self.due_ns = NEVER_NS
        out: list[Out] = []
        if self.replica is not None and self.replica.due_ns <= now_ns:
            out += self._carry(now_ns, site, self.replica.tick(now_ns))
        if self.asks_ns <= now_ns:
            out += self._look_after_asks(now_ns, site)
        if self.held.due_ns <= now_ns:
            out += self._release(now_ns, site)
        out += self._tend(now_ns, site)
        out += self.flush(now_ns, site)
        out += self._give(now_ns, site)
        self._mind_all()
        return out

    def _look_after_asks(self, now_ns: int, site: Site) -> list[Out]:
        """Let nobody wait for ever, and ask again where nothing was heard."""
        out: list[Out] = []
        for asked in list(self.asks.values()):
            if asked.until_ns <= now_ns:
                out += self._over(site, asked)
            elif asked.again_ns <= now_ns:
                if self.hint == asked.at:
                    self.hint = NOBODY
                out += self._route(now_ns, site, asked)
        self.asks_ns = min((min(each.until_ns, each.again_ns) for each in self.asks.values()), default=NEVER_NS)
        return out

    def heard(self, now_ns: int, site: Site, peer: NodeId, message: WorkMessage) -> list[Out]:
        """Take in what a member said."""
        if not site.is_member(peer):
            return []
        match message:
            case WorkRaft():
                return self._raft(now_ns, site, peer, message)
            case WorkAsk():
                return self._asked(now_ns, site, peer, message)
            case WorkTold():
                return self._told(now_ns, site, peer, message)
            case WorkDropped():
                number = self.known.get((peer, message.number))
                return self.drop(number) if number is not None else []
            case TasksHeld():
                return self._held(now_ns, peer, message)
            case _:
                return []

    def persisted(self, now_ns: int, site: Site, number: int) -> list[Out]:
        """What the replica wanted stored is on disk."""
        if self.replica is None:
            return []
        return self._carry(now_ns, site, self.replica.persisted(now_ns, number))

    def unlinked(self, now_ns: int, site: Site, peer: NodeId) -> list[Out]:
        """There is no way to a node any more: its asks are its own business again, and ours go elsewhere."""
        out: list[Out] = []
        if self.replica is not None:
            out += self._carry(now_ns, site, self.replica.unlinked(now_ns, peer))
        if self.hint == peer:
            self.hint = NOBODY
        for asked in list(self.asks.values()):
            if asked.peer == peer:
                self._forget(asked)
            elif asked.at == peer:
                out += self._later(now_ns, asked.number)
        return out

    def _raft(self, now_ns: int, site: Site, peer: NodeId, message: WorkRaft) -> list[Out]:
        if self.replica is None and not self._found(now_ns, site):
            if site.works() is None and self.me not in site.council():
                return []
            self.replica = Replica.invited(self.me, self.seed, now_ns)
        assert self.replica is not None
        return self._carry(now_ns, site, self.replica.heard(now_ns, peer, message.message))

    def _asked(self, now_ns: int, site: Site, peer: NodeId, message: WorkAsk) -> list[Out]:
        if (peer, message.number) in self.known:
            return []
        self.number += 1
        asked = Asked(
            number=self.number,
            words=message,
            until_ns=now_ns + ASK_NS + message.wait_ms * MS,
            peer=peer,
            request=message.number,
        )
        out = self._begin_work(now_ns, site)
        return [*out, *self._take(now_ns, site, asked)]

    def _held(self, now_ns: int, peer: NodeId, message: TasksHeld) -> list[Out]:
        if self.leads:
            self.dispatch.held(now_ns, peer, message)
            self._mind(self.dispatch.due_ns)
            return []
        leader = self.replica.leader if self.replica is not None else NOBODY
        return [Say(peer, WorkTold(number=0, again=True, leader=leader))] if leader not in (NOBODY, peer) else []

    def _told(self, now_ns: int, site: Site, peer: NodeId, message: WorkTold) -> list[Out]:
        if message.again and not message.number:
            self.hint = message.leader if message.leader != self.me else NOBODY
        asked = self.asks.get(message.number)
        if asked is None or asked.peer or asked.at != peer:
            return []
        if message.again:
            self.hint = message.leader if message.leader not in (self.me, peer) else NOBODY
            if self.hint and site.is_linked(self.hint):
                return self._route(now_ns, site, asked)
            return self._later(now_ns, asked.number)
        if message.part != len(asked.parts) or asked.size + len(message.data) > ANSWER_BYTES_MAX:
            return []
        self.hint = peer
        if message.error:
            return self._end(asked, error=message.error, why=message.why, hint=message.hint)
        asked.parts.append(message.data)
        asked.size += len(message.data)
        return [] if message.more else self._end(asked, data=b"".join(asked.parts))

    # -- what the replica says ---------------------------------------------------------------------------------------------

    def _carry(self, now_ns: int, site: Site, outcome: Outcome) -> list[Out]:
        out: list[Out] = [
            Say(effect.node, WorkRaft(message=effect.message)) if isinstance(effect, SendRaft) else Store(effect)
            for effect in outcome.effects
        ]
        if outcome.mended:
            out.append(Mended())
        for happening in outcome.happenings:
            match happening:
                case Applied():
                    out += self._applied(now_ns, happening)
                case Lost():
                    out += self._give_up(now_ns)
                case Leads():
                    self.tend_ns, self.dispatch = now_ns, Dispatch(fresh=self.me if self.fresh else NOBODY)
                    out += self._all_again(now_ns)
                case Ready():
                    out += self._read(now_ns, happening)
                case Changed():
                    pass
                case LeftOut():
                    self.replica = None
                    out += [Drop(), *self._give_up(now_ns)]
                case _:
                    assert_never(happening)
        if self.held.waiting and self.leads:
            out += self._release(now_ns, site)
        self._mind_all()
        return out

    def _applied(self, now_ns: int, applied: Applied) -> list[Out]:
        parts = self.rounds.pop(applied.index, None)
        out: list[Out] = []
        at = 0
        for number, count in parts or ():
            answers = applied.answers[at : at + count]
            asked = self.asks.get(number)
            if asked is not None:
                out += self._answer(asked, answers)
            elif not number and self.replica is not None:
                assigned = self.dispatch.assigned(now_ns, self.replica.work, answers)
                out += [Say(each.node, each.message) for each in assigned]
            at += count
        if self.leads:
            self.dispatch.soon(now_ns)
            self._mind(self.dispatch.due_ns)
        return out

    def _answer(self, asked: Asked, answers: tuple[WorkAnswer, ...]) -> list[Out]:
        return self._end(asked, data=encode_answers(answers))

    def _give_up(self, now_ns: int) -> list[Out]:
        """Another leads, or nobody: all that was asked here goes on its way anew."""
        self.rounds, self.gathered = {}, []
        self.held = HeldTakes()
        out: list[Out] = []
        for asked in list(self.asks.values()):
            if asked.at == self.me:
                out += self._later(now_ns, asked.number)
        return out

    def _all_again(self, now_ns: int) -> list[Out]:
        """This node leads now: what waits here for another is answered here."""
        for asked in self.asks.values():
            if asked.at != self.me:
                asked.again_ns = now_ns
        self._mind_ask(now_ns)
        return []

    def _read(self, now_ns: int, ready: Ready) -> list[Out]:
        asked = self.asks.get(ready.ticket)
        if asked is None or self.replica is None:
            return []
        if not ready.fresh:
            return self._later(now_ns, asked.number)
        if asked.words.look == "keepers":
            return self._end(asked, data=keepers(self.replica))
        try:
            data = look(self.replica.work, asked.words, self.dispatch.scene)
        except PeerBroke as error:
            return self._end(asked, error="BadRequest", why=str(error))
        return self._end(asked, data=data)

    # -- takes that wait ---------------------------------------------------------------------------------------------------

    def _is_dry(self, now_ns: int, site: Site, queue: str) -> bool:
        """Tell whether a queue is there and has nothing to take."""
        assert self.replica is not None
        queues = self.replica.work.queues
        return not queues.ready(queue, self.replica.time_ms(now_ns, site)) and queues.view(queue) is not None

    def _release(self, now_ns: int, site: Site) -> list[Out]:
        """Let takes go on for which there is a message now, and those that have waited long enough go without."""
        if self.replica is None:
            return []
        queues, wall_ms = self.replica.work.queues, self.replica.time_ms(now_ns, site)
        self.gathered += self.held.released(lambda queue: queues.ready(queue, wall_ms))
        out: list[Out] = []
        for number in self.held.over(now_ns):
            asked = self.asks.get(number)
            out += self._answer(asked, (AppliedAnswer(),)) if asked is not None else []
        for queue in self.held.waiting:
            next_ms = queues.next_due_ms(queue)
            if next_ms:
                self.held.due_ns = min(self.held.due_ns, now_ns + max(1, next_ms - wall_ms) * MS)
        self._mind(self.held.due_ns)
        if self.gathered:
            self._mind(now_ns)
        return out

    # -- beginning, and who keeps it ---------------------------------------------------------------------------------------

    def _found(self, now_ns: int, site: Site) -> bool:
        """Begin the replica of a founder; tell whether this node is one."""
        founders = site.founders()
        if self.me not in founders:
            return False
        self.replica = Replica.found(self.me, founders, self.seed, now_ns)
        self._mind(now_ns)
        return True

    def _begin_work(self, now_ns: int, site: Site) -> list[Out]:
        """Somebody needs the work: see to it that there is one."""
        if self.replica is not None:
            return []
        if self._found(now_ns, site):
            return []
        if site.works() is not False or now_ns < self.begins_ns:
            return []
        self.begins_ns = now_ns + ASK_AGAIN_NS
        return [Begin(stands=False)]

    def _tend(self, now_ns: int, site: Site) -> list[Out]:
        """As who leads, look after who votes; and let the charter know that the work stands before anybody comes or goes."""
        replica = self.replica
        if replica is None or not replica.stands or now_ns < self.tend_ns:
            return []
        self.tend_ns = now_ns + TEND_NS
        self.stood = self.stood or (site.works() is True and not site.founders())
        if not self.stood:
            return [Begin(stands=True)]
        log = replica.raft.log
        if log.committed < log.config_index:
            return []
        step = next_step(log.config, self.me, site.council(), site.alive(), caught_up(replica.raft))
        return self._carry(now_ns, site, replica.step(now_ns, step)) if step is not None else []

    # -- small ones --------------------------------------------------------------------------------------------------------

    def _end(self, asked: Asked, data: bytes = b"", error: str = "", why: str = "", hint: str = "") -> list[Out]:
        """Answer an ask."""
        self._forget(asked)
        if not asked.peer:
            return [Reply(asked.number, data, error, why, hint)]
        if error:
            told = WorkTold(number=asked.request, error=error, why=why[:1024], hint=hint[:1024])
            return [Say(asked.peer, told)]
        cut = [data[at : at + WORK_PART_BYTES] for at in range(0, len(data), WORK_PART_BYTES)] or [b""]
        last = len(cut) - 1
        return [
            Say(asked.peer, WorkTold(number=asked.request, part=part, data=piece, more=part < last))
            for part, piece in enumerate(cut)
        ]

    def _over(self, site: Site, asked: Asked) -> list[Out]:
        if not site.council():
            return self._end(asked, error="Unreachable", why=NO_COUNCIL, hint=NO_COUNCIL_HINT)
        return self._end(asked, error="Unreachable", why=NOBODY_LEADS, hint=NOBODY_LEADS_HINT)

    def _later(self, now_ns: int, number: int) -> list[Out]:
        """Bring an ask on its way again in a moment; one of another node goes back to it at once."""
        asked = self.asks.get(number)
        if asked is None:
            return []
        if asked.peer:
            leader = self.replica.leader if self.replica is not None else NOBODY
            self._forget(asked)
            return [Say(asked.peer, WorkTold(number=asked.request, again=True, leader=leader))]
        asked.at, asked.again_ns = NOBODY, now_ns + ASK_AGAIN_NS
        self._mind_ask(asked.again_ns)
        return []

    def _forget(self, asked: Asked) -> None:
        self.asks.pop(asked.number, None)
        self.known.pop((asked.peer, asked.request), None)
        self.held.drop(asked.number)

    def _mind_all(self) -> None:
        self._mind(min(self.asks_ns, self.held.due_ns))
        if self.replica is not None:
            self._mind(self.replica.due_ns)
            if self.replica.stands:
                self._mind(min(self.tend_ns, self.dispatch.due_ns))

    def _mind_ask(self, at_ns: int) -> None:
        self.asks_ns = min(self.asks_ns, at_ns)
        self._mind(at_ns)

    def _mind(self, at_ns: int) -> None:
        self.due_ns = min(self.due_ns, at_ns)
