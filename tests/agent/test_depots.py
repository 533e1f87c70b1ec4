"""The depot of a node: its keeper comes when it is needed and goes with its agent; who comes from afar is who the agent says."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from tests.agent.agents import RunningAgent, new_home, running, until

from worldos.agent import depots
from worldos.agent.depots import Depots
from worldos.agent.start import open_home
from worldos.config import Home, Settings, read_settings
from worldos.depot.link import StoreLink
from worldos.depot.wire import Who
from worldos.drivers.machine import Machine
from worldos.drivers.store import LENT_KEY, Lent
from worldos.errors import NotAllowed, Unreachable, WorldError
from worldos.kernel.effects import Notice

WAIT_S = 60
SHARE = bytes(range(32))


def keepers(home: Home) -> list[psutil.Process]:
    """The keepers of a home that run now."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if depots.KEEPER in line and str(home.path) in line:
            found.append(process)
    return found


def store_here(agent: RunningAgent) -> dict:
    return next(row for row in agent.ask("stores") if row["here"])


def test_the_keeper_comes_when_it_is_needed_and_goes_with_its_agent(folder: Path) -> None:
    home = new_home(folder / "desk")
    with running(home) as agent:
        assert keepers(home) == []
        row = until(lambda: (row := store_here(agent))["path"] and row, "its door is open", 30)
        assert (row["path"], row["linked"]) == (str(home.depot_socket), True)
        who = Who(node=row["node"], account=row["account"], rights="own")
        with StoreLink.open(row["path"], who) as link:
            link.put_share(SHARE, b"mine", digests=bytes(32)).result(WAIT_S)
        assert len(keepers(home)) == 1
    assert keepers(home) == []
    with running(home):  # there are shares now: it comes by itself
        until(lambda: keepers(home), "the keeper is there")
        until(home.depot_socket.exists, "its door is open")


def test_a_killed_agent_leaves_no_keeper_and_a_killed_keeper_comes_again(folder: Path) -> None:
    home = new_home(folder / "desk")
    agent = RunningAgent(home)
    store_here(agent)
    (old,) = keepers(home)
    os.kill(old.pid, signal.SIGKILL)
    until(lambda: [each for each in keepers(home) if each.pid != old.pid], "another comes")
    assert store_here(agent)["path"]
    agent.end(signal.SIGKILL)
    until(lambda: not keepers(home), "it ends with its agent")
    with running(home) as again:
        assert store_here(again)["path"]


def test_what_is_lent_is_offered_remembered_and_can_be_nothing(folder: Path) -> None:
    home = new_home(folder / "desk")

    def offered(agent: RunningAgent) -> list[int]:
        rows = agent.ask("resources", kind="Store")
        return [row["capacity"] for row in rows if row["state"] != "offline"]

    with running(home) as agent:
        assert len(offered(agent)) == 1
        assert agent.ask("lend", amount_bytes=5_000_000, for_="others") == {"amount_bytes": 5_000_000, "for": "others"}
        until(lambda: offered(agent) == [5_000_000], "it is offered")
        with pytest.raises(WorldError, match="cannot be lent"):
            agent.ask("lend", amount_bytes=-2)
        with pytest.raises(WorldError):
            agent.ask("lend", amount_bytes=1, for_="anybody")
        agent.ask("lend", amount_bytes=0)
        until(lambda: offered(agent) == [], "nothing is offered")
        assert agent.ask("stores") == []
    assert (read_settings(home).store_bytes, read_settings(home).store_for) == (0, "others")


def test_the_depot_of_a_linked_node_is_reached_and_knows_whose_node_comes(
    pair: tuple[RunningAgent, RunningAgent],
) -> None:
    first, second = pair
    here = second.ask("status")["node"]
    (far,) = until(lambda: [row for row in first.ask("stores") if row["node"] == here and row["path"]], "it is linked")
    assert (far["here"], far["linked"]) == (False, True)
    assert far["capacity"] > 0
    assert os.stat(far["path"]).st_mode & 0o777 == 0o600
    data = bytes(range(256)) * 4096
    with StoreLink.open(far["path"]) as link:  # says nothing about itself: its agent's peer does
        link.put_share(SHARE, data, digests=bytes(64 * 32)).result(WAIT_S)
        assert link.get_share(SHARE).result(WAIT_S).data == data
        (owned,) = [each for each in link.usage().result(WAIT_S).owned if each.kind == "share"]
        assert (owned.owner, owned.size_bytes) == (second.ask("status")["account"], len(data))
        link.heads().result(WAIT_S)  # the right of the own account
    liar = Who(node="x", account="y", rights="own")
    with StoreLink.open(far["path"], liar) as link, pytest.raises(WorldError, match=r"first frame|hung up|broke"):
        link.have([SHARE]).result(WAIT_S)
    paths = [[row["path"] for row in first.ask("stores")] for _ in range(2)]
    assert paths[0] == paths[1]  # the same sockets again


def begun(home: Home, note: Callable[[Notice], None], settings: Settings | None = None) -> Depots:
    started = open_home(home)
    return Depots(home, settings or started.settings, started.node, Machine(), note)


def test_a_keeper_that_does_not_start_is_tried_later_and_later(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, notes = new_home(folder / "desk"), list[Notice]()
    monkeypatch.setattr(depots, "AGAIN_MIN_S", 0.01)
    home.depot_folder.write_text("no folder")

    async def story() -> None:
        twice = asyncio.Event()

        def note(notice: Notice) -> None:
            notes.append(notice)
            if len(notes) > 1:
                twice.set()

        mine = begun(home, note)
        for _ in range(2):
            with pytest.raises(Unreachable, match="exists"):
                await mine.stands()
            await twice.wait()
        await mine.close()

    asyncio.run(story())
    ended = [notice.fields for notice in notes if notice.name == "keeper ended"]
    assert "File exists" in str(ended[0]["why"])
    assert [fields["again_in_ms"] for fields in ended] == sorted(fields["again_in_ms"] for fields in ended)


def test_a_node_that_lends_nothing_and_keeps_nothing_has_no_door(folder: Path) -> None:
    home = new_home(folder / "desk")

    async def story() -> None:
        mine = begun(home, lambda _: None, Settings(store_bytes=0))
        assert not mine.is_there
        mine.begin()
        with pytest.raises(NotAllowed, match="keeps no files"):
            await mine.stands()
        await mine.stands("/the/door/of/another/kind")
        await mine.close()

    asyncio.run(story())


def test_a_stranger_has_no_greeting_and_a_member_has_its_own(folder: Path) -> None:
    home, machine = new_home(folder / "desk"), Machine()
    started = open_home(home)
    mine = Depots(home, started.settings, started.node, machine, lambda _: None)
    assert mine.greeting(started.node.node, "") is not None
    assert mine.greeting("a" * 52, "") is None
    lent = machine.remembered[LENT_KEY]
    assert isinstance(lent, Lent)
    assert (lent.door, lent.size_bytes, lent.whom) == (str(home.depot_socket), -1, "me")


def test_the_door_is_no_place_for_others(folder: Path) -> None:
    home = new_home(folder / "desk")
    with running(home) as agent:
        store_here(agent)
        assert home.depot_socket.stat().st_mode & 0o777 == 0o600
        assert home.depot_socket.parent.stat().st_mode & 0o777 == 0o700
        with socket.socket(socket.AF_UNIX) as sock:  # and one that says nothing harms nobody
            sock.connect(str(home.depot_socket))
            assert store_here(agent)["path"]
