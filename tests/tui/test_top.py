"""``wos top`` against a real agent: the picture, the keys, and an agent that ends while one looks."""

from __future__ import annotations

import asyncio
import os
import pty
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, new_home, running
from tests.cli.conftest import command, environ
from textual.pilot import Pilot
from textual.widgets import DataTable, RichLog, Static

from worldos.errors import NoAgent
from worldos.home import Home
from worldos.jobs.desk import Desk
from worldos.jobs.submit import hand_in, spec_of
from worldos.model.work import Message, Put, QueueMade, Span
from worldos.sdk import connection
from worldos.sdk.use import use
from worldos.tui.top import Top, run_top

WITHIN_S = 45.0


@pytest.fixture(scope="module")
def agent() -> Iterator[RunningAgent]:
    with tempfile.TemporaryDirectory(prefix="wos-u-") as folder, running(new_home(Path(folder) / "desk")) as agent:
        yield agent


async def until(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    """Wait until the screen shows it."""
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await pilot.pause(0.05)


def cells(top: Top, table: str) -> list[list[str]]:
    shown = top.query_one(table, DataTable)
    return [[str(cell) for cell in shown.get_row_at(row)] for row in range(shown.row_count)]


def happened(top: Top) -> str:
    return "\n".join(line.text for line in top.query_one("#log", RichLog).lines)


def test_the_picture_shows_the_node_its_leases_and_what_happens(
    agent: RunningAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLDOS_HOME", str(agent.home.path))

    async def look() -> None:
        top = Top(agent.home)
        async with top.run_test(size=(140, 40)) as pilot:
            await until(pilot, lambda: cells(top, "#nodes"))
            (row,) = cells(top, "#nodes")
            assert row[0] == "desk"
            assert row[1] == "alive"
            assert "1 of 1 nodes" in str(top.query_one("#head", Static).render())
            assert cells(top, "#leases") == []
            await until(pilot, lambda: "agent started" in happened(top))
            cpu = await asyncio.to_thread(lambda: use("CPU", 1).__enter__())
            await until(pilot, lambda: len(cells(top, "#leases")) == 2)
            granted, held = cells(top, "#leases")
            assert (granted[0], granted[1], granted[3]) == ("granted", "1 core", "desk")
            assert (held[0], held[2]) == ("held", "desk")
            await asyncio.to_thread(cpu.__exit__, None, None, None)
            await until(pilot, lambda: not cells(top, "#leases"))
            await pilot.press("c")
            assert happened(top) == ""
            await pilot.press("q")
        assert top.problem is None

    try:
        asyncio.run(look())
    finally:
        connection.close()


def test_jobs_queues_and_loans_are_there_while_there_are_any(agent: RunningAgent) -> None:
    desk = Desk(agent.ask)
    name = "[bold]x[/red]"  # no markup of anybody's

    async def look() -> None:
        top = Top(agent.home)
        async with top.run_test(size=(160, 40)) as pilot:
            await until(pilot, lambda: cells(top, "#nodes"))
            assert not top.query_one("#jobs").display
            assert not top.query_one("#lent-title").display
            spec = spec_of(argv=["sleep", "100"], name=name, spans=(Span(1, 500),))
            job = await asyncio.to_thread(hand_in, desk, spec, (), Path())
            await until(pilot, lambda: "desk" in (cells(top, "#jobs") or [[""] * 9])[0][5])
            await until(pilot, lambda: "jobs of the line" in [row[3] for row in cells(top, "#leases")])
            (row,) = cells(top, "#jobs")
            assert (row[0], row[1], row[4]) == (job, name, "0 of 500")
            desk.cancel(job)
            await until(pilot, lambda: cells(top, "#jobs")[0][2] == "dropped")
            made = QueueMade(queue="frames")
            desk.say(made, Put(queue="frames", messages=(Message(b"12345678", b"tx"),)))
            await until(pilot, lambda: [row[:2] for row in cells(top, "#queues")] == [["frames", "1"]])
            await asyncio.to_thread(agent.ask, "lend_rule", rule={"to": "anyone", "cpu_permille": 500, "when": "sat"})
            await until(pilot, lambda: "50 % of CPU to anyone" in str(top.query_one("#lent-title", Static).render()))
            await asyncio.to_thread(agent.ask, "lend_off", off=True)
            await until(pilot, lambda: "nothing" in str(top.query_one("#lent-title", Static).render()))

    asyncio.run(look())


@pytest.mark.parametrize("size", [(20, 5), (40, 10), (400, 100)])
def test_any_size_of_screen_will_do(agent: RunningAgent, size: tuple[int, int]) -> None:
    async def look() -> None:
        top = Top(agent.home)
        async with top.run_test(size=size) as pilot:
            await until(pilot, lambda: cells(top, "#nodes"))

    asyncio.run(look())


def test_an_agent_that_ends_ends_the_picture_with_a_reason() -> None:
    folder = Path(tempfile.mkdtemp(prefix="wos-u-"))

    async def look(agent: RunningAgent) -> None:
        top = Top(agent.home)
        async with top.run_test() as pilot:
            await until(pilot, lambda: cells(top, "#nodes"))
            agent.ask("down")
            await until(pilot, lambda: top.problem is not None)
        assert isinstance(top.problem, NoAgent)

    with running(new_home(folder / "desk")) as agent:
        asyncio.run(look(agent))
    shutil.rmtree(folder)


def test_without_an_agent_the_screen_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(NoAgent):
        run_top(Home(tmp_path))


@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_q_and_ctrl_c_give_the_terminal_back(agent: RunningAgent, key: bytes) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("top"), env=environ(agent.home, TERM="xterm-256color"), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    try:
        while b"desk" not in shown:
            shown += os.read(ours, 65536)
        os.write(ours, key)
        if key == b"\x03":
            process.send_signal(signal.SIGINT)
        while True:
            shown += os.read(ours, 65536)
    except OSError:  # the terminal's last program has ended
        pass
    except BaseException:
        process.kill()
        raise
    finally:
        os.close(ours)
    assert process.wait(WITHIN_S) in {0, 130}
    assert b"Traceback" not in shown
    assert b"\x1b[?1049l" in shown, "the screen is as it was"
