"""A worker as it speaks on its socket, byte by byte: what it answers, and what it does not put up with."""

from __future__ import annotations

import pickle
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Here

from worldos.lanes import wire
from worldos.lanes.host import WorkerDoor
from worldos.lanes.wire import Frame, FrameKind, Status


class Wire:
    """A holder that says what the test wants."""

    def __init__(self, door: WorkerDoor) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(door.path)
        self.sock.settimeout(30)
        self.inbox = wire.Inbox(self.sock, takes_fds=True, data_bytes_max=1 << 40)
        self.frames: list[Frame] = []

    def say(self, kind: FrameKind, meta: object, data: bytes = b"") -> None:
        self.sock.sendall(wire.frame(kind, meta, len(data)) + data)

    def hear(self) -> Frame:
        while not self.frames:
            self.frames.extend(self.inbox.receive())
        return self.frames.pop(0)

    def ended(self) -> bool:
        try:
            while True:
                self.hear()
        except (EOFError, ConnectionError):
            return True

    def greet(self, **changes: Any) -> Frame:
        words = {"version": wire.VERSION, "python": sys.version_info[:2], **changes}
        self.say(FrameKind.HELLO, wire.Hello(**words))
        return self.hear()


@pytest.fixture
def talk(here: Here) -> Iterator[Wire]:
    _lease, doors = here.open(workers=1, memory_bytes=500_000_000)
    made = Wire(doors[0])
    yield made
    made.sock.close()


def arguments(*args: object) -> bytes:
    return pickle.dumps((args, {}))


def test_it_greets_with_what_it_has(talk: Wire) -> None:
    welcome = talk.greet().meta
    assert welcome.memory_bytes == 500_000_000
    assert welcome.why == ""


@pytest.mark.parametrize(
    ("changes", "says"), [({"version": 99}, "version 99"), ({"python": (2, 7)}, "functions of Python 2.7")]
)
def test_it_refuses_a_holder_that_it_could_not_serve(talk: Wire, changes: dict[str, Any], says: str) -> None:
    answer = talk.greet(**changes)
    assert answer.kind == FrameKind.REFUSED
    assert says in answer.meta
    assert talk.ended()


def test_it_runs_calls_in_order_and_answers_together(talk: Wire) -> None:
    talk.greet()
    talk.say(FrameKind.FUNCTION, 1, pickle.dumps(pow))
    talk.say(FrameKind.CALLS, [(n, 1, arguments(n, 2)) for n in range(5)])
    results: list[Any] = []
    while len(results) < 5:
        results.extend(talk.hear().meta[1])
    assert [(call, status, pickle.loads(data)) for call, status, data in results] == [
        (n, Status.RETURNED, n * n) for n in range(5)
    ]


def test_a_function_that_never_came_or_cannot_be_loaded_is_an_error_of_its_calls(talk: Wire) -> None:
    talk.greet()
    talk.say(FrameKind.FUNCTION, 1, b"cno_such_module\nf\n.")
    talk.say(FrameKind.CALLS, [(1, 1, arguments()), (2, 9, arguments())])
    results: list[Any] = []
    while len(results) < 2:
        results.extend(talk.hear().meta[1])
    assert [status for _call, status, _data in results] == [Status.UNREADABLE] * 2
    assert isinstance(pickle.loads(results[0][2])[0], ModuleNotFoundError)


def test_a_forgotten_function_is_gone(talk: Wire) -> None:
    talk.greet()
    talk.say(FrameKind.FUNCTION, 1, pickle.dumps(abs))
    talk.say(FrameKind.FORGET, [1])
    talk.say(FrameKind.CALLS, [(1, 1, arguments(-1))])
    assert talk.hear().meta[1][0][1] == Status.UNREADABLE


def test_it_gives_back_what_it_has_not_begun_and_only_that(talk: Wire) -> None:
    talk.greet()
    talk.say(FrameKind.FUNCTION, 1, pickle.dumps(__import__("time").sleep))
    talk.say(FrameKind.CALLS, [(1, 1, arguments(0.2)), (2, 1, arguments(0.0)), (3, 1, arguments(0.0))])
    talk.say(FrameKind.REVOKE, [1, 3, 77])
    frames = [talk.hear(), talk.hear()]
    while not any(call == 2 for f in frames if f.kind == FrameKind.RESULTS for call, _status, _data in f.meta[1]):
        frames.append(talk.hear())
    revoked = [call for f in frames if f.kind == FrameKind.REVOKED for call in f.meta]
    answered = [call for f in frames if f.kind == FrameKind.RESULTS for call, _status, _data in f.meta[1]]
    assert sorted(revoked + answered) == [1, 2, 3], "each once"
    assert 3 in revoked
    assert 2 in answered


@pytest.mark.parametrize(
    "nonsense",
    [
        wire.frame(FrameKind.RESULTS, (0, [])),
        wire.frame(FrameKind.CALL, wire.Call(call=1, function=1, places=[(4, 0, 100)])),
        wire.frame(FrameKind.CALL, wire.Call(call=1, function=1, places=[(0, 0, 100)])),
        wire.frame(FrameKind.SEGMENT, (1, 4096)),
        b"\xff" * 100,
    ],
)
def test_it_ends_with_a_holder_that_talks_nonsense_and_another_takes_its_place(here: Here, nonsense: bytes) -> None:
    lease, doors = here.open(workers=1)
    talk = Wire(doors[0])
    talk.greet()
    talk.sock.sendall(nonsense)
    assert talk.ended()
    again = Wire(doors[0])
    assert again.greet().kind == FrameKind.WELCOME
    talk.sock.close()
    again.sock.close()
    here.do(here.host.close_lease(lease))
