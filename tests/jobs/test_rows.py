"""Rows of jobs, tasks and messages, from a line without any agent."""

from __future__ import annotations

import json

import msgspec
import pytest
from tests.kernel.line.works import NODE, Site, submit

from worldos.jobs.rows import LINE_CHARS, PLACES_MAX, job_row, message_row, one_line, task_row
from worldos.kernel.line.view import JobView, State
from worldos.model.ids import NodeId

NAMES = {NODE: "desk", "node-2": "attic"}


def job_of(site: Site, job: str) -> JobView:
    view = site.work.line.view(job)
    assert view is not None
    return view


def test_a_job_says_how_its_tasks_stand_and_on_which_machines() -> None:
    site = Site()
    site.do(submit("job-1", 6, name="frames", budget_uwos=9))
    done, _ = site.run("job-1", 0, 1)
    site.run("job-1", 2, 3, node=NodeId("node-2"))
    site.run("job-1", 4, node=NodeId("node-3-of-nobody"))
    site.end(done, cpu_us=7, paid_uwos=2)
    row = job_row(job_of(site, "job-1"), NAMES)
    assert (row.tasks, row.waiting, row.running, row.done) == (6, 1, 4, 1)
    assert row.where == (("attic", 2), ("desk", 1), ("node-3-o", 1))
    assert (row.name, row.by, row.spent_uwos, row.budget_uwos, row.cpu_us) == ("frames", "desk", 2, 9, 7)
    assert json.loads(msgspec.json.encode(row))["state"] == "running"


def test_of_many_machines_those_with_most_tasks_are_named() -> None:
    site = Site()
    site.do(submit("job-1", 30))
    for place in range(PLACES_MAX + 4):
        site.run("job-1", *range(2 * place, 2 * place + 1 + (place == 3)), node=NodeId(f"node-{place:02}-x"))
    row = job_row(job_of(site, "job-1"), {})
    assert len(row.where) == PLACES_MAX
    assert row.where[0] == ("node-03-", 2)


def test_a_task_says_how_it_ended_in_one_line_that_is_harmless() -> None:
    site = Site()
    site.do(submit("job-1", 3))
    bad, worse = site.run("job-1", 0, 1)
    site.end(bad, code=3, tail=b"first\n\x1b[2Jlast\xff \x07words\n\n")
    site.end(worse, code=137, why="ran longer than 2 h")
    first, second, third = (task_row(task, NAMES) for task in site.work.line.tasks("job-1"))
    assert (first.state, first.code, first.told) == (State.FAILED, 3, "[2Jlast\ufffd words")
    assert (second.code, second.told) == (137, "ran longer than 2 h")
    assert (third.state, third.code, third.attempt, third.told) == (State.WAITING, -1, 0, "")


def test_what_is_too_long_is_cut() -> None:
    assert len(one_line("word " * 10_000)) <= LINE_CHARS
    assert one_line("") == ""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"tgr\xc3\xbc\xc3\x9fe", {"text": "grüße"}),
        (b"j[1]", {"text": "[1]"}),
        (b"b\x00\xff", {"form": "bytes", "base64": "AP8="}),
        (b"p\x80\x04", {"form": "python", "base64": "gAQ="}),
        (b"", {"form": "python", "base64": ""}),
    ],
)
def test_a_message_says_what_it_is_and_nothing_of_it_is_run(body: bytes, said: dict[str, str]) -> None:
    assert message_row(b"\x01\x02", body, 3) == {"id": "0102", "taken": 3, **said}
