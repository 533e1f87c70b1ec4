"""Events reach those who wait and those who want to be called, in order."""

from __future__ import annotations

import threading

import pytest
from tests.sdk.waiting import until

from worldos.errors import BadRequest
from worldos.sdk.events import Event, Events


def test_a_callback_hears_its_topic_and_a_star_hears_all() -> None:
    events = Events()
    own: list[Event] = []
    every: list[Event] = []
    events.on("ready", own.append)
    events.on("*", every.append)
    events.tell("lost", why="gone")
    events.tell("ready", workers=2)
    until(lambda: len(every) == 2)
    assert [event.topic for event in every] == ["lost", "ready"]
    assert [event.fields for event in own] == [{"workers": 2}]
    assert [event.number for event in every] == [1, 2]
    events.close()


def test_a_callback_that_fails_does_not_cost_the_next(caplog: pytest.LogCaptureFixture) -> None:
    events = Events()
    heard: list[Event] = []
    events.on("a", lambda _: 1 / 0)
    events.on("a", heard.append)
    events.tell("a")
    until(lambda: heard)
    assert "the callback for 'a' failed" in caplog.text
    events.close()


def test_a_callback_may_wait_for_the_next_event() -> None:
    events = Events()
    seen: list[Event | None] = []
    events.on("first", lambda _: seen.append(events.wait_for("second", 30)))
    events.tell("first")
    until(lambda: events.tell("second") and seen)
    assert seen[0] is not None
    events.close()


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(BadRequest, match="cannot be called"):
        Events().on("a", 3)  # type: ignore[arg-type]


def test_a_condition_is_looked_at_after_each_event() -> None:
    events = Events()
    happened: list[int] = []

    def happen() -> None:
        happened.append(1)
        events.tell("it")

    threading.Timer(0.02, happen).start()
    assert events.wait(lambda: happened, 10)
    assert not events.wait(lambda: False, 0.01)


def test_only_a_new_event_ends_the_wait() -> None:
    events = Events()
    events.tell("old")
    assert events.wait_for("old", 0.01) is None


def test_after_the_end_nothing_is_called_any_more() -> None:
    events = Events()
    heard: list[Event] = []
    events.on("a", heard.append)
    events.close()
    events.tell("a")
    assert events._thread is not None
    events._thread.join(30)
    assert not heard
