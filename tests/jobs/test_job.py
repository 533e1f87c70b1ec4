"""A job as a program holds it."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent

from worldos.errors import NotAllowed, WorkerLost
from worldos.jobs.attempt import FAR
from worldos.jobs.desk import Desk
from worldos.jobs.job import Job, Kept
from worldos.jobs.outputs import Spool, packed
from worldos.jobs.shelf import Shelf
from worldos.jobs.submit import submit
from worldos.kernel.line.view import State, TaskView
from worldos.lanes.resident import MADE
from worldos.model.work import Outcome

pytestmark = pytest.mark.usefixtures("at_home")


def test_it_is_waited_for_and_cancelled() -> None:
    job = submit(["sleep", "100"])
    with pytest.raises(TimeoutError):
        job.wait(0.2)
    job.cancel()
    assert job.wait(90) == State.DROPPED
    with pytest.raises(WorkerLost, match="cancelled"):
        job.result()


def test_results_come_by_index_each_as_it_is_there(desk: Desk) -> None:
    job = submit(["sh", "-c", "exit $WOS_TASK"], array="0-3")
    assert list(job) == [0, 1, 2, 3]
    assert job.state == State.FAILED
    again = Job(job.id, desk)
    assert again.result(1) == [0, 1, 2, 3]
    assert job.id in repr(again)


def test_a_function_whose_process_ended_has_failed() -> None:
    def leave() -> None:
        import os  # noqa: PLC0415 - runs elsewhere

        os._exit(3)

    with pytest.raises(WorkerLost, match="exit code 3"):
        submit(leave).result(30)


def test_an_array_is_saved_by_index(tmp_path: Path) -> None:
    job = submit(["sh", "-c", "head -c 5000 /dev/urandom > made; echo $WOS_TASK > index"], array="3,5")
    assert job.wait(60) == State.DONE
    job.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "5"]
    assert (tmp_path / "5" / "index").read_text() == "5\n"
    assert (tmp_path / "3" / "made").stat().st_size == 5000


def test_what_a_task_that_made_nothing_left_is_nothing(desk: Desk) -> None:
    job = submit(["true"])
    job.wait(90)
    with Kept() as kept:
        assert kept.pieces(desk.task(job.id, 0)) is None


class Harm:
    """What a stranger would like to be loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, ("/tmp/wos-harm",))


def test_nothing_that_strangers_made_runs_here(at_home: RunningAgent, desk: Desk, tmp_path: Path) -> None:
    shelf = Shelf(at_home.home, tmp_path)
    for number, value in enumerate((Harm(), {"plain": [1, 2]})):
        (tmp_path / MADE).write_bytes(pickle.dumps(("returned", value)))
        spool = Spool(tmp_path / "spool")
        packed([tmp_path / MADE], tmp_path, spool)
        shelf.put(spool.data(), f"/.jobs/strange/{number}.1{FAR}")
    shelf.close()
    job = Job("strange", desk, calls=True)
    tasks = [
        TaskView(
            index=number,
            state=State.DONE,
            number=1,
            outcome=Outcome(code=0, result_file=f"/.jobs/strange/{number}.1{FAR}"),
        )
        for number in range(2)
    ]
    with pytest.raises(NotAllowed):
        job._value(tasks[0])
    assert not Path("/tmp/wos-harm").exists()
    assert job._value(tasks[1]) == {"plain": [1, 2]}
