"""Cells of jobs, queues and loans, without a screen."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from worldos.errors import NoAgent, Unreachable
from worldos.jobs.rows import JobRow
from worldos.kernel.line.view import State
from worldos.kernel.queues.queues import QueueView
from worldos.tui.work import BAR_CELLS, JOBS, JUST_ENDED_MS, QUEUES, bar, job_cells, lent_title, queue_cells, see, shown

JOB = JobRow(
    job="k3f9", name="frames", command="render", by="desk", state=State.RUNNING, waiting=0, running=0, done=0, failed=0,
    dropped=0, where=(), why="", waits_for=(), priority=0, since_ms=1000, ended_ms=0, deadline_ms=0, late=False,
    spent_uwos=0, budget_uwos=0, cpu_us=0, checked=0, unsure=0,
)  # fmt: skip


def job(**changed: Any) -> JobRow:
    return msgspec.structs.replace(JOB, **changed)


@pytest.mark.parametrize(
    ("counts", "drawn"),
    [
        ({"waiting": 100}, "░" * 12),
        ({"done": 100}, "█" * 12),
        ({"done": 50, "running": 2, "waiting": 48}, "█" * 6 + "▓" + "░" * 5),
        ({"done": 1, "failed": 1, "dropped": 1, "running": 1, "waiting": 10**6}, "███▓" + "░" * 8),
        ({"done": 10**6, "running": 1}, "█" * 11 + "▓"),
        ({}, "░" * 12),
    ],
)
def test_a_bar_has_a_cell_for_each_state_that_is_there(counts: dict[str, int], drawn: str) -> None:
    assert bar(job(**counts)).plain == drawn
    assert len(drawn) == BAR_CELLS


def test_a_job_says_what_where_how_long_and_why_it_waits() -> None:
    row = job(done=2, running=3, waiting=5, where=(("desk", 2), ("attic", 1)), why="no room", spent_uwos=1_500_000)
    cells = [str(cell) for cell in job_cells(row, 61_000)]
    assert dict(zip(JOBS, cells, strict=True)) == {
        "job": "k3f9", "what": "frames", "state": "running", "tasks": bar(row).plain, "": "2 of 10",
        "where": "desk 2, attic 1", "spent": "1.5 WOS", "since": "1 min", "why it waits": "no room",
    }  # fmt: skip
    assert [str(cell) for cell in job_cells(job(name="", done=1, cpu_us=2_000_000), 1000)][1:7] == [
        "render", "running", "█" * 12, "", "", "2 s",
    ]  # fmt: skip


def test_jobs_that_ended_long_ago_are_not_drawn() -> None:
    jobs = [job(), job(ended_ms=5), job(ended_ms=JUST_ENDED_MS)]
    assert shown(jobs, JUST_ENDED_MS + 10) == [jobs[0], jobs[2]]


def test_a_queue_says_how_long_it_is() -> None:
    row = QueueView(
        queue="frames", waiting=7, held=2, size_bytes=990, bytes_max=1000, deliveries_max=16, dead="frames.dead",
        dead_waiting=1, put=10, oldest_ms=1000, consumers=1,
    )  # fmt: skip
    cells = [str(cell) for cell in queue_cells(row, 4000)]
    assert dict(zip(QUEUES, cells, strict=True)) == {
        "queue": "frames", "waiting": "7", "taken": "2", "dead": "1", "size": "990 bytes", "oldest": "3 s",
    }  # fmt: skip


def test_what_is_lent_is_said_in_a_line_and_only_where_there_is_something_to_say() -> None:
    rule = {"says": "50 % of CPU", "holds": False, "why": "only at night"}
    lend = {"off": False, "rules": [], "guests": [], "rests": ""}
    assert lent_title({}) == lent_title(lend) == ""
    assert lent_title({**lend, "rules": [rule]}) == "LENT TO OTHERS: 50 % of CPU (not now: only at night)"
    assert "wos lend on" in lent_title({**lend, "off": True})
    assert lent_title({**lend, "guests": [{}], "rests": "you are back"}).endswith("guests rest, you are back")


def test_what_cannot_be_seen_now_is_said_and_an_agent_that_ended_is_an_end() -> None:
    class Agent:
        def __init__(self, error: Exception) -> None:
            self.error = error

        def ask(self, name: str, **_: Any) -> Any:
            if name == "lend_show":
                return {"off": True}
            raise self.error

    seen = see(Agent(Unreachable("no majority can be reached")))  # type: ignore[arg-type]
    assert (seen.lend, seen.jobs, seen.problem) == ({"off": True}, [], "no majority can be reached")
    with pytest.raises(NoAgent):
        see(Agent(NoAgent("it has ended")))  # type: ignore[arg-type]
