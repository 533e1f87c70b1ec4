"""What every handle does: the six verbs, and giving itself back however it is left."""

from __future__ import annotations

import gc
import threading
import time

import pytest
from tests.sdk.waiting import until

from worldos import BadRequest, LeaseEnded, use
from worldos.sdk import connection
from worldos.sdk.compute import Cpu
from worldos.sdk.events import Event


def held() -> int:
    return len(connection.connection().ask("leases")["held"])


def test_a_handle_says_what_it_is() -> None:
    with use("CPU", 1) as cpu:
        cpu.activate()
        assert "1 core" in repr(cpu)
        assert cpu.submit(pow, 2, 3).result(60) == 8
        about = cpu.statistics()
        assert (about.kind, about.amount, about.leases, about.nodes) == ("CPU", 1000, 1, 1)
        assert (about.submitted, about.delivered, about.open_calls) == (1, 1, 0)
    assert "closed" in repr(cpu)


def test_rest_stops_the_workers_and_activate_lets_them_go_on() -> None:
    with use("CPU", 1) as cpu:
        assert cpu.submit(pow, 2, 3).result(60) == 8
        assert cpu.rest() is cpu
        later = cpu.submit(pow, 2, 4)
        with pytest.raises(TimeoutError):
            later.result(0.2)
        assert cpu.activate() is cpu
        assert later.result(60) == 16


def test_wait_waits_for_a_future_a_condition_or_an_event() -> None:
    with use("CPU", 1) as cpu:
        assert cpu.wait(cpu.submit(pow, 2, 3), 20) == 8
        assert cpu.wait(lambda: cpu.statistics().delivered == 1, 20) is True
        with pytest.raises(TimeoutError):
            cpu.wait(lambda: False, 0.01)
        with pytest.raises(TimeoutError):
            cpu.wait("lease lost", 0.01)
        with pytest.raises(BadRequest, match="nothing to wait for"):
            cpu.wait(5)  # type: ignore[arg-type]


def test_events_tell_when_the_workers_can_be_reached() -> None:
    heard: list[Event] = []
    with use("CPU", 1) as cpu:
        cpu.event("*", heard.append)
        cpu._part.events.tell("ready", workers=1)
        until(lambda: any(event.topic == "ready" for event in heard))


def test_an_answer_to_a_loss_may_be_to_give_up() -> None:
    with use("CPU", 1) as cpu:
        asked = Event("lease lost", 1, {}, asks=True)
        cpu.respond(asked, "go on")
        assert not cpu.closed
        with pytest.raises(BadRequest, match="is no answer"):
            cpu.respond(asked, "dance")
        with pytest.raises(BadRequest, match="does not ask"):
            cpu.respond(Event("ready", 2), "go on")
        cpu.respond(asked, "give up")
        assert cpu.closed


def drop(handle: Cpu) -> None:
    del handle
    gc.collect()


def test_a_handle_that_is_dropped_warns_and_gives_its_lease_back() -> None:
    before = held()
    with pytest.warns(ResourceWarning, match="never closed"):
        drop(use("CPU", 1))
    until(lambda: held() == before)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_handles_may_be_collected_in_the_middle_of_anything() -> None:
    before = held()
    for _ in range(20):
        cycle: list[object] = [use("CPU", 0.1)]
        cycle.append(cycle)
        del cycle
        gc.set_threshold(1)  # from now on the collector runs wherever it can, inside our own locks too
        try:
            connection.connection().ask("devices")
        finally:
            gc.set_threshold(700, 10, 10)
    gc.collect()
    until(lambda: held() == before)


def test_after_the_end_each_verb_says_so() -> None:
    with use("CPU", 1) as cpu:
        pass
    for verb in (cpu.activate, cpu.rest, lambda: cpu.wait(lambda: True)):
        with pytest.raises(LeaseEnded, match="given back"):
            verb()
    cpu.close()


def test_a_handle_cannot_be_sent_away() -> None:
    with use("CPU", 1) as cpu, pytest.raises(BadRequest, match="belongs to its program"):
        cpu.submit(repr, cpu).result(60)


def test_closing_stops_what_runs() -> None:
    cpu = use("CPU", 1)
    running = cpu.submit(time.sleep, 600)
    cpu.wait(running.running, 20)
    threading.Timer(0.02, cpu.close).start()
    with pytest.raises(LeaseEnded):
        running.result(60)
