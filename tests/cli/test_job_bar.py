"""What the bar of a job says."""

from __future__ import annotations

import time

from tests.agent.agents import RunningAgent

from worldos.cli.job_bar import await_end, said
from worldos.jobs.desk import Desk
from worldos.jobs.words import new_job_id
from worldos.model.need import Need
from worldos.model.work import JobSpec, Span


def test_who_waits_hears_whether_it_went_well(agent: RunningAgent) -> None:
    desk = Desk(agent.ask)
    need = Need(kind="CPU", amount=500)
    good, bad = new_job_id(), new_job_id()
    desk.submit(good, JobSpec(argv=("sleep", "0.7"), need=need, array=(Span(0, 1),)))
    desk.submit(bad, JobSpec(argv=("false",), need=need))
    begun_s = time.monotonic()
    assert said(desk.job(good))
    assert await_end(desk, good)
    assert not await_end(desk, bad)
    assert time.monotonic() - begun_s > 0.4
