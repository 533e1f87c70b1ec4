"""``wos jobs``, ``logs``, ``cancel``, ``retry``, ``result``: a job from the shell, from line to result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, until
from tests.cli.conftest import fails
from tests.cli.inside import inside
from tests.kernel.line import works

from worldos.cli.jobs import _checked, _task_cells
from worldos.model.work import Made


def ended(agent: RunningAgent, job: str) -> dict[str, object]:
    def state() -> dict[str, object] | None:
        found: dict[str, object] = json.loads(inside(agent.home, "jobs", job, "--json").stdout)
        return found if found["state"] in {"done", "failed", "dropped"} else None

    found: dict[str, object] = until(state, f"{job} ends", 40)
    return found


def submit(agent: RunningAgent, *words: str) -> str:
    run = inside(agent.home, "submit", *words)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_a_job_from_line_to_result(agent: RunningAgent, folder: Path) -> None:
    job = submit(
        agent, "--array", "1-3", "--name", "three", "--", "sh", "-c", "echo say $WOS_TASK; echo $WOS_TASK > made"
    )
    assert ended(agent, job)["state"] == "done"
    listed = inside(agent.home, "jobs")
    assert job in listed.stdout
    assert "three" in listed.stdout
    shown = inside(agent.home, "jobs", job[:7]).stdout
    assert f"{job}.3" in shown
    assert "3 done" in shown
    assert "say 3" in shown
    assert inside(agent.home, "logs", job).stdout == "1| say 1\n2| say 2\n3| say 3\n"
    assert inside(agent.home, "logs", f"{job}.2").stdout == "say 2\n"
    assert inside(agent.home, "logs", "-f", f"{job}.2").stdout == "say 2\n"
    out = folder / "out"
    assert inside(agent.home, "result", job, str(out)).returncode == 0
    assert {path.parent.name: path.read_text() for path in out.glob("*/made")} == {"1": "1\n", "2": "2\n", "3": "3\n"}
    fails(inside(agent.home, "result", job, str(out)), 2, "is there already", "--force")
    assert inside(agent.home, "result", "--force", job, str(out)).returncode == 0
    assert inside(agent.home, "jobs", "forget", job).returncode == 0
    fails(inside(agent.home, "jobs", job), 2, "there is no job", "wos jobs")


def test_what_failed_is_shown_and_run_again(agent: RunningAgent, folder: Path) -> None:
    job = submit(agent, "--", "sh", "-c", "echo gone wrong; exit 9")
    assert ended(agent, job)["state"] == "failed"
    shown = inside(agent.home, "jobs", job).stdout
    assert "9" in shown
    assert "gone wrong" in shown
    fails(inside(agent.home, "result", job, str(folder / "none")), 2, "nothing", "left no files")
    assert inside(agent.home, "retry", job).returncode == 0
    assert ended(agent, job)["counts"] == {"waiting": 0, "running": 0, "done": 0, "failed": 1, "dropped": 0}


def test_what_waits_is_cancelled(agent: RunningAgent) -> None:
    first = submit(agent, "--", "sleep", "100")
    second = submit(agent, "--after", first, "--", "true")
    held = json.loads(inside(agent.home, "jobs", second, "--json").stdout)
    assert (held["state"], held["waits_for"]) == ("held", [first])
    fails(inside(agent.home, "jobs", "forget", second), 2, "has not ended", "wos cancel")
    (cancelled,) = json.loads(inside(agent.home, "cancel", "--json", first).stdout)
    assert (cancelled["job"], cancelled["state"]) == (first, "dropped")
    assert ended(agent, second)["state"] == "dropped"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("jobs", "nosuchjob"), "there is no job"),
        (("jobs", "one", "two"), "one job"),
        (("jobs", "forget"), "which job"),
        (("logs", "nosuchjob"), "there is no job"),
        (("logs", "a.b"), "names no task"),
        (("cancel", "nosuchjob"), "there is no job"),
        (("retry", "nosuchjob"), "there is no job"),
        (("result", "nosuchjob", "/tmp/x"), "there is no job"),
    ],
)
def test_what_is_not_there_is_said(agent: RunningAgent, words: tuple[str, ...], said: str) -> None:
    fails(inside(agent.home, *words), 2, said, "try:")


def test_how_many_copies_of_a_task_agree_is_told() -> None:
    site = works.Site()
    site.do(works.submit("job-1"))
    told = []
    for owner in ("ann", "bob"):
        (attempt,) = site.run("job-1", 0)
        site.end(attempt, made=Made(owner, b"d" * 32, 0, owner), tail=b"made it\n")
        job, (task,) = site.work.line.view("job-1"), site.work.line.tasks("job-1")
        assert job is not None
        told.append((_checked(job), _task_cells(job, task, {})[-1]))
    assert told == [
        ("1 to be done by another owner's, too", "done 1 x by others, unsure yet"),
        ("1 by machines of several owners", "2 of 2 agree; made it"),
    ]
