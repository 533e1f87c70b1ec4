"""A crew leases for tasks of one need: as many berths as are wanted and granted, kept for the next, given back after."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agent.agents import RunningAgent, until

from worldos.home import Home
from worldos.jobs import crew as crews
from worldos.jobs.attempt import Run
from worldos.jobs.berth import Berth
from worldos.jobs.crew import Crew
from worldos.jobs.limits import BARRED_MAX, BREAKS_MAX
from worldos.jobs.shelf import Shelf
from worldos.jobs.stay import More
from worldos.kernel.question import check_need
from worldos.model.ids import NodeId
from worldos.model.need import LeaseTerms, Need
from worldos.model.where import parse_where, show_where
from worldos.model.work import Attempt, JobSpec
from worldos.sdk.connection import Connection


class Works:
    """Carries attempts out, and notes at which lease."""

    def __init__(self, folder: Path) -> None:
        self.shelf = Shelf(Home(folder), folder)
        self.done: list[tuple[int, str]] = []
        self.hopeless: list[str] = []
        self._lock = threading.Lock()

    def at_berth(self, run: Run, berth: Berth, terms: LeaseTerms, more: More) -> bool:
        run.carry_out(berth, self.shelf)
        with self._lock:
            self.done.append((run.attempt.index, terms.lease))
        return True

    def admits(self, node: NodeId, apart: tuple[str, ...]) -> bool:
        raise AssertionError("all machines here are ours")

    def nowhere(self, run: Run, why: str) -> None:
        self.hopeless.append(why)


@pytest.fixture
def connection(agent: RunningAgent) -> Iterator[Connection]:
    made = Connection(agent.home.socket_file)
    yield made
    made.close()


def runs(folder: Path, need: Need, script: str, count: int) -> list[Run]:
    spec = JobSpec(argv=("sh", "-c", script), need=need)
    return [Run(Attempt("job1", index, 1), spec, "", folder) for index in range(count)]


def granted(agent: RunningAgent) -> set[str]:
    return {row["lease"] for row in agent.ask("leases")["granted"]}


def crew_of(connection: Connection, works: Works, need: Need, ended: Any = lambda: None) -> Crew:
    return Crew(connection, works, need, connection.node(), ended)


def test_many_tasks_share_few_leases(agent: RunningAgent, connection: Connection, tmp_path: Path) -> None:
    need, works, ended = Need(kind="CPU", amount=500), Works(tmp_path), threading.Event()
    crew = crew_of(connection, works, need, ended.set)
    crew.add(runs(tmp_path, need, "true", 40))
    until(lambda: len(works.done) == 40, "all ran", 30)
    leases = {lease for _, lease in works.done}
    assert 1 <= len(leases) <= 2 * (len(list(Path("/sys/devices/system/cpu").glob("cpu[0-9]*"))))
    assert crew.leased["CPU"] % 500 == 0
    until(lambda: crew.empty, "nobody wants a lease any more", 10)
    until(lambda: not leases & granted(agent), "they are given back")
    assert ended.is_set()
    assert crew.leased == {}


def test_one_task_takes_one_lease(connection: Connection, tmp_path: Path) -> None:
    need, works = Need(kind="CPU", amount=100), Works(tmp_path)
    crew = crew_of(connection, works, need)
    crew.add(runs(tmp_path, need, "sleep 0.2", 1))
    until(lambda: crew.leased, "it is leased")
    until(lambda: works.done, "it ran")
    assert crew.leased == {"CPU": 100}
    crew.close()
    until(lambda: crew.empty, "it is given back")


def test_what_fits_nowhere_is_handed_back_with_the_reason(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crews, "REFUSED_WAIT_S", 0.3)
    need, works = Need(kind="CPU", amount=10_000_000), Works(tmp_path)
    crew = crew_of(connection, works, need)
    crew.add(runs(tmp_path, need, "true", 2))
    until(lambda: len(works.hopeless) == 2, "both are handed back", 20)
    assert "cores" in works.hopeless[0]
    until(lambda: crew.empty, "nothing is asked any more")


def test_what_still_waits_can_be_taken_out(connection: Connection, tmp_path: Path) -> None:
    need, works = Need(kind="CPU", amount=10_000_000), Works(tmp_path)
    crew = crew_of(connection, works, need)
    (run,) = runs(tmp_path, need, "true", 1)
    crew.add([run])
    assert crew.withdraw(run)
    assert not crew.withdraw(run)
    until(lambda: crew.empty, "nothing is asked any more")


def test_a_worker_that_ends_takes_its_lease_along_and_no_other_task(connection: Connection, tmp_path: Path) -> None:
    need, works = Need(kind="CPU", amount=100), Works(tmp_path)
    lost: list[int] = []

    def at_berth(run: Run, berth: Berth, terms: LeaseTerms, more: More) -> bool:
        try:
            return Works.at_berth(works, run, berth, terms, more)
        except Exception:  # noqa: BLE001 - whatever it is, the berth is lost
            lost.append(run.attempt.index)
            return False

    works.at_berth = at_berth  # type: ignore[method-assign]
    crew = crew_of(connection, works, need)
    crew.add(runs(tmp_path, need, "kill -9 $PPID; sleep 5", 1) + runs(tmp_path, need, "true", 3)[1:])
    deadline_s = time.monotonic() + 60
    while len(works.done) < 2 or not lost:
        assert time.monotonic() < deadline_s, (works.done, lost)
        time.sleep(0.01)
    assert lost == [0]
    crew.close()
    until(lambda: crew.empty, "all is given back")


def test_a_machine_of_others_is_asked_no_more_once_its_word_is_not_enough_or_it_broke_too_often(
    connection: Connection, tmp_path: Path
) -> None:
    need = Need(kind="CPU", amount=100, where=parse_where("arch == arm64"), realm="acme")
    crew = Crew(connection, Works(tmp_path), need, connection.node(), lambda: None, apart=("ann",))
    assert crew._wanted().where == need.where
    for _ in range(BREAKS_MAX):
        assert "bob" not in show_where(crew._wanted().where)
        crew._broke(NodeId("bob"))
    crew._bar(NodeId("eve"))
    assert show_where(crew._wanted().where) == "arch == 'arm64' and node != 'bob' and node != 'eve'"
    assert crew._wanted().realm == "acme"
    crew._refusals += 1
    assert (crew._wanted().realm, crew._wanted().near) == ("", connection.node()), "and where there is none, ours"
    assert Crew(connection, Works(tmp_path), need, connection.node(), lambda: None, ("", "ann"))._wanted().realm == ""
    for number in range(2 * BARRED_MAX):
        crew._bar(NodeId(f"n{number}"))
    check_need(crew._wanted())
