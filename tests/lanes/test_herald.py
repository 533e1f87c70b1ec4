"""A result that is done is delivered while the next call of the same worker still runs."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from harness import Here

from worldos.lanes.herald import Herald


def _wait_for(path: str) -> str:
    end = time.monotonic() + 60
    while not Path(path).exists():
        assert time.monotonic() < end
        time.sleep(0.002)
    return path


def test_a_result_does_not_wait_for_the_call_after_it(here: Here, tmp_path: Path) -> None:
    mark = tmp_path / "go"
    with here.lane(1) as lane:
        assert [f.result(30) for f in [lane.submit(pow, n, 2) for n in range(300)]]  # many calls at once from now on
        before = [lane.submit(str, n) for n in range(40)]
        blocked = lane.submit(_wait_for, str(mark))
        after = [lane.submit(str, n) for n in range(3)]
        assert [f.result(15) for f in before] == [str(n) for n in range(40)]
        mark.touch()
        assert blocked.result(30) == str(mark)
        assert [f.result(15) for f in after] == ["0", "1", "2"]


def test_it_sends_once_for_many_calls_and_again_when_told_again() -> None:
    sent: list[float] = []
    some = threading.Event()

    def send() -> None:
        sent.append(time.monotonic())
        some.set()

    herald = Herald(send)
    for expected in (1, 2):
        some.clear()
        for _ in range(100):
            herald.watch()
        assert some.wait(15)
        assert len(sent) == expected


def test_a_holder_that_is_gone_ends_it() -> None:
    def gone() -> None:
        raise BrokenPipeError

    herald = Herald(gone)
    herald.watch()
    assert herald._thread is not None
    herald._thread.join(15)
    assert not herald._thread.is_alive()
