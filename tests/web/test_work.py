"""Jobs and queues through the page's and the tools' acts, against a real agent."""

from __future__ import annotations

from typing import Any

import pytest
from tests.agent.agents import RunningAgent, until
from tests.web.pages import Client

from worldos.errors import BadRequest, NoCapacity, NotThere
from worldos.jobs.rows import JobRow
from worldos.web.limits import LOG_SHOWN_BYTES
from worldos.web.talk import to_json
from worldos.web.work import ACTS, Told, carry_out

ENDED = {"done", "failed", "dropped"}


def act(agent: RunningAgent, name: str, /, **arguments: Any) -> Any:
    return carry_out(agent.home, name, arguments, "a test")


def ended(agent: RunningAgent, job: str) -> JobRow:
    def row() -> JobRow | None:
        found: JobRow = act(agent, "job", job=job)["job"]
        return found if found.state in ENDED else None

    found: JobRow = until(row, f"{job} ends", 40)
    return found


def test_a_job_is_submitted_followed_and_seen(agent: RunningAgent) -> None:
    say = "echo one $WOS_TASK; until [ -e go ]; do sleep 0.02; echo > go; done; echo two"
    job = act(agent, "submit", command=["sh", "-c", say], array="1-2", name="pair").job
    assert ended(agent, job).done == 2
    (row,) = [row for row in act(agent, "jobs") if row.job == job]
    assert (row.name, row.by, row.tasks) == ("pair", "desk", 2)
    seen = act(agent, "job", job=job)
    assert [(task.index, task.code, task.node, task.told) for task in seen["tasks"]] == [
        (1, 0, "", "two"),
        (2, 0, "", "two"),
    ]
    assert act(agent, "job", job=f"{job}.2")["tasks"][0].index == 2
    told: Told = act(agent, "job_log", job=job, index=2)
    assert (told.text, told.ended, told.code) == ("one 2\ntwo\n", True, 0)
    rest: Told = act(agent, "job_log", job=job, index=2, attempt=told.attempt, since=6)
    assert (rest.offset, rest.text) == (6, "two\n")
    assert act(agent, "job_log", job=job, index=2, attempt=9, since=6).text == told.text, (
        "another attempt: from the beginning"
    )


def test_what_a_running_task_says_is_read_piece_by_piece_and_its_cancelling_is_seen(agent: RunningAgent) -> None:
    job = act(agent, "submit", command=["sh", "-c", "printf 'gr\\303'; sleep 0.2; printf '\\274n\\n'; sleep 100"]).job
    told: Told = until(lambda: (said := act(agent, "job_log", job=job)).text and said, "it says something", 20)
    assert not told.ended
    text = told.text
    while not text.endswith("\n"):
        told = act(agent, "job_log", job=job, attempt=told.attempt, since=told.next)
        text += told.text
    assert text == "grün\n", "a letter that came in two pieces is one"
    assert act(agent, "job", job=job)["tasks"][0].node == "desk"
    assert act(agent, "cancel", job=job).state == "dropped"
    assert act(agent, "retry", job=job).state in {"waiting", "running"}
    act(agent, "cancel", job=job)


def test_of_a_long_log_the_end_is_shown(agent: RunningAgent) -> None:
    job = act(agent, "submit", command=["sh", "-c", "yes | head -c 100000; echo end"]).job
    ended(agent, job)
    told: Told = act(agent, "job_log", job=job)
    assert told.text.endswith("y\nend\n")
    assert len(told.text) == LOG_SHOWN_BYTES
    assert (told.offset, told.next) == (100_004 - LOG_SHOWN_BYTES, 100_004)


def test_a_job_that_failed_says_why(agent: RunningAgent) -> None:
    job = act(agent, "submit", command=["sh", "-c", "echo went wrong >&2; exit 7"]).job
    assert ended(agent, job).failed == 1
    told: Told = act(agent, "job_log", job=job)
    assert (told.code, told.why) == (7, "went wrong")


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("submit", {"command": []}, BadRequest),
        ("submit", {"command": ["true"], "array": "9-1"}, BadRequest),
        ("submit", {"command": ["true"], "after": ["nosuchjob"]}, NotThere),
        ("submit", {"command": ["true"], "cpu": "900"}, NoCapacity),
        ("submit", {"command": ["true"], "surprise": 1}, BadRequest),
        ("cancel", {"job": "nosuchjob"}, NotThere),
        ("cancel", {}, BadRequest),
        ("jobs", {"count": 10**9}, BadRequest),
        ("job_log", {"job": "", "since": -1}, BadRequest),
        ("queue_take", {"queue": "no-such"}, NotThere),
        ("queue_put", {"queue": "", "texts": ["x"]}, BadRequest),
        ("queue_put", {"queue": "q", "texts": []}, BadRequest),
    ],
    ids=range(12),
)
def test_what_makes_no_sense_is_refused_in_words(
    agent: RunningAgent, name: str, arguments: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        act(agent, name, **arguments)


def test_messages_are_put_looked_at_and_taken(agent: RunningAgent) -> None:
    assert act(agent, "queue_put", queue="frames", texts=["one", "two"]) == {"put": 2, "waiting": 2}
    (row,) = [row for row in act(agent, "queues") if row.queue == "frames"]
    assert (row.waiting, row.held) == (2, 0)
    (kept,) = act(agent, "queue_take", queue="frames", keep=True)
    assert kept["text"] == "one"
    assert [each["text"] for each in act(agent, "queue_take", queue="frames", count=5)] == ["one", "two"]
    assert act(agent, "queue_take", queue="frames") == []


def test_every_act_says_what_it_takes() -> None:
    for name, each in ACTS.items():
        assert each.asked.__doc__, name
        assert to_json({name: each.impact})


def test_the_page_acts_on_jobs_and_on_nothing_that_it_does_not_name(visitor: Client, agent: RunningAgent) -> None:
    job = act(agent, "submit", command=["sleep", "100"], name="long").job
    status, rows = visitor.post("/ask/jobs")
    assert status == 200
    assert job in [row["job"] for row in rows]
    assert visitor.post("/ask/cancel", {"job": job})[1]["state"] == "dropped"
    status, said = visitor.post("/ask/cancel", {"job": "nosuchjob"})
    assert (status, said["error"], said["hint"]) == (400, "NotThere", "see which there are with: wos jobs")
    assert visitor.post("/ask/submit", {"command": ["true"]})[0] == 400, "no page puts commands into the line"
    assert visitor.post("/ask/queues")[0] == 200


def test_lending_is_stopped_by_anyone_who_is_in_and_begun_again_by_who_is_sure(
    visitor: Client, agent: RunningAgent
) -> None:
    assert visitor.post("/ask/lend")[1]["off"] is False
    assert visitor.post("/ask/lend_stop", {"off": False})[1]["off"] is True, "what the page says does not widen it"
    assert visitor.post("/ask/lend_again")[1]["off"] is False
