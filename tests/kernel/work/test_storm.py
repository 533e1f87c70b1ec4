"""A storm over a site's work: nodes die and come back, links are cut and words are lost, clocks differ.

Whatever happens: what was acknowledged is there, what a consumer is done with is handed out no more, and each task has one
outcome. That the checks see something is shown by a bug that is planted.
"""

from __future__ import annotations

import os
from random import Random

import pytest
from tests.kernel.work.sites import Pump

from worldos.kernel.work.look import read_job
from worldos.kernel.work.replica import Applied as Happened
from worldos.kernel.work.replica import Replica
from worldos.model.ids import NodeId
from worldos.model.limits import MS, SECOND
from worldos.model.need import Need
from worldos.model.work import (
    Ack,
    Applied,
    Assign,
    Attempt,
    Finished,
    JobId,
    JobSpec,
    Message,
    Outcome,
    Put,
    QueueMade,
    Submit,
    Take,
    WorkCommand,
)
from worldos.model.work_wire import WorkAsk

SEEDS = range(150 if os.environ.get("WORK_LONG") else 4)
NODES = "abc"
ALL = "abcd"
Key = tuple[NodeId, int, int]


class Storm:
    """What is asked during a storm, and what was answered."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.pump = Pump(NODES, "d", seed)
        self.number = 0
        self.asked: dict[
            Key, tuple[Put | Take | Ack | Submit, int]
        ] = {}  # and how many were done with when it was asked
        self.put: set[bytes] = set()
        self.begun: set[bytes] = set()
        self.done: dict[bytes, int] = {}  # in which order
        self.jobs: set[str] = set()
        self.requests = dict.fromkeys(ALL, 0)
        self.open: dict[str, Key | None] = dict.fromkeys(ALL)
        self.pump.skew_ms = {NodeId(name): self.dice.randrange(-2000, 2000) for name in ALL}
        assert self.pump.said("a", QueueMade(queue="q", deliveries_max=1000), within_ns=20 * SECOND) == (Applied(),)

    def ask(self, name: str, said: Put | Take | Ack | Submit) -> Key | None:
        if NodeId(name) in self.pump.down:
            return None
        key = self.pump.ask(name, said)
        self.asked[key] = said, len(self.done)
        return key

    def step(self) -> None:
        pump, dice = self.pump, self.dice
        name = dice.choice(ALL)
        match dice.randrange(14):
            case 0 if len(pump.down) < 2:
                victim = dice.choice(NODES)
                if NodeId(victim) not in pump.down:
                    pump.kill(victim)
            case 1 | 2:
                if pump.down:
                    pump.restart(dice.choice(sorted(pump.down)))
            case 3:
                pump.cut.add(frozenset(dice.sample(ALL, 2)))
            case 4:
                pump.cut.clear()
            case 5:
                pump.loss = dice.choice((0.0, 0.0, 0.1))
            case 6 | 7 | 8 | 9:
                self.number += 1
                self.ask(name, Put(queue="q", messages=(Message(self.number.to_bytes(8, "big"), b"x" * 50),)))
            case 10:
                self.number += 1
                need = Need(kind="CPU", amount=1000)
                spec = JobSpec(argv=("true",), need=need, parcel=b"p" * dice.choice((10, 100_000)))
                self.ask(name, Submit(job=JobId(f"job-{self.number}"), spec=spec, by=NodeId(name)))
            case _:
                self.consume(name)
        pump.run(dice.randrange(120) * MS)
        self.take_in()

    def consume(self, name: str) -> None:
        """A consumer takes its next message when its last taking was answered."""
        key = self.open[name]
        if key is not None and key not in self.pump.replies and key[1] == self.pump.lives[NodeId(name)]:
            return
        self.requests[name] += 1
        consumer, request = f"cons-{name}", self.requests[name]
        self.open[name] = self.ask(name, Take(queue="q", consumer=consumer, request=request, visible_ms=500))

    def take_in(self) -> None:
        """Look at what was answered, and let consumers be done with what they got."""
        for key in [key for key in self.asked if key in self.pump.replies]:
            said, before = self.asked.pop(key)
            reply = self.pump.replies[key]
            if reply.error:
                assert reply.error == "Unreachable"
                continue
            (answer,) = self.pump.answers(key)
            assert isinstance(answer, Applied), answer
            match said:
                case Put():
                    self.put.add(said.messages[0].id)
                case Submit():
                    self.jobs.add(said.job)
                case Ack():
                    for name in sorted(set(said.ids) - set(answer.missed)):
                        self.done.setdefault(name, len(self.done))
                case Take():
                    for message, _ in answer.messages:
                        done = self.done.get(message.id, before)
                        assert done >= before, "what was done with is handed out again"
                        self.begun.add(message.id)  # an ack is asked for, and perhaps done without an answer
                        ack = Ack(queue="q", consumer=said.consumer, ids=(message.id,))
                        if self.ask(key[0], ack) is None:
                            self.begun.discard(message.id)

    def settle(self) -> None:
        """Let all be well again, and take out what is left."""
        pump = self.pump
        pump.loss = 0.0
        pump.cut.clear()
        for node in sorted(pump.down):
            pump.restart(node)
        pump.run(30 * SECOND)
        self.take_in()
        left: set[bytes] = set()
        for request in range(1, 10_000):
            said = Take(queue="q", consumer="the-last", request=request, count=50, visible_ms=80_000_000)
            (answer,) = pump.said("d", said)
            assert isinstance(answer, Applied)
            if not answer.messages:
                break
            left |= {message.id for message, _ in answer.messages}
        assert not left & self.done.keys(), "what was done with is handed out again"
        assert self.put <= left | self.begun, "an acknowledged message is lost"
        for job in sorted(self.jobs):
            self.finish(job)

    def finish(self, job: str) -> None:
        """Each job that was acknowledged is there, and has one outcome."""
        pump = self.pump
        (given,) = pump.said("a", Assign(job=job, indices=(0,), node=NodeId("a")))
        assert isinstance(given, Applied), given
        first = Finished(attempt=Attempt(job, 0, 1), outcome=Outcome(code=0, cpu_us=7))
        second = Finished(attempt=Attempt(job, 0, 1), outcome=Outcome(code=3, cpu_us=9))
        pump.said("b", first)
        pump.said("c", second)
        key = pump.ask_words("d", WorkAsk(number=0, look=f"job {job}"))
        pump.until(key)
        (task,) = read_job(pump.replies[key].data).tasks
        assert task.outcome is not None
        assert task.outcome.code == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_that_was_acknowledged_is_lost_in_a_storm(seed: int) -> None:
    storm = Storm(seed)
    for _ in range(300):
        storm.step()
    storm.settle()
    assert len(storm.put) > 20, "the storm let something through"
    assert storm.done
    assert storm.jobs
    states = {table.replica.work.snapshot() for table in storm.pump.tables.values() if table.replica is not None}
    assert len(states) == 1, "all replicas came to the same"


def storms(count: int) -> None:
    for seed in range(count):
        storm = Storm(seed)
        for _ in range(300):
            storm.step()
        storm.settle()


def test_a_replica_that_answers_before_a_majority_has_it_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Replica.propose

    def hasty(self: Replica, now_ns: int, command: WorkCommand) -> object:
        index, outcome = honest(self, now_ns, command)
        if index:
            answers = tuple(Applied() for _ in command.said)
            outcome.happenings.append(Happened(index, answers))
        return index, outcome

    monkeypatch.setattr(Replica, "propose", hasty)
    with pytest.raises(AssertionError):
        storms(5)
