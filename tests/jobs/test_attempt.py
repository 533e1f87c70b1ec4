"""What becomes of an attempt is one word to the line, and the right one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from worldos.errors import NodeGone, OverQuota, PeerBroke, Unreachable
from worldos.home import Home
from worldos.jobs.attempt import CODE_KILLED, CODE_RUNTIME, CODE_UNFIT, Run
from worldos.jobs.berth import Berth, Ran
from worldos.jobs.providers import Maker
from worldos.jobs.shelf import Shelf
from worldos.jobs.teller import Word
from worldos.lanes.link import Door
from worldos.model.need import Need
from worldos.model.work import Attempt, Finished, JobSpec, Lost, Made, Yielded

AT = Attempt("job1", 7, 2)
NEED = Need(kind="CPU", amount=1000)


@pytest.fixture
def berth(workers: Any) -> Iterator[Berth]:
    made = Berth(workers.door())
    yield made
    made.close()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """A shelf of a home in which no agent runs: small things do not need it."""
    return Shelf(Home(tmp_path / "nobody"), tmp_path)


def run_of(folder: Path, script: str, **words: Any) -> Run:
    return Run(AT, JobSpec(argv=("sh", "-c", script), need=NEED, **words), "", folder)


def word_of(run: Run, berth: Berth, shelf: Shelf) -> Word | None:
    ran = run.carry_out(berth, shelf)
    return run.ended(ran, shelf) if isinstance(ran, Ran) else ran


def stopping(run: Run, stop: Any) -> threading.Thread:
    def wait() -> None:
        deadline_s = time.monotonic() + 30
        while b"ready" not in run.log.tail() and time.monotonic() < deadline_s:
            time.sleep(0.005)
        stop()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_an_end_says_code_output_and_what_it_took(berth: Berth, shelf: Shelf, tmp_path: Path) -> None:
    run = run_of(tmp_path, 'echo "$WOS_JOB $WOS_TASK $WOS_ATTEMPT $LIKE"; echo x > made; exit 3', env={"LIKE": "this"})
    word = word_of(run, berth, shelf)
    assert isinstance(word, Finished)
    assert word.attempt == AT
    assert word.outcome.code == 3
    assert word.outcome.tail == b"job1 7 2 this\n"
    assert word.outcome.result
    assert word.outcome.wall_us > 0
    assert word.outcome.paid_uwos == 0


def test_an_end_says_what_its_lease_cost_for_so_long(berth: Berth, shelf: Shelf, tmp_path: Path) -> None:
    run = run_of(tmp_path, "sleep 0.1")
    run.price_uwos_hour = 3_600_000_000  # a micro-WOSCoin for each microsecond
    word = word_of(run, berth, shelf)
    assert isinstance(word, Finished)
    assert word.outcome.paid_uwos == word.outcome.wall_us >= 100_000


def test_what_a_job_does_not_keep_does_not_travel(berth: Berth, shelf: Shelf, tmp_path: Path) -> None:
    word = word_of(run_of(tmp_path, "echo x > made", keep=False), berth, shelf)
    assert isinstance(word, Finished)
    assert not word.outcome.result


def test_who_makes_way_yields(berth: Berth, shelf: Shelf, tmp_path: Path) -> None:
    run = run_of(tmp_path, "trap 'exit 0' TERM; echo ready; while :; do sleep 0.02; done")
    thread = stopping(run, lambda: run.make_way("a more urgent job"))
    word = word_of(run, berth, shelf)
    thread.join()
    assert word == Yielded(attempt=AT, why="a more urgent job")


def test_of_a_dropped_attempt_nothing_is_said(berth: Berth, shelf: Shelf, tmp_path: Path) -> None:
    run = run_of(tmp_path, "echo ready; sleep 30")
    thread = stopping(run, lambda: run.drop(0.1))
    assert word_of(run, berth, shelf) is None
    thread.join()


def test_a_stop_before_the_beginning_is_enough(berth: Berth, shelf: Shelf, tmp_path: Path) -> None:
    run = run_of(tmp_path, "echo never")
    assert run.waits
    run.make_way("others")
    assert word_of(run, berth, shelf) == Yielded(attempt=AT, why="others")
    assert run.log.written == 0
    run = run_of(tmp_path, "echo never")
    run.drop()
    assert word_of(run, berth, shelf) is None


def test_a_task_that_runs_too_long_has_failed(berth: Berth, shelf: Shelf, tmp_path: Path) -> None:
    word = word_of(run_of(tmp_path, "sleep 30", runtime_s=1, grace_s=1), berth, shelf)
    assert isinstance(word, Finished)
    assert word.outcome.code == CODE_RUNTIME
    assert "longer" in word.outcome.why


def test_a_result_that_cannot_be_kept_now_may_be_kept_later(berth: Berth, shelf: Shelf, tmp_path: Path) -> None:
    run = run_of(tmp_path, "head -c 100000 /dev/urandom > made")
    ran = run.carry_out(berth, shelf)
    assert isinstance(ran, Ran)
    assert run.needs_files(ran)
    with pytest.raises(Unreachable):
        run.ended(ran, shelf)


@pytest.mark.parametrize(
    ("error", "code"),
    [(OverQuota("used more"), CODE_KILLED), (PeerBroke("damaged"), CODE_UNFIT), (NodeGone("it is lost"), None)],
)
def test_what_befalls_a_berth_is_told_apart(error: Any, code: int | None, tmp_path: Path) -> None:
    run = run_of(tmp_path, "true")
    word = run.broken(error)
    if code is None:
        assert word == Lost(attempt=AT, why="it is lost")
    else:
        assert isinstance(word, Finished)
        assert (word.outcome.code, word.outcome.why) == (code, str(error))
    run.drop()
    assert run.broken(error) is None


def test_what_a_machine_of_others_made_is_marked_as_such(workers: Any, shelf: Shelf, tmp_path: Path) -> None:
    door = workers.door()
    berth = Berth(Door(path=door.path, is_own=False))
    run = run_of(tmp_path, "echo x > made")
    ran = run.carry_out(berth, shelf)
    assert isinstance(ran, Ran)
    assert run.needs_files(ran), "small as it is: in line nobody could see where it came from"
    berth.close()


def test_a_task_that_makes_too_much_has_failed(berth: Berth, shelf: Shelf, tmp_path: Path) -> None:
    run = run_of(tmp_path, "head -c 3000000 /dev/urandom > made")
    run.result.bytes_max = 1 << 20
    berth.clear()
    with pytest.raises(OverQuota, match="more than 1 MiB"):
        berth.run(run._errand(""), (), run.log, run.result, run.left)


def test_a_machine_of_others_is_paid_for_no_more_than_passed_here(berth: Berth, shelf: Shelf, tmp_path: Path) -> None:
    run = run_of(tmp_path, "sleep 0.05", copies=1)
    ran = run.carry_out(berth, shelf, maker=Maker("somebody", "n1"))
    assert isinstance(ran, Ran)
    word = run.ended(replace(ran, took=replace(ran.took, wall_us=3_600_000_000)), shelf)
    assert isinstance(word, Finished)
    assert 50_000 <= word.outcome.wall_us < 60_000_000


def test_what_is_to_be_compared_says_whose_it_is_and_what_it_came_to(
    workers: Any, shelf: Shelf, tmp_path: Path
) -> None:
    """The same words at machines of others and at ours come to one digest; other words to another; unchecked ones to none."""
    berth = Berth(workers.door())
    said: list[Made | None] = []
    for number, (script, owner, apart, copies) in enumerate(
        [
            ("echo a; echo $WOS_ATTEMPT >&2; echo x > made", "ann", (), 0),
            ("echo a; echo x > made; echo $PYTHONHASHSEED >&2", "", ("ann",), 0),
            ("echo b; echo x > made", "bob", ("ann",), 0),
            ("echo a", "ann", (), 1),
            ("echo a", "", (), 2),
        ]
    ):
        spec = JobSpec(argv=("sh", "-c", script), need=NEED, copies=copies)
        run = Run(Attempt("job1", 7, number + 1), spec, "", tmp_path, apart)
        ran = run.carry_out(berth, shelf, maker=Maker(owner, f"node of {owner}" if owner else ""))
        assert isinstance(ran, Ran)
        word = run.ended(ran, shelf)
        assert isinstance(word, Finished)
        said.append(word.outcome.made)
    berth.close()
    first, second, third, unchecked, ours = said
    assert first is not None
    assert second is not None
    assert third is not None
    assert [each.node for each in (first, second, third)] == ["node of ann", "", "node of bob"]
    assert first.digest == second.digest != third.digest
    assert (unchecked, ours) == (None, None)
