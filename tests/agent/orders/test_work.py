"""The orders about work, over a real agent's socket; what the table says to them is told in tests/kernel/work."""

from __future__ import annotations

import msgspec
import pytest
from tests.agent.agents import RunningAgent

from worldos.errors import BadRequest, NotThere
from worldos.kernel.work.look import read_job, read_jobs, read_keepers
from worldos.kernel.work.words import decode_answers, encode_command
from worldos.model.ids import NodeId
from worldos.model.need import Need
from worldos.model.runner import LogPiece
from worldos.model.work import Applied, JobSpec, Span, Submit, WorkCommand


def test_a_job_is_put_in_line_and_seen(agent: RunningAgent) -> None:
    need = Need(kind="CPU", amount=10**9)  # nobody has that
    spec = JobSpec(argv=("true",), need=need, array=(Span(1, 5),))
    command = WorkCommand(said=(Submit(job="orders-1", spec=spec, by=NodeId(agent.ask("status")["node"])),))
    assert decode_answers(agent.ask("work", command=encode_command(command))) == (Applied(),)
    assert "orders-1" in [view.job for view in read_jobs(agent.ask("work_look", what="jobs"))]
    seen = read_job(agent.ask("work_look", what="job orders-1", first=2, count=2))
    assert [task.index for task in seen.tasks] == [2, 3]
    assert read_keepers(agent.ask("work_look", what="keepers")).voters == (agent.ask("status")["node"],)
    gone = msgspec.msgpack.decode(agent.ask("log_read", job="orders-1", index=2), type=LogPiece)
    assert gone.gone, "it never ran"


def test_what_is_wrong_is_said(agent: RunningAgent) -> None:
    with pytest.raises(NotThere):
        agent.ask("log_read", job="orders-2")
    with pytest.raises(BadRequest):
        agent.ask("log_read", job="orders-1", offset=-1)
    with pytest.raises(BadRequest):
        agent.ask("work_look", what="x" * 201)
    with pytest.raises(BadRequest):
        agent.ask("runner_told", request=1, piece=b"\xc1")
    with pytest.raises(BadRequest):
        agent.ask("runner_holds", attempts=[["job-1", 0, 0]])
