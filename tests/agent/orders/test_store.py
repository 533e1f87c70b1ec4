"""Orders about stores: an embedded node has none; a lease of a Store has the depot's door, near and far, and no workers."""

from __future__ import annotations

import pytest
from tests.agent.agents import RunningAgent, until

from worldos.depot.link import StoreLink
from worldos.depot.wire import Who
from worldos.errors import BadRequest, NoCapacity, WorldError
from worldos.sdk import connection
from worldos.sdk.use import use

WAIT_S = 60


@pytest.fixture(autouse=True)
def no_connection_is_left():
    yield
    connection.close()


def granted(agent: RunningAgent) -> list[tuple[str, int, int]]:
    return [(row["kind"], row["amount"], row.get("workers", 0)) for row in agent.ask("leases")["granted"]]


def free(agent: RunningAgent) -> int:
    (row,) = agent.ask("resources", kind="Store")
    return int(row["free"])


def test_an_embedded_node_has_no_stores(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLDOS_HOME", str(tmp_path / "none"))
    with use("CPU", 1) as cpu:
        assert cpu.submit(pow, 2, 3).result(WAIT_S) == 8
        with pytest.raises(WorldError, match="embedded"):
            connection.connection().ask("lend", {"amount_bytes": 1})
        assert connection.connection().ask("stores") == []
        with pytest.raises(NoCapacity), use("Store", "1MB", timeout=5):
            pass


def test_a_lease_of_a_store_takes_room_and_starts_nothing(agent, monkeypatch):
    monkeypatch.setenv("WORLDOS_HOME", str(agent.home.path))
    before = free(agent)
    with use("Store", "1GB"):
        assert granted(agent) == [("Store", 10**9, 0)]
        assert free(agent) <= before - 10**9
        row = agent.ask("stores")[0]
        with StoreLink.open(row["path"], Who(node=row["node"], account=row["account"], rights="own")) as link:
            assert link.have([]).result(WAIT_S) == ()
    until(lambda: not granted(agent), "it was given back")
    until(lambda: free(agent) > before - 10**9, "the room is free again")


def test_more_room_than_there_is_cannot_be_leased(agent, monkeypatch):
    monkeypatch.setenv("WORLDOS_HOME", str(agent.home.path))
    with pytest.raises(NoCapacity), use("Store", "900TB", timeout=5):
        pass


def test_a_lease_of_a_far_store_is_held_and_its_door_knows_the_holder(pair, monkeypatch):
    first, second = pair
    monkeypatch.setenv("WORLDOS_HOME", str(second.home.path))
    there = first.ask("status")["node"]
    with use("Store", "1MB", near=there):
        assert granted(first) == [("Store", 10**6, 0)]
        until(lambda: list((second.home.run_folder / "far").glob("*.sock")), "a door is laid")
        for path in (second.home.run_folder / "far").glob("*.sock"):
            with StoreLink.open(path) as link:
                link.heads().result(WAIT_S)
            liar = Who(node="x", account="y", rights="own")
            with StoreLink.open(path, liar) as link, pytest.raises(WorldError, match=r"first frame|hung up|broke"):
                link.have([]).result(WAIT_S)
    until(lambda: not granted(first), "it was given back")


def test_arguments_that_make_no_sense_are_refused(agent):
    for arguments in ({"amount_bytes": -5}, {"amount_bytes": 1 << 61}, {"amount_bytes": "much"}, {"for_": "all"}):
        with pytest.raises(BadRequest):
            agent.ask("lend", **arguments)
