"""The messages of the calls machine are values: they can be written down, and read again as what they were."""

from __future__ import annotations

import msgspec
import pytest

from worldos.kernel.call_messages import CallSubmitted, DeliverError, Effect, Event, Failure, Loss, SendCall, WorkerLost


@pytest.mark.parametrize(
    "event",
    [CallSubmitted(call=1, retries=0, heavy=True), WorkerLost(worker=3, loss=Loss.OVER_QUOTA, now_ns=5)],
)
def test_an_event_survives_a_journal(event: Event) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=Event) == event


@pytest.mark.parametrize(
    "effect",
    [SendCall(worker=1, call=2, attempt=3), DeliverError(call=1, failure=Failure.NODE_GONE, attempts=0)],
)
def test_an_effect_survives_a_journal(effect: Effect) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(effect), type=Effect) == effect


def test_messages_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        CallSubmitted(call=1).call = 2  # type: ignore[misc]
