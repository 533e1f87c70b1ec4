"""The runner's host: what is given waits for a runner, and who leads hears what is there, runner or not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.agent.solo import Solo

from worldos.agent import runner_host
from worldos.agent.runner_host import RunnerHost
from worldos.home import Home
from worldos.kernel.effects import Notice
from worldos.model.need import Need
from worldos.model.runner import LogAsk, LogPiece
from worldos.model.work import Attempt, JobId, JobSpec
from worldos.model.work_wire import Task, TasksGiven, TasksHeld, TasksStop

JOB = JobId("job-1")
SPEC = JobSpec(argv=("true",), need=Need(kind="CPU", amount=1000))
GIVEN = TasksGiven(job=JOB, spec=SPEC, tasks=(Task(1, 1), Task(2, 1)))
ONE, TWO = Attempt(JOB, 1, 1), Attempt(JOB, 2, 1)


class Call:
    """A program that listens."""

    def __init__(self) -> None:
        self.heard: list[dict[str, bytes]] = []

    def progress(self, value: dict[str, bytes]) -> None:
        self.heard.append(value)


class Host:
    """A host with a runner program of our own, and what it told."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, program: str = "import sys; sys.stdin.read()"
    ) -> None:
        (folder / "a_runner.py").write_text(program)
        monkeypatch.setenv("PYTHONPATH", str(folder))
        monkeypatch.setattr(runner_host, "RUNNER", "a_runner")
        self.held: list[TasksHeld] = []
        self.notes: list[Notice] = []
        self.host = RunnerHost(Home(folder), Solo().node, self.held.append, self.notes.append)

    def run(self, story: Coroutine[Any, Any, None]) -> None:
        async def told() -> None:
            try:
                async with asyncio.timeout(60):
                    await story
            finally:
                await self.host.close()

        asyncio.run(told())

    def count(self, name: str) -> int:
        return sum(note.name == name for note in self.notes)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what it waits for is another process
        await asyncio.sleep(0.01)


async def listening(host: Host) -> tuple[Call, asyncio.Task[None]]:
    call = Call()
    task = asyncio.create_task(host.host.hear(call))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    return call, task


def words(call: Call, name: str) -> list[bytes]:
    return [word[name] for word in call.heard if name in word]


def test_what_is_given_waits_for_a_runner_and_counts_as_held(host: Host) -> None:
    async def story() -> None:
        host.host.give(GIVEN)
        host.host.give(GIVEN)
        host.host.asked()
        assert host.held == [TasksHeld(attempts=(ONE, TWO))]
        call, task = await listening(host)
        assert [msgspec.msgpack.decode(data, type=TasksGiven) for data in words(call, "given")] == [GIVEN]
        host.host.asked()
        assert len(host.held) == 1, "a runner that listens says it by itself"
        task.cancel()
        await until(lambda: host.count("runner started") >= 1)

    host.run(story())


def test_without_a_runner_nothing_is_held(host: Host) -> None:
    host.host.asked()
    assert host.held == [TasksHeld(attempts=())]


def test_what_is_stopped_before_a_runner_came_is_held_no_more(host: Host) -> None:
    async def story() -> None:
        host.host.give(GIVEN)
        host.host.stop(TasksStop(attempts=(ONE,)))
        host.host.asked()
        assert host.held == [TasksHeld(attempts=(TWO,))]
        call, task = await listening(host)
        assert len(words(call, "stop")) == 1, "the runner is told, too: it has heard of both"
        task.cancel()

    host.run(story())


def test_a_log_is_asked_of_the_runner_and_of_nobody_else(host: Host) -> None:
    ask = LogAsk(request=0, attempt=ONE, offset=0)

    async def story() -> None:
        assert await host.host.log(ask) is None
        call, task = await listening(host)
        answer = asyncio.create_task(host.host.log(ask))
        await asyncio.sleep(0)
        (said,) = words(call, "log")
        number = msgspec.msgpack.decode(said, type=LogAsk).request
        host.host.told(number + 1, LogPiece(offset=0, data=b"other"))
        host.host.told(number, LogPiece(offset=0, data=b"line"))
        piece = await answer
        assert piece is not None
        assert piece.data == b"line"
        task.cancel()

    host.run(story())


def test_a_runner_that_ends_by_itself_is_started_again_while_something_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(tmp_path, monkeypatch, "raise SystemExit(3)")

    async def story() -> None:
        host.host.give(GIVEN)
        await until(lambda: host.count("runner started") >= 2)
        assert host.count("runner ended") >= 1

    host.run(story())


def test_a_runner_with_nothing_more_to_do_may_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, monkeypatch, "pass")

    async def story() -> None:
        host.host.give(GIVEN)
        _, task = await listening(host)
        await until(lambda: host.host._task is None)
        task.cancel()

    host.run(story())
    assert host.count("runner ended") == 0


def test_a_runner_that_has_had_nothing_for_a_while_is_ended_and_the_next_task_starts_one(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_host, "IDLE_S", 0.05)

    async def idle() -> None:
        while host.host._task is not None:
            host.host.held((), {})
            await asyncio.sleep(0.01)

    async def story() -> None:
        host.host.give(GIVEN)
        call, task = await listening(host)
        host.host.held((ONE,), {})
        await asyncio.sleep(0.06)
        host.host.held((), {})
        assert host.host._hearing is not None, "it has had nothing since this moment only"
        await idle()
        task.cancel()
        told = len(call.heard)
        host.host.give(GIVEN)
        assert len(call.heard) == told, "it waits for the next"
        await until(lambda: host.count("runner started") == 2)

    host.run(story())
    assert host.count("runner ended") == 0


def test_what_comes_in_the_moment_in_which_a_runner_ended_starts_the_next(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives: list[str] = []

    async def lives_once() -> str:
        lives.append("a life")
        if len(lives) == 1:
            asyncio.get_running_loop().call_soon(host.host.give, GIVEN)  # before anybody is told that it ended
        else:
            await asyncio.Event().wait()
        return ""

    async def story() -> None:
        monkeypatch.setattr(host.host, "_live", lives_once)
        host.host._wake()
        await until(lambda: len(lives) == 2)

    host.run(story())
