"""A lane as its holder sees it: real workers, no agent."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
from harness import Here, alive, eventually

from worldos.errors import BadRequest, LeaseEnded, NodeGone, WorkerLost
from worldos.lanes import wire
from worldos.lanes.client import Door, Lane


def test_a_call_returns_what_the_function_returns(here: Here) -> None:
    with here.lane() as lane:
        assert lane.submit(lambda a, b: a + b, 2, b=3).result(15) == 5


def test_results_come_in_the_order_of_map(here: Here) -> None:
    with here.lane() as lane:
        assert list(lane.map(lambda x: x * x, range(500))) == [x * x for x in range(500)]


def test_an_exception_comes_back_with_the_traceback_of_the_worker(here: Here) -> None:
    def broken() -> None:
        raise ValueError("no such thing")

    with here.lane() as lane:
        error = lane.submit(broken).exception(15)
        assert isinstance(error, ValueError)
        assert "in broken" in str(error.__cause__)


def test_as_completed_and_callbacks_work_without_anyone_in_result(here: Here) -> None:
    with here.lane() as lane:
        called = threading.Event()
        futures = [lane.submit(pow, 2, n) for n in range(20)]
        futures[-1].add_done_callback(lambda _: called.set())
        done = list(concurrent.futures.as_completed(futures, timeout=15))
        assert sorted(f.result() for f in done) == [2**n for n in range(20)]
        assert called.wait(15)


def test_a_timeout_is_kept_and_the_call_goes_on(here: Here) -> None:
    with here.lane(1) as lane:
        future = lane.submit(time.sleep, 0.2)
        with pytest.raises(concurrent.futures.TimeoutError):
            future.result(0.02)
        assert future.result(15) is None


def test_many_threads_share_a_lane(here: Here) -> None:
    with here.lane() as lane, concurrent.futures.ThreadPoolExecutor(8) as threads:
        sums = threads.map(lambda n: sum(lane.submit(pow, n, 2).result(30) for _ in range(50)), range(8))
        assert list(sums) == [50 * n * n for n in range(8)]


def test_a_call_that_waits_can_be_cancelled_one_that_runs_cannot(here: Here) -> None:
    with here.lane(1) as lane:
        futures = [lane.submit(time.sleep, 0.1) for _ in range(5)]
        assert futures[-1].cancel()
        assert futures[-1].cancelled()
        assert not futures[0].cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            futures[-1].result(15)
        assert [f.result(15) for f in futures[:-1]] == [None] * 4


def test_a_killed_worker_costs_a_rerun_and_nothing_else(here: Here, tmp_path: Path) -> None:
    mark = tmp_path / "ran"

    def once(path: str) -> int:
        if not os.path.exists(path):
            Path(path).write_text(str(os.getpid()))
            time.sleep(30)
        return os.getpid()

    with here.lane() as lane:
        future = lane.submit(once, str(mark))
        lane.wait_for_workers(3, 0.01)
        pid = int(eventually(lambda: mark.exists() and mark.read_text()))
        os.kill(pid, 9)
        started = time.monotonic()
        assert future.result(15) != pid
        assert time.monotonic() - started < 5, "it is not waited for"
        assert not alive(pid)
        assert lane.wait_for_workers(2, 5), "the lane keeps its size"


def test_a_call_that_may_not_run_twice_fails_when_its_worker_is_lost(here: Here, tmp_path: Path) -> None:
    def mark_and_die(folder: str) -> None:
        (Path(folder) / str(os.getpid())).touch()
        os._exit(3)

    with here.lane() as lane:
        with pytest.raises(WorkerLost, match="exited with code 3"):
            lane.submit_call(mark_and_die, (str(tmp_path),), {}, retries=0).result(15)
        assert len(list(tmp_path.iterdir())) == 1


def test_a_call_that_always_breaks_its_worker_ends_after_its_retries_and_takes_no_other_along(here: Here) -> None:
    with here.lane() as lane:
        poison = lane.submit(os._exit, 7)
        others = [lane.submit(pow, n, 2) for n in range(200)]
        with pytest.raises(WorkerLost, match="4 times"):
            poison.result(30)
        assert [f.result(30) for f in others] == [n * n for n in range(200)]


def test_a_function_that_cannot_be_pickled_is_refused_at_submit(here: Here) -> None:
    lock = threading.Lock()
    with here.lane(1) as lane:
        with pytest.raises(BadRequest, match="cannot be sent"):
            lane.submit(lambda: lock)
        with pytest.raises(BadRequest, match="argument 2"):
            lane.submit(print, 1, lock)
        assert lane.submit(pow, 2, 2).result(15) == 4


def test_a_result_that_cannot_be_pickled_is_an_error_of_that_call_alone(here: Here) -> None:
    with here.lane(1) as lane:
        with pytest.raises(BadRequest, match="cannot be sent back"):
            lane.submit(threading.Lock).result(15)
        assert lane.submit(pow, 2, 2).result(15) == 4


def test_what_a_function_prints_appears_at_its_caller(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    with here.lane(1) as lane:
        lane.submit(print, "hello from afar").result(15)
    assert capsys.readouterr().out == "hello from afar\n"


def test_the_initializer_runs_in_each_worker_before_any_call(here: Here) -> None:
    def prepare(value: str) -> None:
        os.environ["PREPARED"] = value

    with here.lane(2, lane={"initializer": prepare, "initargs": ("yes",)}) as lane:
        assert set(lane.map(lambda _: os.environ["PREPARED"], range(20))) == {"yes"}


def test_an_initializer_that_fails_breaks_the_lane_with_its_reason(here: Here) -> None:
    _lease, doors = here.open(workers=1)
    lane = Lane([Door(path=doors[0].path)], initializer=lambda: 1 // 0)
    with pytest.raises(BadRequest, match="initializer") as caught:
        lane.submit(pow, 2, 2).result(15)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_lane_after_its_end_says_so(here: Here) -> None:
    lane = here.lane(1)
    lane.shutdown()
    with pytest.raises(LeaseEnded):
        lane.submit(pow, 2, 2)


def test_a_forked_child_cannot_use_its_parents_lane(here: Here) -> None:
    with here.lane(1) as lane:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                lane.submit(pow, 2, 2)
            except BadRequest:
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        assert lane.submit(pow, 2, 2).result(15) == 4


def test_control_c_while_waiting_leaves_the_lane_usable(here: Here) -> None:
    with here.lane(2) as lane:
        for wait_s in (0.0, 0.001, 0.003, 0.02, 0.1):
            futures = [lane.submit(time.sleep, 0.01) for _ in range(20)]
            timer = threading.Timer(wait_s, signal.pthread_kill, [threading.get_ident(), signal.SIGINT])
            with contextlib.suppress(KeyboardInterrupt):
                timer.start()
                for future in futures:
                    future.result(30)
                time.sleep(0.5)
            timer.join()
            assert [future.result(30) for future in futures] == [None] * 20


def test_an_interrupt_in_the_middle_of_a_change_is_mended(here: Here) -> None:
    with here.lane(2) as lane:
        futures = [lane.submit(pow, n, 2) for n in range(100)]
        lane._torn = True  # as if KeyboardInterrupt had struck in the middle of a change
        assert [f.result(30) for f in futures] == [n * n for n in range(100)]
        lane._torn_reading = True
        assert lane.submit(pow, 2, 2).result(30) == 4


def test_calls_of_a_doubted_node_run_elsewhere_and_the_first_result_wins(here: Here, tmp_path: Path) -> None:
    first, doors = here.open(workers=1)
    _second, others = here.open(workers=1)
    runs = tmp_path / "runs"

    def run(path: str) -> int:
        with open(path, "a") as file:
            file.write(f"{os.getpid()}\n")
        return os.getpid()

    with Lane([Door(path=doors[0].path, node="a")]) as lane:
        assert lane.submit(pow, 2, 2).result(15) == 4
        here.call(here.host.pause, first)
        # This one first: where a call takes long, as on a busy machine, no second one is sent ahead.
        once = lane.submit_call(run, (str(runs),), {}, retries=0)
        future = lane.submit(run, str(runs))
        lane.add_door(Door(path=others[0].path, node="b"))
        assert lane.wait_for_workers(2, 5)
        lane.doubt("a")
        assert future.result(15) == others[0].pid
        assert not once.done()
        lane.trust("a")
        here.call(here.host.resume, first)
        assert once.result(15) in {doors[0].pid, others[0].pid}
        lane.drain(5)
    assert runs.read_text().split().count(str(others[0].pid)) >= 1


def test_a_door_that_is_lost_for_good_leaves_its_calls_to_the_others(here: Here) -> None:
    lease, doors = here.open(workers=1)
    _other, others = here.open(workers=1)
    with Lane([Door(path=doors[0].path, node="a"), Door(path=others[0].path, node="b")]) as lane:
        assert lane.wait_for_workers(2, 5)
        futures = [lane.submit(lambda n: (time.sleep(0.02), n)[1], n) for n in range(20)]
        lane.lose_door(doors[0].path, "its node is gone")
        here.do(here.host.close_lease(lease))
        assert [f.result(30) for f in futures] == list(range(20))


def test_without_any_worker_calls_fail_when_no_more_will_come(here: Here) -> None:
    lease, doors = here.open(workers=1)
    lane = Lane([Door(path=doors[0].path)])
    future = lane.submit(time.sleep, 30)
    waiting = lane.submit(pow, 2, 2)
    with contextlib.suppress(TimeoutError):
        future.result(0.2)
    lane.no_more_doors()
    here.do(here.host.close_lease(lease))
    for each in (future, waiting):
        with pytest.raises(NodeGone):
            each.result(15)
    with pytest.raises(NodeGone):
        lane.submit(pow, 2, 2).result(15)
    lane.close(LeaseEnded())


def test_calls_wait_for_a_worker_that_comes_later(here: Here) -> None:
    lane = Lane()
    future = lane.submit(pow, 2, 5)
    _lease, doors = here.open(workers=1)
    lane.add_door(Door(path=doors[0].path))
    assert future.result(15) == 32
    lane.close(LeaseEnded())


def test_patience_has_an_end(here: Here) -> None:
    lane = Lane(patience_s=0.1)
    with pytest.raises(NodeGone):
        lane.submit(pow, 2, 5).result(15)
    lane.close(LeaseEnded())


def test_a_call_may_submit_and_wait_in_its_callback(here: Here) -> None:
    with here.lane(2) as lane:
        answers: list[int] = []
        done = threading.Event()

        def then(future: concurrent.futures.Future[int]) -> None:
            answers.append(lane.submit(pow, future.result(), 2).result(15))
            done.set()

        lane.submit(pow, 3, 2).add_done_callback(then)
        assert done.wait(15)
        assert answers == [81]


def test_long_calls_do_not_hold_up_others_while_a_worker_is_free(here: Here) -> None:
    with here.lane(2) as lane:
        for _ in range(200):
            lane.submit(pow, 2, 2).result(15)
        started = time.monotonic()
        long = [lane.submit(time.sleep, 0.3), lane.submit(time.sleep, 0.3)]
        short = [lane.submit(pow, n, 2) for n in range(50)]
        assert [f.result(15) for f in short] == [n * n for n in range(50)]
        assert [f.result(15) for f in long] == [None, None]
        assert time.monotonic() - started < 10


def test_a_worker_that_talks_nonsense_is_lost_and_nothing_else(here: Here, tmp_path: Path) -> None:
    _lease, doors = here.open(workers=1)
    path = str(tmp_path / "bad.door")
    with socket.socket(socket.AF_UNIX) as liar:
        liar.bind(path)
        liar.listen(5)
        stopped = threading.Event()

        def lie() -> None:
            liar.settimeout(0.2)
            while not stopped.is_set():
                with contextlib.suppress(OSError):
                    sock, _ = liar.accept()
                    with sock:
                        welcome = wire.frame(wire.FrameKind.WELCOME, wire.Welcome(pid=1, memory_bytes=0))
                        sock.sendall(welcome + os.urandom(100_000))

        thread = threading.Thread(target=lie)
        thread.start()
        try:
            with Lane([Door(path=path, node="bad"), Door(path=doors[0].path, node="good")]) as lane:
                futures = [lane.submit(pow, n, 2) for n in range(100)]
                assert [f.result(30) for f in futures] == [n * n for n in range(100)]
        finally:
            stopped.set()
            thread.join()


def test_what_a_long_call_prints_is_seen_while_it_runs(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    def talk() -> None:
        for n in range(3):
            print("step", n, flush=True)
            time.sleep(0.15)
        time.sleep(0.5)

    with here.lane(1) as lane:
        future = lane.submit(talk)
        seen = ""
        while "step 1" not in seen:
            seen += capsys.readouterr().out
            assert not future.done()
            with contextlib.suppress(TimeoutError):
                future.result(0.02)
        future.result(15)


def test_a_process_that_a_call_forks_cannot_answer_in_its_name(here: Here) -> None:
    def split() -> str:
        if os.fork() == 0:
            return "child"
        time.sleep(0.1)
        return "parent"

    with here.lane(1) as lane:
        assert [lane.submit(split).result(15) for _ in range(3)] == ["parent"] * 3


def test_an_interrupt_of_an_idle_worker_does_nothing(here: Here) -> None:
    lease, doors = here.open(workers=1)
    with Lane([Door(path=doors[0].path)]) as lane:
        pid = lane.submit(os.getpid).result(15)
        for _ in range(3):
            here.call(here.host.interrupt, lease, 0)
        assert lane.submit(os.getpid).result(15) == pid


def test_functions_of_this_programs_modules_go_to_far_workers_by_value(here: Here, tmp_path: Path) -> None:
    (tmp_path / "own_module.py").write_text("import json\nBASE = 5\ndef grow(x):\n    return json.dumps(x + BASE)\n")
    sys.path.insert(0, str(tmp_path))
    try:
        import own_module  # type: ignore[import-not-found]  # noqa: PLC0415

        with here.lane(1, local=False) as lane:
            assert lane.submit(own_module.grow, 1).result(15) == "6"
            assert lane.submit(lambda: own_module.grow(2)).result(15) == "7"
    finally:
        sys.path.remove(str(tmp_path))
        del sys.modules["own_module"]
