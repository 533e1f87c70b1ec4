"""A running node: programs come and go however they end, every decision is in the journal, and one mistake stops nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest
from tests.agent.agents import RunningAgent, framed, new_home, raw, until

from worldos.agent.agent import Agent
from worldos.agent.journal import newest, replay
from worldos.agent.orders.orders import Orders
from worldos.agent.start import embedded, open_home
from worldos.home import Home
from worldos.model.local import (
    LOCAL_VERSION,
    Doors,
    Failure,
    Hello,
    OpenDoors,
    Pause,
    Release,
    ToClient,
    Use,
    UseRefused,
)
from worldos.model.need import Need

HOLDER = """
import sys, time
from worldos import use
with use("CPU", 1) as cpu:
    cpu.activate()
    print(cpu.submit(__import__("os").getpid).result(), flush=True)
    time.sleep(60)
"""


class Program:
    """A program's end of the local API, by hand."""

    def __init__(self, agent: RunningAgent) -> None:
        self.sock = raw(agent.home.socket_file)
        self.say(Hello(version=LOCAL_VERSION, program="by hand"))

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def say(self, message: msgspec.Struct) -> None:
        self.sock.sendall(framed(msgspec.msgpack.encode(message)))

    def hear(self) -> ToClient:
        def exactly(count: int) -> bytes:
            data = b""
            while len(data) < count:
                data += self.sock.recv(count - len(data))
            return data

        return msgspec.msgpack.decode(exactly(int.from_bytes(exactly(4), "little")), type=ToClient)


def holder(agent: RunningAgent) -> tuple[subprocess.Popen[str], int]:
    """A program that holds a core; and the process number of its worker."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        env={**os.environ, "WORLDOS_HOME": str(agent.home.path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_program_that_ends_in_any_way_gives_everything_back(agent: RunningAgent, number: int) -> None:
    process, worker = holder(agent)
    assert len(agent.ask("leases")["granted"]) == 1
    process.send_signal(number)
    process.communicate(timeout=60)
    until(lambda: agent.ask("leases") == {"granted": [], "held": []}, "its lease is back", 5)
    until(lambda: not psutil.pid_exists(worker), "its worker is gone", 5)
    (cpu,) = agent.ask("resources", kind="CPU")
    assert cpu["state"] == "available"


def test_what_a_killed_agent_decided_is_in_its_journal(folder: Path) -> None:
    home = new_home(folder / "desk")
    agent = RunningAgent(home)
    process, worker = holder(agent)
    agent.end(signal.SIGKILL)
    process.kill()
    process.communicate(timeout=60)
    until(lambda: not psutil.pid_exists(worker), "the worker ended with its agent", 5)
    file = newest(home.journal_folder)
    assert file is not None
    effects = [type(effect).__name__ for _, said, same in replay(file) for effect in said if same]
    assert "OpenLane" in effects


@pytest.mark.parametrize(
    "need",
    [
        Need(kind="Toaster", amount=1),
        Need(kind="CPU", amount=0),
        Need(kind="CPU", amount=-5),
        Need(kind="CPU", amount=2**62),
        Need(kind="CPU", amount=1000, memory_bytes=2**62),
        Need(kind="CPU", amount=1000, near="nowhere"),
        Need(kind="x" * 10_000, amount=1),
        Need(kind="CPU", amount=1000, workers=10**6),
    ],
)
def test_a_need_that_cannot_be_is_refused_with_a_reason(agent: RunningAgent, need: Need) -> None:
    with Program(agent) as program:
        program.say(Use(use="u1", needs=(need,), ttl_ns=10**10))  # type: ignore[arg-type]
        answer = program.hear()
    assert isinstance(answer, UseRefused | Failure), answer
    assert (answer.reason if isinstance(answer, UseRefused) else answer.message) != ""
    assert agent.ask("leases") == {"granted": [], "held": []}


def test_who_holds_no_lease_gets_no_door_and_no_rest(agent: RunningAgent) -> None:
    with Program(agent) as program:
        program.say(OpenDoors(lease="l-of-others"))  # type: ignore[arg-type]
        doors = program.hear()
        assert isinstance(doors, Doors)
        assert doors.paths == ()
        assert "no such lease" in doors.error
        program.say(Pause(request=3, lease="l-of-others", paused=True))  # type: ignore[arg-type]
        failure = program.hear()
        assert isinstance(failure, Failure)
        assert "no such lease" in failure.message
        program.say(Release(use="never asked"))  # type: ignore[arg-type]
    assert agent.ask("status")["name"] == "desk"


def test_a_mistake_in_a_task_is_noted_and_the_node_goes_on(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async def story() -> list[str]:
        agent = Agent(open_home(new_home(folder / "desk")))
        await agent.start(Orders())

        async def mistake() -> None:
            raise RuntimeError("planted")

        await asyncio.wait([agent.spawn(mistake())])
        await asyncio.sleep(0)
        names = [line.name for line in agent.notices.last(100)]
        await agent.close()
        return names

    assert "internal error" in asyncio.run(story())
    assert "RuntimeError: planted" in capfd.readouterr().err


def test_an_embedded_node_keeps_no_notices_on_disk(folder: Path) -> None:
    async def story() -> None:
        agent = Agent(embedded(Home(folder)))
        await agent.start(Orders())
        assert agent.network is None
        assert agent.addresses() == ()
        await agent.close()

    asyncio.run(story())
    assert not list(folder.glob("notices*"))
    assert not list(folder.glob("*.sock"))
