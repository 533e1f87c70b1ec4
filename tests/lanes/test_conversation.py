"""One connection to a worker: its turns, what wakes them, and what comes of a worker that ends."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator

import pytest
from harness import Here

from worldos.errors import NodeGone, WorkerLost
from worldos.lanes import wire
from worldos.lanes.client import Door
from worldos.lanes.conversation import Conversation
from worldos.lanes.wire import FrameKind


@pytest.fixture
def talk(here: Here) -> Iterator[Conversation]:
    _lease, doors = here.open(workers=1)
    with contextlib.closing(Conversation(Door(path=doors[0].path))) as talk:
        yield talk


def execute(talk: Conversation, *argv: str) -> None:
    talk.link.put(FrameKind.EXEC, wire.Exec(argv=list(argv), env={}, results=False))
    talk.link.put(FrameKind.STDIN, None)


def turn_to_the_end(talk: Conversation) -> None:
    while True:
        talk.turn(10.0)


def test_frames_come_by_turns_and_are_taken_once(talk: Conversation) -> None:
    execute(talk, "true")
    kinds: list[int] = []
    while FrameKind.EXITED not in kinds:
        talk.turn(10.0)
        kinds += [frame.kind for frame in talk.taken()]
    assert talk.taken() == []


def test_another_thread_wakes_a_turn_that_has_nothing_to_wait_for(talk: Conversation) -> None:
    threading.Timer(0.05, talk.wake).start()
    began_s = time.monotonic()
    talk.turn(30.0)
    assert time.monotonic() - began_s < 20
    assert talk.taken() == []


def test_a_file_that_is_watched_ends_a_turn_until_it_is_watched_no_more(talk: Conversation) -> None:
    out, into = os.pipe()
    read: list[bytes] = []
    talk.watch(out, lambda: read.append(os.read(out, 10)))
    os.write(into, b"x")
    talk.turn(10.0)
    talk.unwatch(out)
    os.write(into, b"y")
    talk.turn(0.0)
    os.close(out)
    os.close(into)
    assert read == [b"x"]


def test_a_worker_that_ends_is_told_as_what_it_was(talk: Conversation) -> None:
    execute(talk, "sh", "-c", "kill -9 $PPID; sleep 5")
    with pytest.raises(WorkerLost):
        turn_to_the_end(talk)


def test_where_no_worker_is_there_is_no_conversation(tmp_path: object) -> None:
    with pytest.raises(NodeGone, match="cannot be reached"):
        Conversation(Door(path=f"{tmp_path}/none.sock"))
