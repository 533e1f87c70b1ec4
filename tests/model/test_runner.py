"""What agents and runners say to each other is checked as it is read."""

from __future__ import annotations

import msgspec
import pytest
from worldos.model.need import Need
from worldos.model.runner import LogAsk, RunnerOrder, TaskGiven, TaskStop
from worldos.model.work import Attempt, JobSpec

DECODER: msgspec.msgpack.Decoder[RunnerOrder] = msgspec.msgpack.Decoder(RunnerOrder)
AT = Attempt("job1", 3, 1)


@pytest.mark.parametrize(
    "order",
    [
        TaskGiven(
            attempts=(AT,), spec=JobSpec(argv=("true",), need=Need(kind="CPU", amount=1000)), checkpoints={3: "c"}
        ),
        TaskStop(attempt=AT, reason="preempt", why="a more urgent job", grace_s=5),
        LogAsk(request=1, attempt=AT, offset=10),
    ],
)
def test_an_order_is_read_as_it_was_said(order: RunnerOrder) -> None:
    assert DECODER.decode(msgspec.msgpack.encode(order)) == order


def test_a_stop_for_no_reason_is_no_order() -> None:
    with pytest.raises(msgspec.ValidationError):
        DECODER.decode(msgspec.msgpack.encode(TaskStop(attempt=AT, reason="because")))


def test_a_log_is_asked_for_in_pieces() -> None:
    with pytest.raises(msgspec.ValidationError):
        DECODER.decode(msgspec.msgpack.encode(LogAsk(request=1, attempt=AT, offset=0, size=1 << 30)))
