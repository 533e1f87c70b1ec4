"""PostgreSQL's own log: what is kept of a server is what the next one begins from, when the first was killed in the middle."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.files.depots import files_of, site
from tests.patience import until

from worldos.engines import environment, postgresql, postgresql_log, tender
from worldos.engines.archive import Archive, find
from worldos.engines.cluster import Cluster
from worldos.engines.plan import Seat
from worldos.engines.postgresql_log import ServerLog
from worldos.errors import PeerBroke, WorldError
from worldos.files.files import Files
from worldos.home import Home

SOFTWARE = postgresql.engine.software({})
INSTALLED = environment.find(SOFTWARE, Home(Path("/no/such/home"))) is not None
MANIFEST = '{"WAL-Ranges": [{"Timeline": %d, "Start-LSN": "%s", "End-LSN": "0/2000100"}]}'


class Here:
    """A lease whose tender is in this process, in the working folder of now."""

    kind = "CPU"
    nodes = ("here",)

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args))
        except WorldError as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Nothing was leased."""


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    with site(2) as stores, files_of(stores, tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Cluster]]:
    """Machines one after the other: each a folder of its own, and a tender in it."""
    begun = ExitStack()

    def begin() -> Cluster:
        monkeypatch.chdir(begun.enter_context(tempfile.TemporaryDirectory(prefix="wos-g-")))
        monkeypatch.setattr(tender, "_tenders", [])
        begun.callback(tender._tender().end, 0.0)
        cluster = Cluster([Here()], "here", lambda _: None)  # type: ignore[list-item]
        cluster.prepare(SOFTWARE)
        (port,) = tender.free_ports(1)
        cluster.seats = (Seat(index=0, node="here", address="127.0.0.1", milli_cpu=1000, ports=(port,)),)
        return cluster

    with begun:
        yield begin


def env(cluster: Cluster) -> dict[str, str]:
    port = str(cluster.seats[0].ports[0])
    return {"PGHOST": "{work}", "PGPORT": port, "PGUSER": postgresql.USER, "PGPASSWORD": "secret"}


def connect(cluster: Cluster) -> psycopg.Connection[Any]:
    port = cluster.seats[0].ports[0]
    return psycopg.connect(f"postgresql://wos:secret@127.0.0.1:{port}/postgres", autocommit=True)


def kill_all() -> None:
    for each in tender._tender()._tended.values():
        os.killpg(each.popen.pid, signal.SIGKILL)
        each.popen.wait()


@pytest.mark.slow
@pytest.mark.skipif(not INSTALLED, reason="PostgreSQL is not installed")
def test_what_was_kept_of_a_server_that_was_killed_is_there_on_the_next(
    files: Files, fresh: Callable[[], Cluster]
) -> None:
    first = fresh()
    first.begin({0: [postgresql.server(first.seats[0], "secret", fresh=True)]})
    log = ServerLog(first, env(first), 15, "secret")
    kept = Archive("shop", files, log, lambda _: None)
    with connect(first) as database:
        database.execute("create table t as select n from generate_series(1, 1000) n")
        kept.beat()
        database.execute("insert into t select n from generate_series(1, 5000) n")
        database.execute("select pg_switch_wal()")  # the segment is whole, and the next one begins
        database.execute("insert into t select n from generate_series(1, 70) n")
        database.execute("create table said as select 'the last words' as words")  # after all that is committed
        until(lambda: (kept.beat(), b"the last words" in kept._tail)[1], "the log is kept to its end")
    kill_all()

    left = find(files, "shop")
    assert left is not None
    assert len(left.front.pieces) > 1
    second = fresh()
    postgresql_log.restore(second, left)
    second.begin({0: [postgresql.server(second.seats[0], left.front.password, fresh=False)]})
    with connect(second) as database:
        assert database.execute("select count(*) from t").fetchone() == (6070,)
        database.execute("insert into t values (1)")  # it is written on


def test_a_manifest_of_a_base_says_which_log_it_needs() -> None:
    said = MANIFEST % (1, "0/2000028")
    assert postgresql_log._range(said.encode()) == (0x2000028, 0x2000100)
    for broken in (MANIFEST % (2, "0/2000028"), MANIFEST % (1, "here"), '{"WAL-Ranges": []}', "{", ""):
        with pytest.raises(PeerBroke):
            postgresql_log._range(broken.encode())
