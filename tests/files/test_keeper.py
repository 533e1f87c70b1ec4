"""The keeper as a process: its door, its end, what it is told; and the rounds of its loops."""

from __future__ import annotations

import contextlib
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from worldos.depot.link import StoreLink
from worldos.depot.wire import Append, Who
from worldos.drivers.store import usage
from worldos.errors import DiskFull, OverQuota, WorldError
from worldos.files.keeper import Later, Rounds
from worldos.home import Home

WHO = Who(node="n", account="a", rights="own")
WAIT_S = 60


def until(condition, what: str):
    end_s = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < end_s, what
        time.sleep(0.01)
    return found


class Keeper:
    """A keeper's process, as its agent sees it."""

    def __init__(self, home: Home) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "worldos.files.keeper", home.path, "n", "a"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        readable, _, _ = select.select([self.process.stdout], [], [], WAIT_S)
        self.line = self.process.stdout.readline().decode().strip() if readable else ""

    def end(self) -> str:
        """Be gone, as an agent is; return what it said on standard error."""
        self.process.stdin.close()
        self.process.wait(WAIT_S)
        said = self.process.stderr.read().decode()
        self.process.stdout.close()
        self.process.stderr.close()
        return said


@contextlib.contextmanager
def keeping(home: Home) -> Iterator[Keeper]:
    keeper = Keeper(home)
    try:
        assert keeper.line == "ready"
        yield keeper
    finally:
        said = keeper.end()
    assert keeper.process.returncode == 0
    assert said == ""


@pytest.fixture
def home() -> Iterator[Home]:
    with tempfile.TemporaryDirectory(prefix="wos-k-") as folder:
        yield Home(Path(folder))


def test_what_one_keeper_took_the_next_one_has(home):
    with keeping(home), StoreLink.open(home.depot_socket, WHO) as link:
        assert home.depot_folder.stat().st_mode & 0o777 == 0o700
        link.put_share(bytes(32), b"x", digests=bytes(32)).result(WAIT_S)
    assert not home.depot_socket.exists()
    with keeping(home), StoreLink.open(home.depot_socket, WHO) as link:
        assert link.get_share(bytes(32)).result(WAIT_S).data == b"x"


def test_a_keeper_ends_cleanly_when_it_is_told_to_and_when_its_agent_is_gone(home):
    for number in (signal.SIGTERM, None):
        keeper = Keeper(home)
        assert keeper.line == "ready"
        if number is not None:
            keeper.process.send_signal(number)
            keeper.process.wait(WAIT_S)
        assert keeper.end() == ""
        assert keeper.process.returncode == 0


def test_a_killed_keeper_loses_nothing_and_makes_room_for_the_next(home):
    keeper = Keeper(home)
    link = StoreLink.open(home.depot_socket, WHO)
    link.put_share(bytes(32), b"x", digests=bytes(32)).result(WAIT_S)
    keeper.process.kill()
    keeper.end()
    link.close()
    with keeping(home), StoreLink.open(home.depot_socket, WHO) as link:
        assert link.get_share(bytes(32)).result(WAIT_S).data == b"x"


def test_the_next_keeper_waits_for_the_one_before(home):
    first = Keeper(home)
    ready = threading.Event()
    second: list[Keeper] = []

    def begin() -> None:
        second.append(Keeper(home))
        ready.set()

    thread = threading.Thread(target=begin)
    thread.start()
    assert not ready.wait(0.5)
    first.end()
    thread.join(WAIT_S)
    assert second[0].line == "ready"
    second[0].end()


def test_what_the_owner_lends_is_followed_at_once(home):
    home.config_file.write_text("store_bytes = 0\n")
    data, digests = bytes(1 << 20), bytes(64 * 32)
    with keeping(home) as keeper, StoreLink.open(home.depot_socket, WHO) as link:
        with pytest.raises((OverQuota, DiskFull)):
            link.put_share(bytes(32), data, digests=digests).result(WAIT_S)
        keeper.process.stdin.write(b"garbage\n100000000\n")
        keeper.process.stdin.flush()
        until(lambda: link.usage().result(WAIT_S).capacity_bytes == 100_000_000, "it was told")
        link.put_share(bytes(32), data, digests=digests).result(WAIT_S)
        until(lambda: usage(str(home.depot_folder)).used_bytes > 1 << 20, "the node's driver is told")


def test_a_depot_that_cannot_be_opened_is_said_in_one_line(home):
    home.depot_folder.write_text("no folder")
    keeper = Keeper(home)
    assert keeper.line.startswith("failed ")
    assert "Traceback" not in keeper.end()
    assert keeper.process.returncode != 0


class Counting:
    """A loop that counts its steps, and fails in one."""

    def __init__(self, error: Exception | None = None) -> None:
        self.steps = 0
        self.error = error

    def step(self, now_ns: int) -> int:
        self.steps += 1
        if self.error is not None and self.steps == 1:
            raise self.error
        return now_ns


def test_loops_walk_side_by_side_and_stop(capsys):
    calm, broken = Counting(), Counting(WorldError("no luck"))
    rounds = Rounds([calm, broken])
    rounds.start()
    until(lambda: calm.steps > 3 and broken.steps == 1, "both walk")
    rounds.stop()
    steps = calm.steps
    assert calm.steps == steps
    assert "Counting: no luck" in capsys.readouterr().err


def test_a_mistake_of_ours_in_one_loop_is_told_and_ends_neither_it_nor_the_others(capsys):
    calm, broken = Counting(), Counting(ZeroDivisionError("a bug"))
    rounds = Rounds([calm, broken])
    rounds.start()
    until(lambda: "a bug" in capsys.readouterr().err, "it is told")
    assert all(thread.is_alive() for thread in rounds._threads)
    rounds.stop()


def test_who_looks_after_files_hears_what_comes_from_then_on():
    later, heard = Later(), []
    request = Append(id=1, entries=())
    later(WHO, request)
    later.heard = lambda who, said: heard.append((who, said))
    later(WHO, request)
    assert heard == [(WHO, request)]
