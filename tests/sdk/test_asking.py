"""A command's conversation with an agent: questions, what is said on the way, and an agent that is not there or ends."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, framed, new_home, running

from worldos.errors import BadRequest, NoAgent, NotAllowed, PeerBroke, Unreachable, WorldError
from worldos.home import Home
from worldos.sdk.asking import Asking


@pytest.fixture(scope="module")
def agent() -> Iterator[RunningAgent]:
    with tempfile.TemporaryDirectory(prefix="wos-k-") as folder, running(new_home(Path(folder) / "desk")) as agent:
        yield agent


@pytest.fixture
def home() -> Iterator[Home]:
    with tempfile.TemporaryDirectory(prefix="wos-k-") as folder:
        yield Home(Path(folder))


class Odd:
    """Something that listens at a home's socket and is no agent: it says these bytes, and hangs up or not."""

    def __init__(self, home: Home, said: bytes, *, hangs_up: bool = True) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(home.socket_file))
        self._listener.listen()
        self._said, self._hangs_up = said, hangs_up
        self._kept: list[socket.socket] = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        taken, _ = self._listener.accept()
        taken.recv(65536)
        taken.sendall(self._said)
        if self._hangs_up:
            taken.shutdown(socket.SHUT_RDWR)
            taken.close()
        self._kept.append(taken)


def test_questions_are_answered_in_turn(agent: RunningAgent) -> None:
    with Asking(agent.home) as asking:
        assert asking.ask("status")["name"] == "desk"
        with pytest.raises(BadRequest, match="no order"):
            asking.ask("dance")
        assert asking.ask("leases") == {"granted": [], "held": []}


def test_what_is_said_on_the_way_is_heard(agent: RunningAgent) -> None:
    heard: list[str] = []
    with Asking(agent.home) as asking, pytest.raises(NotAllowed, match="in time"):
        asking.ask("invite", progress=heard.extend, life_s=1)
    assert "ticket" in heard


def test_an_answer_that_does_not_come_is_not_waited_for(agent: RunningAgent) -> None:
    with Asking(agent.home) as asking, pytest.raises(Unreachable, match="does not answer") as caught:
        asking.ask("invite", life_s=600, timeout_s=0.2)
    assert "wos log" in caught.value.hint


def test_what_happens_is_watched_until_someone_hangs_up(agent: RunningAgent) -> None:
    seen: list[str] = []
    ended: list[WorldError] = []
    asking = Asking(agent.home)

    def watch() -> None:
        try:
            for notice in asking.watch():
                seen.append(notice.name)
                asking.close()
        except WorldError as error:
            ended.append(error)

    thread = threading.Thread(target=watch)
    thread.start()
    while not seen and thread.is_alive():
        for drained in (True, False):
            agent.ask("drain", drained=drained)
    thread.join(30)
    assert seen
    assert isinstance(ended[0], NoAgent)


def test_where_nobody_listens_there_is_no_agent(home: Home) -> None:
    with pytest.raises(NoAgent):
        Asking(home)
    home.socket_file.touch()
    with pytest.raises(NoAgent):
        Asking(home)


@pytest.mark.parametrize(
    ("said", "error"),
    [(b"", NoAgent), (framed(b"\xc1"), PeerBroke), (framed(b"hello"), PeerBroke), (b"\x05\x00\x00\x00ab", NoAgent)],
)
def test_what_is_no_agent_is_no_trap(home: Home, said: bytes, error: type[WorldError]) -> None:
    Odd(home, said)
    with pytest.raises(error), Asking(home) as asking:
        asking.ask("status", timeout_s=5)


def test_what_was_said_before_hanging_up_is_still_heard(home: Home) -> None:
    odd = Odd(home, framed(b"\xc1"))
    with Asking(home) as asking:
        odd.thread.join(30)
        with pytest.raises(PeerBroke):
            asking.ask("status", timeout_s=5)


def test_a_name_that_is_no_utf_8_is_refused_before_it_is_sent(agent: RunningAgent) -> None:
    with Asking(agent.home) as asking:
        with pytest.raises(BadRequest, match="not UTF-8"):
            asking.ask("resource", id="caf\udce9")
        assert asking.ask("status")["name"] == "desk"
