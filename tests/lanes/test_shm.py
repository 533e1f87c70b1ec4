"""Large buffers through shared memory: right, warm, and gone when nobody looks."""

from __future__ import annotations

import builtins
import gc
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from harness import Here

from worldos.errors import BadRequest, PeerBroke
from worldos.lanes import shm, stowage


def maps(pid: int | str = "self") -> int:
    """Return how many shared segments a process has mapped."""
    return Path(f"/proc/{pid}/maps").read_text().count("memfd:worldos")


def test_a_segment_is_written_once_and_seen_by_the_reader() -> None:
    pool, windows = shm.Pool(), shm.Windows(writable=False)
    data = os.urandom(300_000)
    segment = pool.take(len(data))
    assert segment is not None
    segment.write(memoryview(data))
    windows.add(segment.number, segment.size, os.dup(segment.fd))
    view = windows.view(segment.number, 0, len(data))
    assert view == data
    assert view.readonly
    part = view[10:20]
    del view
    assert windows.take_released() == []
    del part
    assert windows.take_released() == [segment.number]
    windows.close()
    pool.close()
    assert maps() == 0


def test_a_segment_is_used_again_and_the_pool_keeps_its_bound() -> None:
    pool = shm.Pool(idle_bytes_max=1_000_000)
    first = pool.take(600_000)
    assert first is not None
    pool.release(first.number)
    again = pool.take(500_000)
    assert again is first
    other = pool.take(700_000)
    assert other is not None
    pool.release(first.number)
    pool.release(other.number)
    assert pool.retired == [first.number]
    pool.close()


def test_a_view_outlives_the_pool_and_its_windows() -> None:
    pool, windows = shm.Pool(), shm.Windows(writable=True)
    segment = pool.take(300_000)
    assert segment is not None
    segment.write(memoryview(b"x" * 300_000))
    windows.add(segment.number, segment.size, os.dup(segment.fd))
    view = windows.view(segment.number, 0, 300_000)
    windows.close()
    pool.close()
    assert bytes(view[:3]) == b"xxx"
    assert maps() == 1
    del view
    assert maps() == 0


def test_a_descriptor_that_could_shrink_under_us_is_refused() -> None:
    fd = os.memfd_create("evil")
    os.ftruncate(fd, 1 << 20)
    with pytest.raises(PeerBroke):
        shm.Windows(writable=True).add(1, 1 << 20, fd)
    windows = shm.Windows(writable=True)
    for place in [(1, 0, 10), (2, 0, 1)]:
        with pytest.raises(PeerBroke):
            windows.view(*place)


def test_arrays_go_there_and_back(here: Here) -> None:
    with here.lane(2) as lane:
        sent = np.arange(1_000_000, dtype=np.float64)
        for factor in range(1, 6):
            back = lane.submit(lambda a, f: (a * f, a.sum()), sent, factor).result(30)
            assert np.array_equal(back[0], sent * factor)
            back[0][0] = 7.0
        assert sent[0] == 0.0


def test_an_argument_that_comes_back_is_the_callers_own_copy(here: Here) -> None:
    with here.lane(1) as lane:
        sent = np.zeros(1_000_000)
        back = lane.submit(lambda a: a, sent).result(30)
        back[:] = 1
        assert sent.sum() == 0
        piece = lane.submit(lambda a: a[100:500_100], sent).result(30)
        assert piece.shape == (500_000,)
        del back, piece


def test_what_a_function_keeps_is_never_changed_by_the_caller(here: Here) -> None:
    def keep(array: np.ndarray) -> np.ndarray:
        builtins.kept = array  # type: ignore[attr-defined]
        return array

    def kept_sum() -> float:
        return float(builtins.kept.sum())  # type: ignore[attr-defined]

    with here.lane(1) as lane:
        back = lane.submit(keep, np.zeros(1_000_000)).result(30)
        back[:] = 1
        for _ in range(10):
            lane.submit(lambda a: a, np.full(1_000_000, 5.0)).result(30)
        assert lane.submit(kept_sum).result(30) == 0.0


def test_arguments_are_as_they_were_at_submit(here: Here) -> None:
    with here.lane(1) as lane:
        array = np.zeros(500_000)
        lane.submit(lambda: __import__("time").sleep(0.1))
        futures = []
        for n in range(5):
            array[:] = n
            futures.append(lane.submit(lambda a: float(a[0] + a[-1]), array))
        assert [f.result(30) for f in futures] == [2.0 * n for n in range(5)]


def test_a_worker_cannot_write_into_its_arguments(here: Here) -> None:
    with here.lane(1) as lane, pytest.raises(ValueError, match="read-only"):
        lane.submit(lambda a: a.fill(1), np.zeros(500_000)).result(30)


def test_bytes_stay_bytes(here: Here) -> None:
    with here.lane(1) as lane:
        for data in (os.urandom(3_000_000), bytearray(os.urandom(100_000))):
            back = lane.submit(lambda b: b[::-1], data).result(30)
            assert type(back) is type(data)
            assert back == data[::-1]


def test_memory_is_used_again_and_given_back(here: Here) -> None:
    with here.lane(1) as lane:
        pid = lane.submit(os.getpid).result(15)
        for _ in range(30):
            back = lane.submit(lambda a: a + 1, np.zeros(1_000_000)).result(30)
        assert maps() <= 6
        assert maps(pid) <= 6
        results = [lane.submit(lambda a: a + 1, np.zeros(100_000)).result(30) for _ in range(20)]
        assert all(r[0] == 1 for r in results)
        del results, back
    gc.collect()
    assert maps() == 0


def test_nothing_is_left_when_the_worker_is_killed(here: Here) -> None:
    before = set(os.listdir("/dev/shm"))
    with here.lane(1) as lane:
        pid = lane.submit(os.getpid).result(15)
        back = lane.submit(lambda a: a + 1, np.zeros(1_000_000)).result(30)
        os.kill(pid, signal.SIGKILL)
        assert back.sum() == 1_000_000
        assert lane.submit(lambda a: float(a.sum()), back).result(30) == 1_000_000
        del back
    gc.collect()
    assert maps() == 0
    assert set(os.listdir("/dev/shm")) == before


def test_a_far_lane_carries_the_same_without_sharing_memory(here: Here) -> None:
    with here.lane(2, local=False) as lane:
        sent = np.arange(3_000_000, dtype=np.float64)
        futures = [lane.submit(lambda a, n: a + n, sent, n) for n in range(6)]
        for n, future in enumerate(futures):
            assert np.array_equal(future.result(60), sent + n)
        assert maps() == 0


def test_arguments_that_no_worker_could_hold_are_refused_at_submit(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    with here.lane(1, local=False, memory_bytes=200_000_000) as lane:
        with pytest.raises(BadRequest, match="memory leased"):
            lane.submit(len, np.zeros(30_000_000))
        assert lane.submit(pow, 2, 2).result(15) == 4
    monkeypatch.setattr(stowage, "memory_free_bytes", lambda: 1_000_000_000)
    with here.lane(1) as lane:
        with pytest.raises(BadRequest, match="5 GB, and this machine has 1 GB of memory free"):
            lane.submit(len, np.lib.stride_tricks.as_strided(np.zeros(1, dtype=np.uint8), (5_000_000_000,), (1,)))
        assert lane.submit(pow, 2, 2).result(15) == 4
