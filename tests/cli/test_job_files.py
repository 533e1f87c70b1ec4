"""What tasks made comes here whole, and nothing is overwritten unless that was said."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent

from worldos.cli.job_files import Count, bring, clear
from worldos.errors import BadRequest
from worldos.jobs.desk import Desk
from worldos.jobs.job import Job
from worldos.jobs.shelf import FOLDER, Shelf
from worldos.jobs.words import new_job_id
from worldos.model.need import Need
from worldos.model.work import JobSpec


def test_large_results_come_from_the_realms_files(
    agent: RunningAgent, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLDOS_HOME", str(agent.home.path))
    desk, job = Desk(agent.ask), new_job_id()
    argv = ("sh", "-c", "head -c 200000 /dev/urandom > made")
    desk.submit(job, JobSpec(argv=argv, need=Need(kind="CPU", amount=500)))
    assert Job(job, desk).wait(40) == "done"
    view, tasks = desk.job(job), list(desk.tasks(job))
    bring(view, tasks, folder / "out", several=False, force=False)
    assert (folder / "out" / "made").stat().st_size == 200_000
    with pytest.raises(BadRequest):
        bring(view, tasks, folder / "out", several=False, force=False)
    clear(view)
    shelf = Shelf(agent.home, folder)
    assert job not in shelf.jobs(), f"nothing of it is left in {FOLDER}"
    shelf.close()


def test_bytes_are_counted_as_they_pass() -> None:
    count = Count()
    assert list(count.over(iter((b"ab", b"c")))) == [b"ab", b"c"]
    assert count.size_bytes == 3
