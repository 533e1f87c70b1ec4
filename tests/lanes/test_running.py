"""A command in a worker, spoken to byte by byte: what it forwards, and what it refuses."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from harness import Here, alive, eventually
from test_worker import Wire

from worldos.lanes import wire
from worldos.lanes.wire import FrameKind


@pytest.fixture
def talk(here: Here) -> Iterator[Wire]:
    _lease, doors = here.open(workers=1)
    made = Wire(doors[0])
    made.greet()
    yield made
    made.sock.close()


def start(talk: Wire, *argv: str, results: bool = False) -> None:
    talk.say(FrameKind.EXEC, wire.Exec(argv=list(argv), results=results, env={"COLOUR": "green"}))


def heard(talk: Wire, kind: FrameKind) -> bytes:
    """Return the data of the next frame of a kind."""
    while (frame := talk.hear()).kind != kind:
        pass
    return bytes(frame.data)


def ended(talk: Wire) -> tuple[int, str]:
    while (frame := talk.hear()).kind != FrameKind.EXITED:
        pass
    code, why = frame.meta
    return code, why


def test_it_has_the_environment_and_input_of_its_holder(talk: Wire) -> None:
    start(talk, "sh", "-c", "read line; echo $COLOUR $line")
    talk.say(FrameKind.STDIN, None, b"grass\n")
    assert heard(talk, FrameKind.STDOUT) == b"green grass\n"
    assert ended(talk) == (0, "")


def test_the_end_of_input_is_passed_on(talk: Wire) -> None:
    start(talk, "wc", "-c")
    talk.say(FrameKind.STDIN, None, b"12345")
    talk.say(FrameKind.STDIN, None)
    assert heard(talk, FrameKind.STDOUT).strip() == b"5"


def test_signals_reach_the_whole_group(talk: Wire) -> None:
    start(talk, "sh", "-c", "sleep 100 & echo $!; wait")
    child = int(heard(talk, FrameKind.STDOUT))
    talk.say(FrameKind.SIGNAL, int(signal.SIGTERM))
    assert ended(talk)[0] == 128 + signal.SIGTERM
    assert eventually(lambda: not alive(child))


def test_a_command_that_reads_nothing_does_not_stop_the_conversation(talk: Wire) -> None:
    start(talk, "sh", "-c", "sleep 0.3; echo done")
    for _ in range(20):
        talk.say(FrameKind.STDIN, None, bytes(10_000))
    assert heard(talk, FrameKind.STDOUT) == b"done\n"
    assert ended(talk)[0] == 0


@pytest.mark.parametrize(
    "nonsense",
    [
        wire.frame(FrameKind.SIGNAL, int(signal.SIGSTOP)),
        wire.frame(FrameKind.SIGNAL, 999),
        wire.frame(FrameKind.FORGET, [1]),
    ],
)
def test_nonsense_while_it_runs_ends_it(talk: Wire, nonsense: bytes) -> None:
    start(talk, "sh", "-c", "echo $$; sleep 100")
    pid = int(heard(talk, FrameKind.STDOUT))
    talk.sock.sendall(nonsense)
    assert ended(talk)[0] == 126
    assert eventually(lambda: not alive(pid))


def test_files_that_would_land_outside_are_refused(talk: Wire) -> None:
    talk.say(FrameKind.INPUT, None, b"this is no tar stream" * 1000)
    talk.say(FrameKind.INPUT, None)
    code, why = ended(talk)
    assert code == 126
    assert "damaged" in why


def test_an_empty_command_is_refused(talk: Wire) -> None:
    start(talk)
    assert ended(talk) == (126, "an empty command")
