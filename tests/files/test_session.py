"""Files through real agents: three machines of one account on the loopback."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, running, same_account, until

from worldos.agent import home as homes
from worldos.agent.start import make_account
from worldos.errors import NoAgent
from worldos.files.files import Files
from worldos.home import Home

MIB = 1 << 20
LINK_S = 20.0


@contextlib.contextmanager
def three_machines(folder: Path) -> Iterator[list[RunningAgent]]:
    desk = Home(folder / "desk")
    desk.path.mkdir(mode=0o700)
    words = make_account(desk, "desk")
    others = [Home(folder / name) for name in ("attic", "shed")]
    for home in others:
        home.path.mkdir(mode=0o700)
        same_account(desk, home, words)
    for home in others:
        homes.write_keylog(home, homes.read_keylog(desk))
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(running(desk))
        status = first.ask("status")
        agents = [first]
        for home in others:
            homes.write_remembered(home, homes.Remembered(peers={status["node"]: tuple(status["listens"])}))
            agents.append(stack.enter_context(running(home)))
        for agent in agents:
            until(lambda agent=agent: agent.ask("status")["nodes_linked"] == 2, "all are linked", LINK_S)
        yield agents


def test_without_an_agent_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoAgent):
        Files.open(Home(tmp_path))


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_three_machines_keep_a_file_and_any_of_them_reads_it() -> None:
    data = os.urandom(3 * MIB)
    with tempfile.TemporaryDirectory(prefix="wos-f-") as folder, three_machines(Path(folder)) as agents:
        desk, attic, shed = agents
        with Files.open(desk.home) as files:
            files.put(data, "holiday/film")
            files.put(b"a note", "note")
            assert files.read("holiday/film") == data
            until(lambda: safety(files) == (3, 2), "three devices have it")  # two are enough to acknowledge it
        for agent in (attic, shed):
            with Files.open(agent.home) as files:
                until(lambda files=files: seen(files, "note"), "it knows what was put")
                assert files.read("note") == b"a note"
                assert files.read("holiday/film") == data
        with Files.open(shed.home) as files:
            files.put(b"from the shed", "note")
        with Files.open(desk.home) as files:
            until(lambda: seen(files, "note") and files.read("note") == b"from the shed", "it knows the newer one")
            assert len(files.history("note")) == 2
        until(lambda: not held(agents), "what was leased is given back")


def safety(files: Files) -> tuple[int, int]:
    """On how many devices the film is, and how many of them may be lost."""
    (film,) = [each for each in files.status() if each.name == "holiday/film"]
    return film.devices, film.survives


def seen(files: Files, name: str) -> bool:
    """Ask all machines what is new: one that has much to do may have answered too late when the session began."""
    files.refresh()
    return files.exists(name)


def held(agents: list[RunningAgent]) -> list[str]:
    rows = [lease for agent in agents for lease in agent.ask("leases")["held"]]
    return [lease["program"] for lease in rows if "keeper" not in lease["program"]]
