"""``wos realm watch``: the picture of rows, and what it says between two of them."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agent.agents import RunningAgent, new_home, running
from tests.cli.conftest import command, environ
from tests.tui.realms import EARTH, row
from textual.widgets import DataTable, RichLog, Static

from worldos.errors import NoAgent
from worldos.home import Home
from worldos.tui.realm_watch import RealmWatch, changes, run_realm_watch

WITHIN_S = 45.0
ABOUT = {"name": "desk"}


def by_realm(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["realm"]: row for row in rows}


def said(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[str]:
    return [" ".join(text.plain.split()) for text in changes(by_realm(before), by_realm(after))]


def test_each_change_is_a_sentence() -> None:
    acme = row("acme", "earth", 2)
    assert said([acme], [acme]) == []
    assert said([], [acme]) == ["earth/acme is known"]
    assert said([acme], []) == ["earth/acme is not known any more"]
    island = {**acme, "provisional": True, "epoch": 8, "primary": "x", "primary_name": "lab"}
    assert said([acme], [island]) == ["earth/acme is an island: lab stands in, epoch 8"]
    assert said([island], [{**acme, "epoch": 9}]) == ["earth/acme is whole again: acme-desk, epoch 9"]
    assert said([acme], [{**acme, "epoch": 9}]) == ["earth/acme is led: acme-desk, epoch 9"]
    assert said([acme], [{**acme, "primary": "", "primary_name": ""}]) == ["earth/acme is not seen any more"]
    assert said([acme], [{**acme, "path": "acme", "nodes": 4}]) == [
        "acme was earth/acme",
        "acme has 4 nodes, and had 3",
    ]


class Still(RealmWatch):
    """A picture that is painted by the test."""

    def on_mount(self) -> None:
        self._look = lambda: None  # type: ignore[method-assign]


def cells(watch: RealmWatch) -> list[list[str]]:
    shown = watch.query_one("#realms", DataTable)
    return [[str(cell) for cell in shown.get_row_at(row)] for row in range(shown.row_count)]


def happened(watch: RealmWatch) -> str:
    return "\n".join(line.text for line in watch.query_one("#log", RichLog).lines)


@pytest.mark.parametrize("size", [(20, 5), (150, 30), (400, 100)])
def test_the_picture_shows_the_tree_and_below_it_what_changed(size: tuple[int, int]) -> None:
    async def look() -> None:
        watch = Still(Home(Path("/nowhere")))
        async with watch.run_test(size=size) as pilot:
            watch.paint(EARTH, ABOUT)
            rows = cells(watch)
            assert [cell[0] for cell in rows][:3] == ["earth", "├── acme", "│   ├── berlin (here)"]
            assert rows[1][1:] == ["enterprise", "acme-desk", "7", "led", "120", "4.5", "8.0 GB", "1.5 s", "2.3 ms"]
            assert rows[3][4] == "island"
            head = str(watch.query_one("#head", Static).render())
            assert "in acme/berlin, led by berlin-desk" in head
            assert "1 island" in head
            assert happened(watch) == ""
            healed = [{**row, "provisional": False, "epoch": 9} if row["name"] == "oslo" else row for row in EARTH]
            watch.paint(healed, ABOUT)
            await pilot.pause()
            if size[0] > 20:
                assert "acme/oslo" in happened(watch)
                assert "is whole again: oslo-desk, epoch 9" in happened(watch)
            await pilot.press("c")
            assert happened(watch) == ""
            await pilot.press("q")

    asyncio.run(look())


def test_without_an_agent_the_screen_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(NoAgent):
        run_realm_watch(Home(tmp_path))


@pytest.fixture(scope="module")
def agent() -> Iterator[RunningAgent]:
    with tempfile.TemporaryDirectory(prefix="wos-u-") as folder, running(new_home(Path(folder) / "desk")) as agent:
        yield agent


def test_a_realm_that_is_begun_appears_and_is_told(agent: RunningAgent) -> None:
    async def look() -> None:
        watch = RealmWatch(agent.home)
        async with watch.run_test(size=(150, 30)) as pilot:
            async with asyncio.timeout(WITHIN_S):
                while not cells(watch) or cells(watch)[0][4] != "led":
                    await pilot.pause(0.05)
            assert cells(watch)[0][0] == "desk (here)"
            await asyncio.to_thread(agent.ask, "realm_create", name="acme")
            async with asyncio.timeout(WITHIN_S):
                while [row[0] for row in cells(watch)] != ["acme", "└── desk (here)"]:
                    await pilot.pause(0.05)
            assert "is known" in happened(watch)
            assert "was desk" in happened(watch)
            await pilot.press("q")
        assert watch.problem is None

    asyncio.run(look())


def test_q_gives_the_terminal_back(agent: RunningAgent) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("realm", "watch"),
        env=environ(agent.home, TERM="xterm-256color"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while b"desk" not in shown:
            shown += os.read(ours, 65536)
        os.write(ours, b"q")
        while True:
            shown += os.read(ours, 65536)
    except OSError:  # the terminal's last program has ended
        pass
    finally:
        os.close(ours)
    assert process.wait(WITHIN_S) == 0
    assert b"Traceback" not in shown
    assert b"\x1b[?1049l" in shown, "the screen is as it was"
