"""Real fabrics on loopback."""

from __future__ import annotations

from tests.fabric.fabrics import Ear, Node, run, running, until
from worldos.fabric.channel import Ending


def test_two_nodes_exchange_messages_in_order() -> None:
    async def story() -> None:
        a, b = Node(1, (2,)), Node(2, (1,))
        async with running(a, b):
            for number in range(100):
                assert a.fabric.send(b.id, b"early %d" % number)
            a.fabric.connect(b.id, [b.address])
            await until(lambda: a.knows(b) and b.knows(a))
            for number in range(1000):
                b.fabric.send(a.id, b"%d" % number)
            await until(lambda: len(b.notes.messages) == 100 and len(a.notes.messages) == 1000)
            assert a.notes.messages == [(b.id, b"%d" % number) for number in range(1000)]
            assert b.notes.messages == [(a.id, b"early %d" % number) for number in range(100)]

    run(story)


def test_a_channel_carries_megabytes_both_ways_and_ends_in_good_order() -> None:
    async def story() -> None:
        a, b = Node(1, (2,)), Node(2, (1,))
        async with running(a, b):
            a.fabric.connect(b.id, [b.address])
            ear = Ear()
            channel = a.fabric.open_channel(b.id, b"echo", ear)
            sent = bytes(range(256)) * 4096 * 16
            for start in range(0, len(sent), 1 << 20):
                await until(lambda: channel.writable)
                channel.write(sent[start : start + (1 << 20)])
            channel.eof()
            await until(lambda: ear.eof)
            assert ear.was_accepted
            assert ear.data == sent
            channel.close("thanks")
            await until(lambda: b.notes.ears[0].ending)
            assert b.notes.ears[0].ending == (Ending.DONE, "thanks")
            await until(lambda: a.fabric.statistics().peers[0].channels == 0)

    run(story)
