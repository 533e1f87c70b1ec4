"""Doors to workers on another node: only the holder of a live lease comes in, and the sockets go with the lease."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path

import msgspec
import pytest
from tests.agent.agents import RunningAgent, raw, until

from worldos.agent.doors import DoorHello, FarDoors, NearDoors
from worldos.errors import NodeGone
from worldos.fabric.channel import Channel, Receiver
from worldos.model.ids import LeaseId, NodeId
from worldos.sdk import connection
from worldos.sdk.use import use

Pair = tuple[RunningAgent, RunningAgent]


def test_a_call_reaches_a_worker_on_the_other_node_and_leaves_nothing(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = pair
    monkeypatch.setenv("WORLDOS_HOME", str(second.home.path))
    far = second.home.run_folder / "far"
    before = set(far.glob("*.sock"))  # the ways to depots stay
    try:
        with use("CPU", 1, where=f"node == '{first.ask('status')['node']}'") as cpu:
            assert cpu.submit(pow, 2, 10).result(60) == 1024
            (path,) = set(far.glob("*.sock")) - before
            assert path.stat().st_mode & 0o777 == 0o600
            with (
                raw(path) as sock,
                contextlib.suppress(OSError),
            ):  # a stranger to the lane's language, at the worker's door
                sock.sendall(random.Random(3).randbytes(1 << 20))
            assert cpu.submit(pow, 3, 3).result(60) == 27
        until(lambda: set(far.glob("*.sock")) <= before, "its sockets are gone")
        until(lambda: not first.ask("leases")["granted"], "its lease is back")
    finally:
        connection.close()


class NoWay:
    """A fabric whose node is no member any more."""

    def open_channel(self, node: NodeId, hello: bytes, receiver: Receiver, priority: int = 1) -> Channel:
        raise NodeGone("no member")


def test_a_door_to_a_node_that_is_gone_closes_at_once(folder: Path) -> None:
    async def story() -> None:
        doors = FarDoors(folder / "far", NoWay())
        doors.make_folder()
        (path,) = await doors.open(LeaseId("l1"), NodeId("n"), 1)
        opened.append(path)
        assert await doors.open(LeaseId("l1"), NodeId("n"), 1) == (path,)
        reader, writer = await asyncio.open_unix_connection(path)
        assert await asyncio.wait_for(reader.read(), 15) == b""
        writer.close()
        doors.keep(())

    opened: list[str] = []
    asyncio.run(story())
    assert not Path(opened[0]).exists()


def test_sockets_of_a_killed_agent_are_cleared(folder: Path) -> None:
    (folder / "far").mkdir()
    (folder / "far" / "f1.sock").touch()
    FarDoors(folder / "far", NoWay()).make_folder()
    assert not list((folder / "far").iterdir())


class Knocker:
    """The end of a channel, as a door sees it."""

    def __init__(self) -> None:
        self.refused = ""

    def refuse(self, reason: str) -> None:
        self.refused = reason


@pytest.mark.parametrize("hello", [b"", b"\xc1", b"\x80", b"x" * 5000])
def test_a_hello_that_is_none_is_refused(hello: bytes) -> None:
    async def never(lease: LeaseId, worker: int) -> str:
        raise AssertionError

    knocker = Knocker()
    NearDoors(lambda lease, node: True, never).on_channel(NodeId("n"), knocker, hello)  # type: ignore[arg-type]
    assert knocker.refused == "that is no lane"


def test_who_does_not_hold_the_lease_stays_outside() -> None:
    async def never(lease: LeaseId, worker: int) -> str:
        raise AssertionError

    knocker = Knocker()
    hello = msgspec.msgpack.encode(DoorHello(LeaseId("l1"), 0))
    NearDoors(lambda lease, node: False, never).on_channel(NodeId("n"), knocker, hello)  # type: ignore[arg-type]
    assert "no such lease" in knocker.refused
