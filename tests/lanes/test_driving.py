"""A driver behind a lease: verbs in, events out."""

from __future__ import annotations

import os
import pickle
import threading
from typing import Any

import pytest
from harness import Here, eventually

from worldos.errors import BadRequest, NotAllowed
from worldos.lanes import driving


class Lamp:
    """A lane object as any package could bring one."""

    def __init__(self, watts: int) -> None:
        self.watts = watts
        self.answers: list[tuple[int, Any]] = []

    def event(self, emit: Any) -> None:
        self.emit = emit

    def activate(self, **settings: Any) -> str:
        threading.Thread(target=self.emit, args=("warm", self.watts)).start()
        return "on"

    def rest(self) -> None:
        self.watts = 0

    def command(self, name: str, *args: Any) -> Any:
        if name == "ask":
            return self.emit("brighter?", args[0])
        if name == "answers":
            return self.answers
        raise KeyError(name)

    def wait(self, condition: str, timeout_s: float) -> bool:
        return condition == "dark" and self.watts == 0

    def respond(self, event_id: int, answer: Any) -> None:
        self.answers.append((event_id, answer))


def test_the_verbs_reach_the_object_behind_the_lease(here: Here) -> None:
    with here.lane(1, driver="test_driving:Lamp", arguments={"watts": 40}) as lane:
        heard: list[tuple[int, str, Any]] = []
        lane.listen(lambda *event: heard.append(event))
        assert lane.verb("activate").result(15) == "on"
        assert eventually(lambda: heard) == [(1, "warm", 40)]
        assert lane.verb("command", "ask", b"x" * 300).result(15) == 2
        assert eventually(lambda: heard[1:]) == [(2, "brighter?", b"x" * 300)]
        lane.verb("respond", 2, "yes").result(15)
        assert lane.verb("command", "answers").result(15) == [(2, "yes")]
        assert not lane.verb("wait", "dark", 0.1).result(15)
        lane.verb("rest").result(15)
        assert lane.verb("wait", "dark", 0.1).result(15)
        with pytest.raises(KeyError):
            lane.verb("command", "explode").result(15)
        with pytest.raises(BadRequest, match="none of the verbs"):
            lane.verb("__init__", 3).result(15)


def test_a_driver_that_cannot_be_built_says_why_at_each_verb(here: Here) -> None:
    with here.lane(1, driver="test_driving:Lamp", arguments={"volts": 230}) as lane, pytest.raises(TypeError):
        lane.verb("activate").result(15)


def test_a_lease_without_a_driver_says_so(here: Here) -> None:
    with here.lane(1) as lane, pytest.raises(BadRequest, match="no driver"):
        lane.verb("command", "x").result(15)


def test_who_may_only_drive_sends_no_code_of_its_own(here: Here) -> None:
    with here.lane(1, driver="test_driving:Lamp", arguments={"watts": 40}, only_words=True) as lane:
        assert lane.verb("command", "ask", b"x" * 300).result(15) == 1
        assert lane.verb("command", "ask", bytearray(b"x" * 200_000)).result(15) == 2, "as large as it likes"
        assert lane.verb("respond", 1, ({"a": [1.5, None, True]}, "b")).result(15) is None
        with pytest.raises(BadRequest, match=r"leased from others"):
            lane.submit(lambda: 1).result(15)
        with pytest.raises(BadRequest, match=r"os\.system|posix\.system"):
            lane.submit(os.system, "true").result(15)
        with pytest.raises(BadRequest):
            lane.verb("command", "ask", Lamp(1)).result(15)
        assert not lane.verb("wait", "dark", 0.1).result(15), "it goes on"


@pytest.mark.parametrize(
    "sent",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cworldos.lanes.driving\npickle\n.",
        b"cworldos.lanes.driving\nverb.__globals__\n.",
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.",
        b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93.",
        b"\x82\x01.",
        b"Pname\n.",
        b"\x80\x04\x95",
        b"",
    ],
)
def test_no_pickle_brings_anything_but_values_and_the_verb(sent: bytes) -> None:
    with pytest.raises((NotAllowed, pickle.UnpicklingError, EOFError, ValueError)):
        driving.plain(sent)


def test_plain_values_come_as_they_are() -> None:
    for value in (1, 2.5, "a", b"b", None, True, [1, {"a": (2, {3})}], bytearray(b"c"), 1j, range(3)):
        assert driving.plain(pickle.dumps(value, 5)) == value
    assert driving.plain(pickle.dumps(driving.verb)) is driving.verb
