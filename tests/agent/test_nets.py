"""The door of networks: it joins a helper to its lease's holder and to its mates, and to nobody else."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from tests.agent.agents import RunningAgent, framed, heard, raw
from tests.agent.agents import until as eventually

from worldos.agent import nets
from worldos.agent.nets import NetHello, Nets
from worldos.fabric.channel import Channel, Receiver
from worldos.lanes import net_wire
from worldos.lanes.net_wire import Call, Enter, Joined, Mate, Met, Shut, Wait, WaitForMates, Word
from worldos.model.ids import LeaseId, NodeId
from worldos.sdk import connection
from worldos.sdk.private_net import PrivateNet
from worldos.sdk.use import need, use

Pair = tuple[RunningAgent, RunningAgent]
HERE, THERE = NodeId("here"), NodeId("there")
ONE, OTHER, FAR = LeaseId("one"), LeaseId("other"), LeaseId("far")
NET = b"n" * 16


class NoWay:
    """A fabric whose far ends take nothing."""

    def open_channel(self, node: NodeId, hello: bytes, receiver: Receiver, priority: int = 1) -> Channel:
        raise nets.Unreachable(f"no link to {node}")


class Knocker:
    """The end of a channel, as a door sees it."""

    def __init__(self) -> None:
        self.refused = asyncio.Event()
        self.why = ""

    def refuse(self, reason: str) -> None:
        self.why = reason
        self.refused.set()


def key(door: Nets, lease: LeaseId, *, holder: bool = False) -> bytes:
    return bytes.fromhex(door.way(lease)["key"] if holder else door.environ(lease)[net_wire.KEY_NAME])


async def said(door: Nets, word: Word) -> tuple[socket.socket, net_wire.Reply]:
    return await asyncio.to_thread(net_wire.ask, str(door.path), word, 5)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 - nothing tells: the door is another task
            await asyncio.sleep(0)


def at_a_door(folder: Path, story: Callable[[Nets], Awaitable[None]]) -> None:
    held = {
        ONE: SimpleNamespace(terms=SimpleNamespace(node=HERE)),
        FAR: SimpleNamespace(terms=SimpleNamespace(node=THERE)),
    }
    node = SimpleNamespace(
        node=HERE,
        leases=SimpleNamespace(leases={ONE: None}, is_live=lambda lease, peer: (lease, peer) == (ONE, THERE)),
        uses=SimpleNamespace(held=SimpleNamespace(leases=held)),
    )

    async def lived() -> None:
        door = Nets(folder / "net", node)  # type: ignore[arg-type] # what it asks of a node, and no more
        await door.start(NoWay())
        try:
            await story(door)
        finally:
            await door.close()
        assert not door.path.exists()

    asyncio.run(lived())


def test_the_holder_meets_the_helper_that_waits(folder: Path) -> None:
    async def story(door: Nets) -> None:
        assert door.path.stat().st_mode & 0o777 == 0o600
        waiting = asyncio.create_task(said(door, Wait(lease=ONE, key=key(door, ONE))))
        mine, joined = await said(door, Enter(lease=ONE, key=key(door, ONE, holder=True)))
        its, met = await waiting
        assert (joined, met) == (Joined(), Met(node=HERE, lease=LeaseId("")))
        mine.sendall(b"straight through")
        assert its.recv(100) == b"straight through"
        for each in (mine, its):
            each.close()

    at_a_door(folder, story)


def test_mates_meet_by_the_nets_secret(folder: Path) -> None:
    async def story(door: Nets) -> None:
        mates = (Mate(node=HERE, lease=ONE),)
        waiting = asyncio.create_task(said(door, WaitForMates(lease=OTHER, key=key(door, OTHER), net=NET, mates=mates)))
        mine, _ = await said(door, Call(lease=ONE, key=key(door, ONE), net=NET, mate=Mate(node=HERE, lease=OTHER)))
        its, met = await waiting
        assert met == Met(node=HERE, lease=ONE)
        its.sendall(b"packets")
        assert mine.recv(100) == b"packets"
        for each in (mine, its):
            each.close()

    at_a_door(folder, story)


@pytest.mark.parametrize(
    "wrong", [{"net": b"m" * 16}, {"lease": LeaseId("stranger")}, {"mate": Mate(node=HERE, lease=LeaseId("nobody"))}]
)
def test_who_does_not_know_the_secret_or_is_not_named_meets_nobody(
    folder: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, object]
) -> None:
    monkeypatch.setattr(nets, "MEETING_S", 0.2)

    async def story(door: Nets) -> None:
        mates = (Mate(node=HERE, lease=ONE),)
        with raw(door.path) as waits:
            waits.sendall(net_wire.framed(WaitForMates(lease=OTHER, key=key(door, OTHER), net=NET, mates=mates)))
            words = {"lease": ONE, "net": NET, "mate": Mate(node=HERE, lease=OTHER), **wrong}
            call = Call(key=key(door, LeaseId(str(words["lease"]))), **words)  # type: ignore[arg-type]
            sock, reply = await said(door, call)
            sock.close()
            assert isinstance(reply, Shut)
            assert "nothing of this lease waits" in reply.why
            waits.setblocking(False)
            with pytest.raises(BlockingIOError):
                waits.recv(1)

    at_a_door(folder, story)


def test_a_key_opens_one_lease_on_one_side(folder: Path) -> None:
    async def story(door: Nets) -> None:
        wrong = [
            Enter(lease=ONE, key=key(door, ONE)),
            Enter(lease=ONE, key=key(door, FAR, holder=True)),
            Wait(lease=ONE, key=key(door, OTHER)),
            Wait(lease=ONE, key=b"k" * 32),
        ]
        for word in wrong:
            sock, reply = await said(door, word)
            sock.close()
            assert reply == Shut(why="that is no key to this lease")

    at_a_door(folder, story)


def test_a_lease_that_ended_and_a_node_without_a_link_are_told_so(folder: Path) -> None:
    async def story(door: Nets) -> None:
        for lease, why in ((LeaseId("gone"), "this lease has ended"), (FAR, "no link to there")):
            sock, reply = await said(door, Enter(lease=lease, key=key(door, lease, holder=True)))
            sock.close()
            assert reply == Shut(why=why)

    at_a_door(folder, story)


def test_a_channel_of_a_stranger_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nets, "MEETING_S", 0.1)

    async def story(door: Nets) -> None:
        for node, hello, why in (
            (HERE, NetHello(ONE), "no such lease of yours"),  # it is held by another node
            (THERE, NetHello(OTHER), "no such lease of yours"),
            (THERE, NetHello(ONE, FAR, NET), "nothing of this lease waits"),
            (THERE, NetHello(OTHER, FAR, NET), "no such lease of yours"),
        ):
            knocker = Knocker()
            door.on_channel(node, knocker, hello)  # type: ignore[arg-type]
            await asyncio.wait_for(knocker.refused.wait(), 15)
            assert why in knocker.why

    at_a_door(folder, story)


def test_garbage_at_the_door_ends_that_connection_alone(folder: Path) -> None:
    async def story(door: Nets) -> None:
        dice = random.Random(5)
        for data in (
            b"\xff" * 64,
            framed(b"\xc1"),
            framed(msgspec.msgpack.encode({"type": "wait"})),
            dice.randbytes(5000),
        ):
            with raw(door.path) as sock:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                body = await asyncio.to_thread(heard, sock)
                assert not body or isinstance(net_wire.decode_reply(body[4:]), Shut)
        waiting = asyncio.create_task(said(door, Wait(lease=ONE, key=key(door, ONE))))
        mine, joined = await said(door, Enter(lease=ONE, key=key(door, ONE, holder=True)))
        assert joined == Joined()
        mine.close()
        (await waiting)[0].close()

    at_a_door(folder, story)


def test_one_lease_has_so_many_places_and_no_more(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nets, "PER_LEASE_MAX", 2)

    async def story(door: Nets) -> None:
        word = net_wire.framed(Wait(lease=ONE, key=key(door, ONE)))
        kept = [raw(door.path) for _ in range(2)]
        for sock in kept:
            sock.sendall(word)
            await until(lambda: len(door._waiting.get(ONE, ())) > kept.index(sock))  # noqa: B023 - it is over with the turn
        third, reply = await said(door, Wait(lease=ONE, key=key(door, ONE)))
        third.close()
        assert isinstance(reply, Shut)
        for sock in kept:
            sock.close()
        await until(lambda: not door._waiting)

    at_a_door(folder, story)


def test_two_nodes_are_joined_by_a_channel_and_nothing_is_left(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    _first, second = pair
    monkeypatch.setenv("WORLDOS_HOME", str(second.home.path))
    there = [f"node == '{agent.ask('status')['node']}'" for agent in pair]
    try:
        with use(*(need("CPU", 1, where=where) for where in there)) as cpus, PrivateNet.open(cpus) as net:
            cpus[0].submit(_serve_once, net.prefix(0), net.address(0)).result(60)
            assert cpus[1].submit(_fetch, net.prefix(1), "n0").result(60) == "from n0"
            cpus[0].submit(_serve_once, net.prefix(0), "127.0.0.1").result(60)
            with socket.create_connection(("127.0.0.1", net.forward(0, 7000)), 10) as sock:
                assert sock.recv(100) == b"from n0"
    finally:
        connection.close()
    eventually(lambda: not any(agent.ask("leases")["granted"] for agent in pair), "every lease is back")


SERVER = """
import socket, sys
with socket.create_server((sys.argv[1], 7000)) as server:
    print("up", flush=True)
    while True:
        with server.accept()[0] as sock: sock.sendall(b"from " + socket.gethostname().encode())
"""
CLIENT = """
import socket, sys, time
end = time.monotonic() + 30
while True:
    try:
        with socket.create_connection((sys.argv[1], 7000), 2) as sock: print(sock.recv(100).decode()); break
    except OSError:
        if time.monotonic() > end: raise
"""


def _serve_once(prefix: list[str], address: str) -> None:
    for old in getattr(sys, "_servers", []):
        old.kill()
        old.wait()
    server = subprocess.Popen([*prefix, prefix[0], "-c", SERVER, address], stdout=subprocess.PIPE)
    sys._servers = [server]  # type: ignore[attr-defined] # of this worker
    assert server.stdout is not None
    assert server.stdout.readline() == b"up\n"


def _fetch(prefix: list[str], host: str) -> str:
    return subprocess.run(
        [*prefix, prefix[0], "-c", CLIENT, host], capture_output=True, check=True, text=True
    ).stdout.strip()
