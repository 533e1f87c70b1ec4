"""Doors: knocking, greeting, hanging up, and the verdict; against a worker that this test plays itself."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import eventually

from worldos.kernel.call_messages import Loss
from worldos.lanes import wire
from worldos.lanes.doors import Doors
from worldos.lanes.link import Door, Link
from worldos.lanes.wire import FrameKind


class Owner:
    """Notes what the doors say."""

    def __init__(self) -> None:
        self.said: list[tuple[object, ...]] = []
        self.repeatable = True

    def worker_joined(self, link: Link) -> None:
        self.said.append(("joined", link.number))

    def worker_hung_up(self, link: Link) -> bool:
        self.said.append(("hung up", link.number))
        return self.repeatable

    def worker_lost(self, number: int, loss: Loss, why: str) -> None:
        self.said.append(("lost", number, loss, why))


class Porter:
    """A door, and what a worker behind it would say."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen(4)
        self.guests: list[socket.socket] = []

    def welcome(self, why: str = "", *, over_quota: bool = False) -> None:
        guest, _ = self.socket.accept()
        assert guest.recv(100_000)
        welcome = wire.Welcome(pid=1, memory_bytes=0, why=why, over_quota=over_quota)
        guest.sendall(wire.frame(FrameKind.WELCOME, welcome))
        self.guests.append(guest)

    def close(self) -> None:
        self.socket.close()
        os.unlink(self.path)


@pytest.fixture
def porter(tmp_path: Path) -> Iterator[Porter]:
    made = Porter(tmp_path / "door")
    yield made
    made.socket.close()
    for guest in made.guests:
        guest.close()


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def doors(owner: Owner) -> Iterator[Doors]:
    made = Doors(owner, lambda _link: None)
    yield made
    made.close()


def serve(doors: Doors) -> None:
    """Take in what is there."""
    for link, _event in doors.wait(0.2):
        try:
            frames = link.inbox.receive()
        except (EOFError, ConnectionError):
            doors.hung_up(link)
            continue
        for frame in frames:
            doors.welcomed(link, frame.meta)


def test_a_worker_that_answers_joins(doors: Doors, owner: Owner, porter: Porter) -> None:
    doors.add(Door(path=porter.path))
    doors.add(Door(path=porter.path))
    porter.welcome()
    serve(doors)
    assert owner.said == [("joined", 1)]
    assert len(doors) == len(doors.workers) == 1


@pytest.mark.parametrize(
    ("why", "over_quota", "loss"),
    [
        ("exited with code 3", False, Loss.CRASHED),
        ("took too much", True, Loss.OVER_QUOTA),
        ("", False, Loss.NODE_GONE),
    ],
)
def test_the_successor_says_why(
    doors: Doors, owner: Owner, porter: Porter, why: str, over_quota: bool, loss: Loss
) -> None:
    owner.repeatable = False
    doors.add(Door(path=porter.path))
    porter.welcome()
    serve(doors)
    porter.guests.pop().close()
    serve(doors)
    assert owner.said[1:] == [("hung up", 1)]
    porter.welcome(why, over_quota=over_quota)
    serve(doors)
    assert owner.said[2:] == [("lost", 1, loss, why or "hung up"), ("joined", 2)]


def test_without_a_successor_the_verdict_comes_by_itself(doors: Doors, owner: Owner, porter: Porter) -> None:
    doors.add(Door(path=porter.path))
    porter.welcome()
    serve(doors)
    porter.guests.pop().close()
    serve(doors)
    now_s = time.monotonic()
    doors.attend(now_s)
    assert owner.said[1:] == [("hung up", 1)]
    doors.attend(now_s + 1)
    assert owner.said[2:] == [("lost", 1, Loss.CRASHED, "ended")]


def test_a_closed_door_is_given_up(doors: Doors, owner: Owner, porter: Porter, tmp_path: Path) -> None:
    doors.add(Door(path=str(tmp_path / "nowhere")))
    assert owner.said[0][:3] == ("lost", 0, Loss.NODE_GONE)
    doors.add(Door(path=porter.path))
    porter.welcome()
    serve(doors)
    porter.close()
    porter.guests.pop().close()
    serve(doors)
    assert [words[0] for words in owner.said[1:]] == ["joined", "hung up", "lost"]
    assert len(doors) == 0


def test_a_full_door_is_knocked_at_again(doors: Doors, owner: Owner, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as full:
        full.bind(str(tmp_path / "full"))
        full.listen(0)
        crowd = []
        for _ in range(3):
            guest = socket.socket(socket.AF_UNIX)
            guest.setblocking(False)
            guest.connect_ex(str(tmp_path / "full"))
            crowd.append(guest)
        doors.add(Door(path=str(tmp_path / "full")))
        assert not doors.links
        full.accept()[0].close()
        assert eventually(lambda: (doors.attend(time.monotonic()), doors.links)[1], 2)
        for guest in crowd:
            guest.close()


def test_losing_a_door_for_good_says_so_once(doors: Doors, owner: Owner, porter: Porter) -> None:
    doors.add(Door(path=porter.path))
    porter.welcome()
    serve(doors)
    doors.lose(porter.path, "its lease ended")
    doors.lose(porter.path, "its lease ended")
    assert owner.said[1:] == [("lost", 1, Loss.NODE_GONE, "its lease ended")]
    assert not doors.links


def test_what_a_worker_does_not_take_yet_is_sent_later(doors: Doors, porter: Porter) -> None:
    doors.add(Door(path=porter.path))
    porter.welcome()
    serve(doors)
    link = doors.workers[1]
    body = os.urandom(2_000_000)
    link.put(FrameKind.STDIN, None, body)
    doors.later(link)
    doors.flush_all()
    assert link.blocked
    got = b""
    while len(got) < len(body):
        got += porter.guests[0].recv(1_000_000)
        for waiting, _event in doors.wait(0.05):
            doors.flush(waiting)
    assert got.endswith(body[-100:])
    assert not link.blocked
