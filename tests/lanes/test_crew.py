"""Workers that retire end what they do, get nothing more, and cost their calls nothing."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from harness import Here

from worldos.lanes.link import Door

BOUND_S = 60.0


def _wait_for(path: str) -> str:
    end = time.monotonic() + BOUND_S
    while not Path(path).exists():
        assert time.monotonic() < end
        time.sleep(0.002)
    return path


def test_one_that_retires_ends_its_call_and_the_rest_runs_elsewhere(here: Here, tmp_path: Path) -> None:
    mark = tmp_path / "go"
    with here.lane(2) as lane:
        held = [lane.submit(_wait_for, str(mark)) for _ in range(2)]
        waiting = [lane.submit(str, n) for n in range(20)]
        paths = [link.door.path for link in lane._workers.values()]
        assert all(lane.is_busy(path) for path in paths)
        lane.retire(paths[0])
        assert lane.load().open_calls == 22
        mark.touch()
        assert [future.result(BOUND_S) for future in held] == [str(mark)] * 2
        assert [future.result(BOUND_S) for future in waiting] == [str(n) for n in range(20)]
        assert not lane.is_busy(paths[0])
        assert [future.result(BOUND_S) for future in [lane.submit(str, 1) for _ in range(9)]] == ["1"] * 9
        lane.lose_door(paths[0], "it was given back")
        assert (lane.statistics().reruns, lane.load().open_calls) == (0, 0)


def test_one_that_retires_before_it_answered_never_gets_a_call(here: Here) -> None:
    with here.lane(1) as lane:
        (known,) = (link.door for link in lane._workers.values())
        lane.retire("/no such door")
        late = Door(path=f"{known.path}.late", node=known.node)
        lane.add_door(late)
        lane.retire(late.path)
        assert not lane.is_busy(late.path)
        assert lane.submit(str, 7).result(BOUND_S) == "7"
