"""Three nodes: the direct way between two is cut, and the third relays."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable

import pytest

from tests.fabric.fabrics import Cable, Ear, Node, run, running, until


class Traffic:
    """Numbered messages both ways without a pause, and when each came."""

    def __init__(self, a: Node, b: Node) -> None:
        self._pair = (a, b)
        self._task = asyncio.ensure_future(self._send())
        self.sent = 0

    async def _send(self) -> None:
        a, b = self._pair
        for number in itertools.count():
            assert a.fabric.send(b.id, b"%d" % number, priority=1)
            assert b.fabric.send(a.id, b"%d" % number, priority=1)
            self.sent = number + 1
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def complete(self) -> None:
        """Check that every message came once and in order, both ways."""
        await self.stop()
        expected = [b"%d" % number for number in range(self.sent)]
        for here, there in (self._pair, self._pair[::-1]):

            def came(here: Node = here, there: Node = there) -> list[bytes]:
                return [message for node, message in here.notes.messages if node == there.id]

            await until(lambda came=came: len(came()) >= self.sent)
            assert came() == expected


async def arrivals_gap_s(node: Node, during: Callable[[], object]) -> float:
    """Return the longest time without a message at ``node`` while a condition is awaited."""
    longest, last, seen = 0.0, time.monotonic(), len(node.notes.messages)
    async with asyncio.timeout(15):
        while not during():
            await asyncio.sleep(0.002)
            now = time.monotonic()
            if len(node.notes.messages) != seen:
                seen, last = len(node.notes.messages), now
            longest = max(longest, now - last)
    return longest


@pytest.mark.slow
@pytest.mark.parametrize("how", ["cut", "close_all"])
def test_a_cut_of_the_direct_way_loses_and_doubles_nothing(how: str) -> None:
    async def story() -> None:
        a, b, c = Node(1, (2, 3), listen=None), Node(2, (1, 3)), Node(3, (1, 2))
        async with running(a, b, c):
            cable = Cable(b.fabric.port)
            await cable.start()
            a.fabric.connect(b.id, [cable.address])
            a.fabric.connect(c.id, [c.address])
            b.fabric.connect(c.id, [c.address])
            await until(lambda: a.knows(b) and b.knows(a) and c.knows(a) and c.knows(b))
            ear = Ear()
            channel = a.fabric.open_channel(b.id, b"echo", ear)
            traffic = Traffic(a, b)
            await until(lambda: traffic.sent > 40)
            assert a.notes.peers[b.id] == ""
            cable.cut()
            if how == "close_all":
                cable.close_all()
            channel.write(b"through the relay")
            enough = len(b.notes.messages) + 50
            gap_s = await arrivals_gap_s(
                b,
                lambda: (
                    a.notes.peers.get(b.id) == c.id
                    and b.notes.peers.get(a.id) == c.id
                    and len(b.notes.messages) > enough
                ),
            )
            print(f"{how}: longest silence {gap_s * 1e3:.0f} ms")
            assert gap_s < 3  # about 0.3 s on an idle machine
            await until(lambda: ear.data == b"through the relay")
            cable.heal()
            await until(lambda: a.notes.peers.get(b.id) == "" == b.notes.peers.get(a.id))
            await traffic.complete()
            await cable.stop()

    run(story, loops=1)


def test_a_node_without_an_address_is_reached_through_a_relay_and_big_data_pass() -> None:
    async def story() -> None:
        a, b, c = Node(1, (2, 3), listen=None), Node(2, (1, 3), listen=None), Node(3, (1, 2))
        async with running(a, b, c):
            a.fabric.connect(c.id, [c.address])
            b.fabric.connect(c.id, [c.address])
            await until(lambda: c.knows(a) and c.knows(b))
            ear = Ear()
            channel = a.fabric.open_channel(b.id, b"echo", ear)
            sent = bytes(range(256)) * 4096 * 20
            channel.write(sent)
            await until(lambda: len(ear.data) == len(sent))
            assert ear.data == sent
            assert a.notes.peers[b.id] == c.id
            assert b.notes.peers[a.id] == c.id

    run(story)


def test_who_does_not_want_to_relay_refuses_at_once() -> None:
    async def story() -> None:
        a, b, c = Node(1, (2, 3), listen=None), Node(2, (1, 3), listen=None), Node(3, (1, 2), relay=False)
        async with running(a, b, c):
            a.fabric.connect(c.id, [c.address])
            b.fabric.connect(c.id, [c.address])
            a.fabric.send(b.id, b"never")
            await until(lambda: c.knows(a) and c.knows(b))
            search = a.fabric.peers[b.id].relays
            await until(lambda: c.id in search.refused)
            assert not a.knows(b)

    run(story, loops=1)


@pytest.mark.slow
def test_a_warm_spare_stays_unused_while_the_direct_way_is_good() -> None:
    async def story() -> None:
        a, b, c = Node(1, (2, 3), listen=None), Node(2, (1, 3)), Node(3, (1, 2))
        async with running(a, b, c):
            a.fabric.connect(b.id, [b.address])
            a.fabric.connect(c.id, [c.address])
            b.fabric.connect(c.id, [c.address])
            a.fabric.open_channel(b.id, b"", Ear())
            await until(lambda: a.knows(b) and b.knows(a))
            await until(lambda: len(a.fabric.peers[b.id].links) == len(b.fabric.peers[a.id].links) == 2)
            for number in range(12):
                a.fabric.send(b.id, b"%d" % number)
                b.fabric.send(a.id, b"%d" % number)
                await asyncio.sleep(0.3)
            used = [said for node in (a, b) for said in node.notes.said if said[0] == "path" and said[2]]
            assert used == []

    run(story, loops=1)


def test_two_that_relay_to_the_same_node_for_each_other_both_see_that_it_is_gone() -> None:
    async def story() -> None:
        a, b, c = Node(1, (2, 3), listen=None), Node(2, (1, 3)), Node(3, (1, 2))
        async with running(a, b, c):
            cable = Cable(c.fabric.port)
            await cable.start()
            a.fabric.connect(b.id, [b.address])
            a.fabric.connect(c.id, [cable.address])
            b.fabric.connect(c.id, [cable.address])
            await until(lambda: a.knows(b) and a.knows(c) and b.knows(c))
            for node in (a, b):
                node.fabric.open_channel(c.id, b"echo", Ear())  # a spare way is kept while somebody waits for answers
            await until(lambda: all(node.fabric.peers[c.id].paths.has_relay() for node in (a, b)))
            cable.cut()
            cable.close_all()  # what the end of a process looks like to both
            began = time.monotonic()
            await until(lambda: all(("lost", c.id) in [s[:2] for s in node.notes.said] for node in (a, b)))
            assert time.monotonic() - began < 1
            cable.heal()
            await until(lambda: a.notes.peers.get(c.id) == "" == b.notes.peers.get(c.id))
            await until(lambda: not any(node.fabric.statistics().relayed > 2 for node in (a, b, c)))
            await cable.stop()

    run(story, loops=1)
