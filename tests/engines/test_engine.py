"""An engine, from ``use`` to its end: the words, the leases, the processes, and that nothing is left."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.e2e.lab import until
from tests.engines.tiny import engine

from worldos.errors import BadRequest, NoCapacity, WorldError
from worldos.sdk import connection


@pytest.fixture(scope="module", autouse=True)
def _no_agent_is_left() -> Iterator[None]:
    yield
    connection.close()


def asked(address: str, words: bytes) -> bytes:
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), 5) as sock:
        sock.sendall(words)
        return sock.recv(100)


def echoes() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "socketserver" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def leases() -> int:
    return len(connection.connection().ask("leases")["granted"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"cpu": 2}, "Echo knows no word cpu="),
        ({"nodes": "two"}, "nodes='two' is no number"),
        ({"nodes": -1}, "an engine runs on 1 to"),
        ({"cpus": "many"}, "many"),
        ({"memory": "lots"}, "lots"),
    ],
)
@pytest.mark.slow
def test_words_that_cannot_be_understood_are_refused_before_anything_is_leased(words: dict, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        engine.use(None, words)
    assert leases() == 0


@pytest.mark.slow
def test_an_engine_runs_while_its_block_does(tmp_path: Path) -> None:
    left: list[str] = []
    engaged = engine.use(1, {"left": left, "memory": "200MB"})
    with engaged as address:
        assert asked(address, b"quiet") == b"QUIET"
        assert engaged.nodes == (connection.connection().node(),)
        assert engaged.seats[0].memory_bytes == 200_000_000
        assert leases() == 1
        engaged.check()
    until(lambda: not echoes() and leases() == 0, 10, "all of it is gone")
    assert left == [address]
    engaged.close()
    assert left == [address]
    with pytest.raises(OSError, match=r"refused|reset"):
        asked(address, b"anybody?")


@pytest.mark.slow
def test_a_process_that_ends_at_once_is_said_with_its_last_words_and_all_is_given_back() -> None:
    with pytest.raises(WorldError, match=r"echo on .* ended with 1: I cannot"):
        engine.use(1, {"ends": True})
    until(lambda: leases() == 0, 10, "the lease is given back")


@pytest.mark.slow
def test_a_process_that_ends_later_is_found_by_who_checks() -> None:
    with engine.use(1) as address:
        engaged_address = address
        assert asked(engaged_address, b"a") == b"A"
    engaged = engine.use(1)
    try:
        for process in echoes():
            process.send_signal(signal.SIGKILL)
        with pytest.raises(WorldError, match=r"echo on .* ended with"):
            until(lambda: not engaged.check(), 10, "the end is seen")
    finally:
        engaged.close()


@pytest.mark.slow
def test_more_than_there_is_is_refused() -> None:
    with pytest.raises(NoCapacity):
        engine.use(1000)
    with pytest.raises(NoCapacity, match="2 nodes are wanted, 1 have cores free"):
        engine.use(2, {"nodes": 2})


@pytest.mark.slow
def test_an_engine_is_used_by_its_name_in_any_case() -> None:
    import worldos  # noqa: PLC0415

    with pytest.raises(BadRequest, match="Dask knows no word cpu="):
        worldos.use("dask", cpu=3)
    with pytest.raises(BadRequest, match="no name of a database"):
        worldos.use("PostgreSQL", name="Drop Table")
