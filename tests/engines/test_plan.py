"""Plans cross from the program to the node: what they may hold is bounded by their types."""

from __future__ import annotations

import msgspec
import pytest

from worldos.engines.plan import Process, Seat


def test_a_seat_has_one_core_at_least() -> None:
    assert Seat(index=0, node="n", address="10.0.0.1", milli_cpu=500).cores == 1
    assert Seat(index=0, node="n", address="10.0.0.1", milli_cpu=3900).cores == 3


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", ".hidden", "", "a/b", "x" * 70])
def test_a_file_of_a_process_stays_in_its_folder(name: str) -> None:
    told = msgspec.msgpack.encode(Process(name="one", argv=("x",), files={name: b"data"}))
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(told, type=Process)


def test_a_process_comes_over_whole() -> None:
    process = Process(
        name="one", argv=("x",), env={"A": "b"}, files={"c.conf": b"d"}, before=(("e",),), listens=(7,), short=True
    )
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(process), type=Process) == process
