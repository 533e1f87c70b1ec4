"""The six verbs reach the object behind the lease, and its errors come back as they are."""

from __future__ import annotations

import pytest

from worldos import BadRequest, use
from worldos.sdk.events import Event


def test_settings_go_along_with_activate() -> None:
    with use("Network", "80Mbps", to="me") as way:
        way.activate(keep=False)
        way.send(b"x" * 1000)
        assert way.usage().arrived_bytes == 1000
        assert way.receive() == b""
        with pytest.raises(BadRequest, match="no setting"):
            way.activate(colour="red")


def test_rest_lets_go_and_a_command_wakes_it_up() -> None:
    with use("Storage", "1MB") as disk:
        file = disk.open("a", "wb")
        raw = file.raw  # type: ignore[attr-defined]
        raw.write(b"x")
        assert disk.rest() is disk
        with pytest.raises(BadRequest):
            raw.write(b"y")
        assert [entry.size for entry in disk.list()] == [1]


def test_what_a_driver_does_not_know_names_what_it_knows() -> None:
    with use("Memory", "1MB") as memory:
        with pytest.raises(BadRequest, match="has no command 'dance'") as caught:
            memory.command("dance")
        assert "put" in caught.value.hint
        with pytest.raises(BadRequest, match="has no condition"):
            memory.wait("full", 1)
        with pytest.raises(BadRequest, match="asked nothing"):
            memory.respond(Event("question", 1, {"id": 7}, asks=True), "yes")


def test_what_every_handle_knows_works_here_too() -> None:
    with use("Memory", "1MB") as memory:
        assert memory.wait(lambda: memory.leases, 10)
        with pytest.raises(TimeoutError):
            memory.wait("lease lost", 0.01)
        memory.event("noise", lambda _: None)
        memory.put("a", b"1")
        assert memory.kind == "Memory"
        assert memory.statistics().leases == 1
