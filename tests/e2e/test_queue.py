"""A queue in a storm of real deaths: three agents keep it, one after the other is killed with SIGKILL while programs go on.

No acknowledged message may be lost, and none that a consumer is done with handed out again. With WORK_LONG=1: 10 000 messages.
"""

from __future__ import annotations

import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, until
from tests.agent.sites import running_site

from worldos.errors import Refused, Unreachable
from worldos.kernel.work.look import read_keepers
from worldos.sdk.queue import Empty, Queue

MESSAGES = 10_000 if os.environ.get("WORK_LONG") else 1_500
KILLS_MIN = 3
NAMES = ("a", "b", "c")


@pytest.fixture
def site() -> Iterator[list[RunningAgent]]:
    with tempfile.TemporaryDirectory(prefix="wos-s-") as folder, running_site(Path(folder), *NAMES) as agents:
        with Queue("storm", deliveries=1000, home=agents[0].home):
            keepers = lambda: read_keepers(agents[0].ask("work_look", what="keepers"))  # noqa: E731
            until(lambda: len(keepers().voters) == len(NAMES), "three keep the work", 60)
        yield agents


class Ledger:
    """What was acknowledged to whom, seen by all threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.put: set[int] = set()
        self.asked: set[int] = set()  # to be done with, perhaps without an answer
        self.done: dict[int, float] = {}
        self.again: list[int] = []
        self.stop = threading.Event()

    def got(self, number: int, asked_s: float) -> None:
        with self.lock:
            if self.done.get(number, asked_s) < asked_s:
                self.again.append(number)

    def finished(self, number: int) -> None:
        with self.lock:
            self.done.setdefault(number, time.monotonic())


def produce(home: object, numbers: range, ledger: Ledger) -> None:
    with Queue("storm", home=home) as queue:  # type: ignore[arg-type]
        for number in numbers:
            while True:
                try:
                    queue.put(str(number), id=f"m-{number}")
                except (Unreachable, Refused):
                    continue
                break
            with ledger.lock:
                ledger.put.add(number)


def consume(home: object, ledger: Ledger) -> None:
    with Queue("storm", home=home, visible=20) as queue:  # type: ignore[arg-type]
        while not ledger.stop.is_set():
            asked_s = time.monotonic()
            try:
                message = queue.get(timeout=0.5)
                ledger.got(int(message.body), asked_s)
                with ledger.lock:
                    ledger.asked.add(int(message.body))
                if message.ack():
                    ledger.finished(int(message.body))
            except (Empty, Unreachable, Refused):
                continue


def killer(agents: list[RunningAgent], ledger: Ledger, kills: list[str], listens: list[str]) -> None:
    """Kill one agent, let the others go on for a while, start it again; then the next."""
    dice = random.Random(7)
    while not ledger.stop.wait(0.5 + dice.random()):
        at = dice.randrange(len(agents))
        home = agents[at].home
        agents[at].process.kill()
        agents[at].process.wait()
        kills.append(home.path.name)
        ledger.stop.wait(dice.random())
        agents[at].wait()
        agents[at].__init__(home, listen=listens[at])  # type: ignore[misc]
        assert agents[at].ready, (agents[at].line, agents[at].process.poll())


@pytest.mark.timeout(600)
def test_ten_thousand_messages_survive_a_storm_of_kills(site: list[RunningAgent]) -> None:
    ledger, kills = Ledger(), list[str]()
    listens = [agent.ask("status")["listens"][0] for agent in site]
    share = MESSAGES // len(site)
    makers = [
        threading.Thread(target=produce, args=(agent.home, range(at * share, (at + 1) * share), ledger))
        for at, agent in enumerate(site)
    ]
    takers = [threading.Thread(target=consume, args=(agent.home, ledger)) for agent in site]
    storm = threading.Thread(target=killer, args=(site, ledger, kills, listens))
    for thread in (*makers, *takers, storm):
        thread.start()
    for thread in makers:
        thread.join(300)
    until(lambda: len(kills) >= KILLS_MIN, "some were killed", 60)
    until(lambda: len(ledger.done) >= len(ledger.put) // 2, "half is done with", 120)
    ledger.stop.set()
    storm.join(60)
    for thread in takers:
        thread.join(60)
    assert not any(thread.is_alive() for thread in (*makers, *takers, storm))
    with Queue("storm", home=site[0].home) as queue:
        left = set()
        deadline_s = time.monotonic() + 60
        while len(ledger.done.keys() | left) < len(ledger.put) and time.monotonic() < deadline_s:
            left |= {int(message.body) for message in queue.get_many(500, timeout=1)}
            if ledger.put <= ledger.done.keys() | ledger.asked | left and not queue.view().held:
                break
    assert len(ledger.put) == share * len(site)
    assert not ledger.put - ledger.asked - left, "an acknowledged message is lost"
    assert not ledger.again, "what a consumer was done with was handed out again"
    assert not left & ledger.done.keys()
