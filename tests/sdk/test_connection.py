"""The program's conversation with its agent: shared by threads, not by forked children, and ended aloud."""

from __future__ import annotations

import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.sdk.waiting import program, until

from worldos import BadRequest, LeaseEnded, NoAgent, PeerBroke, Unreachable, use
from worldos.errors import WorldError
from worldos.model.local import Failure
from worldos.sdk import connection
from worldos.sdk.connection import LENGTH, Connection, cut, error_of, program_name


class Liar:
    """A socket where an agent should be, that says what it is told to say."""

    def __init__(self, path: Path, says: bytes) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._says = says
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        sock, _ = self._listener.accept()
        sock.recv(4096)
        sock.sendall(self._says)
        sock.recv(4096)
        sock.close()
        self._listener.close()


def test_threads_that_ask_at_once_get_each_its_own_answer() -> None:
    with ThreadPoolExecutor(4) as threads:
        nodes = list(threads.map(lambda _: connection.connection().ask("status")["node"], range(20)))
    assert set(nodes) == {connection.connection().node()}


def test_threads_that_begin_at_once_share_one_agent() -> None:
    connection.close()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: connection.connection(), range(4)))
    assert len({id(each) for each in found}) == 1


def test_a_question_that_nobody_knows_fails_with_those_there_are() -> None:
    with pytest.raises(BadRequest, match="no order 'dance'") as caught:
        connection.connection().ask("dance")
    assert "status" in caught.value.hint


def test_an_agent_that_dies_ends_every_handle_and_the_next_use_begins_anew() -> None:
    cpu = use("CPU", 1)
    assert cpu.submit(pow, 2, 3).result(60) == 8
    embedded = cpu._holding.connection.embedded
    assert embedded is not None
    os.kill(embedded._child.pid, signal.SIGKILL)
    assert cpu.wait("ended", 20).topic == "ended"
    with pytest.raises(NoAgent, match="has ended"):
        cpu.activate()
    with pytest.raises(WorldError):
        cpu.submit(pow, 2, 3).result(60)
    cpu.close()
    embedded.end()
    with use("CPU", 1) as again:
        assert again.submit(pow, 2, 4).result(60) == 16


@pytest.mark.parametrize("says", [b"\xff" * 4096, LENGTH.pack(3) + b"abc", LENGTH.pack(1 << 31), os.urandom(1 << 16)])
def test_garbage_from_an_agent_ends_the_conversation_aloud(says: bytes, tmp_path: Path) -> None:
    liar = Liar(tmp_path / "a.sock", says)
    talk = Connection(liar.path)
    with pytest.raises((PeerBroke, NoAgent, Unreachable)):
        talk.ask("status", timeout=10)
    talk.close()
    with pytest.raises(WorldError):
        talk.ask("status")


def test_no_agent_and_a_dead_agents_socket_are_the_same(tmp_path: Path) -> None:
    with pytest.raises(NoAgent):
        Connection(tmp_path / "missing.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "dead.sock"))
    listener.close()
    with pytest.raises(NoAgent):
        Connection(tmp_path / "dead.sock")


def test_a_failure_comes_back_as_the_error_that_it_was() -> None:
    error = error_of(Failure(request=1, error="LeaseEnded", message="over", hint="again"))
    assert (type(error), str(error), error.hint) == (LeaseEnded, "over", "again")
    strange = error_of(Failure(request=1, error="Path", message="over", hint=""))
    assert type(strange) is WorldError


def test_messages_are_cut_out_of_the_stream_one_by_one() -> None:
    stream = bytearray(LENGTH.pack(2) + b"ab" + LENGTH.pack(1) + b"c" + LENGTH.pack(9) + b"d")
    assert [cut(stream), cut(stream), cut(stream)] == [b"ab", b"c", None]
    assert len(stream) == LENGTH.size + 1


FORKS = """
import os
from worldos import use
from worldos.errors import WorldError

with use("CPU", 1) as cpu:
    assert cpu.submit(pow, 2, 3).result(60) == 8
    child = os.fork()
    if child == 0:
        try:
            cpu.submit(pow, 2, 3).result(60)
        except WorldError as error:
            print("parent's:", error, flush=True)
        with use("CPU", 0.5) as own:
            print("own:", own.submit(pow, 2, 4).result(60), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print("still:", cpu.submit(pow, 2, 5).result(60))
"""


def test_a_forked_child_cannot_use_what_is_its_parents_but_can_have_its_own(tmp_path: Path) -> None:
    running = program(FORKS, tmp_path)
    said, wrong = running.communicate(timeout=150)
    lines = said.splitlines()
    assert lines[0].startswith("parent's:"), wrong
    assert lines[1:] == ["own: 16", "still: 32"], wrong


def test_waiting_is_over_when_the_conversation_is() -> None:
    talk = connection.connection()
    answers: list[BaseException] = []

    def ask() -> None:
        try:
            talk._question(lambda number: connection.Pause(request=10**9, lease="x", paused=True), 30)  # type: ignore[arg-type]
        except WorldError as error:
            answers.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    until(lambda: talk._questions)
    connection.close()
    thread.join(30)
    assert answers


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["/home/me/train.py", "--secret"], "/home/me/train.py"),
        (["/opt/wos/bin/wos", "engine", "up", "Dask", "--cpus", "4"], "wos engine up Dask"),
        (["wos", "run", "--cpu", "2", "--", "secret"], "wos run"),
        ([], "python"),
        ([""], "python"),
    ],
    ids=range(5),
)
def test_a_program_is_known_by_its_file_and_a_command_by_its_first_words(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], name: str
) -> None:
    monkeypatch.setattr("sys.argv", argv)
    assert program_name() == name
