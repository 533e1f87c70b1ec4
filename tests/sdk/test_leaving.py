"""What a program let go of while calls were open still runs to its end, and then the lease goes back."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from tests.sdk.calls import square, wait_for
from tests.sdk.waiting import program, until

from worldos import use

BOUND_S = 60.0


def test_a_shutdown_that_does_not_wait_lets_all_calls_end_and_gives_the_lease_back_then(tmp_path: Path) -> None:
    mark = tmp_path / "go"
    cpu = use("CPU", 1)
    held, after = cpu.submit(wait_for, str(mark)), cpu.map(square, range(3))
    cpu.shutdown(wait=False)
    with pytest.raises(RuntimeError):
        cpu.submit(square, 1)
    assert not held.done()
    mark.touch()
    assert held.result(BOUND_S) == str(mark)
    assert list(after) == [0, 1, 4]
    until(lambda: cpu._holding.closed)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_executor_that_nobody_holds_any_more_ends_its_calls(tmp_path: Path) -> None:
    cpu = use("CPU", 1)
    results, holding = cpu.map(square, range(5)), cpu._holding
    del cpu
    gc.collect()
    assert list(results) == [0, 1, 4, 9, 16]
    until(lambda: holding.closed)


ENDS = """
import atexit, sys, time
@atexit.register
def last():
    try:
        cpu.submit(id, None)
    except RuntimeError as error:
        print(error, flush=True)
from worldos import use

def say(word):
    time.sleep(0.2)
    return word

cpu = use("CPU", 1)
cpu.submit(say, "apple").add_done_callback(lambda future: print(future.result(), flush=True))
{end}
"""


@pytest.mark.parametrize("end", ["", "cpu.shutdown(wait=False)"])
def test_the_program_ends_when_its_last_call_has(end: str, tmp_path: Path) -> None:
    out, wrong = program(ENDS.format(end=end), tmp_path).communicate(timeout=180)
    assert (out.split("\n")[0], wrong) == ("apple", "")
    assert "cannot schedule new futures after" in out
