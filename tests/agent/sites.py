"""Sites for tests: several agents of one account, linked; an agent of another; and one whose program was turned against all."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.agent.agents import RunningAgent, running, until

from worldos.agent import home as homes
from worldos.agent.start import make_account, recover_account
from worldos.home import Home
from worldos.kernel.belonging import log_entries
from worldos.trust.keylog import KeyLog, SignedEntry

HOSTILE = Path(__file__).with_name("hostile_agent.py")


@contextlib.contextmanager
def running_site(folder: Path, *names: str) -> Iterator[list[RunningAgent]]:
    """Agents of one account, all linked; the first made it and began its council, the others came by its words."""
    made = [Home(folder / name) for name in names]
    for home in made:
        home.path.mkdir(mode=0o700)
    words = make_account(made[0], names[0])
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(running(made[0]))
        until(lambda: first.ask("realm_tree"), "it has a center", 20)
        status = first.ask("status")
        log = KeyLog()
        for home, name in zip(made[1:], names[1:], strict=True):
            recover_account(home, name, words)
        for home in made:
            log.merge(SignedEntry(body=body, signature=signature) for body, signature in homes.read_keylog(home))
        first.ask("learn", entries=log_entries(log, log.entries))
        agents, peers = [first], {status["node"]: tuple(status["listens"])}
        for home in made[1:]:
            homes.write_keylog(home, log_entries(log, log.entries))
            homes.write_remembered(home, homes.Remembered(peers=dict(peers)))
            agent = stack.enter_context(running(home))
            status = agent.ask("status")
            peers[status["node"]] = tuple(status["listens"])
            agents.append(agent)
        for agent in agents:
            until(lambda agent=agent: len(alive(agent)) == len(agents), "all are linked", 30)
        yield agents


@contextlib.contextmanager
def running_hostile(home: Home) -> Iterator[RunningAgent]:
    """An agent whose own guard lets everything pass, and which says whatever it is told to (order ``say``)."""
    agent = RunningAgent(home, prefix=(sys.executable, str(HOSTILE)))
    try:
        assert agent.ready, agent.line
        yield agent
    finally:
        agent.end()


def alive(agent: RunningAgent) -> list[dict[str, Any]]:
    return [row for row in agent.ask("nodes") if row["status"] == "alive" and row["cpu_capacity"]]


def notices(agent: RunningAgent, name: str) -> list[dict[str, Any]]:
    """What an agent noted under this name, with the moment in ``at_ns``."""
    return [{**row["fields"], "at_ns": row["at_ns"]} for row in agent.ask("log") if row["name"] == name]


def node_of(agent: RunningAgent) -> str:
    return str(agent.ask("status")["node"])
