"""Nodes of other accounts: linked where both welcome each other, and never anywhere else."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.fabric.fabrics import Ear, Node, device, roots, run, running, until
from worldos.errors import NotAllowed, PeerBroke
from worldos.fabric import frame, host, tls
from worldos.fabric.channel import Ending
from worldos.fabric.tcp import parse_address
from worldos.trust.certs import root_certificate


def welcomes(here: Node, there: Node) -> None:
    here.fabric.welcome(there.id, root_certificate(there.key), [there.address])


async def refused(node: Node, times: int) -> None:
    await until(lambda: node.fabric.statistics().refused >= times)


def test_two_that_welcome_each_other_are_linked_and_go_on_as_members_do() -> None:
    async def story() -> None:
        a, b = Node(1, ()), Node(2, ())
        async with running(a, b):
            welcomes(a, b)
            welcomes(b, a)
            await until(lambda: a.knows(b) and b.knows(a))
            assert a.fabric.send(b.id, b"hello")
            await until(lambda: b.notes.messages == [(a.id, b"hello")])
            ear = Ear()
            channel = a.fabric.open_channel(b.id, b"echo", ear)
            channel.write(b"there and back")
            await until(lambda: ear.data == b"there and back")
            welcomes(a, b)  # again: nothing changes
            assert a.knows(b)

    run(story)


def test_a_welcome_that_is_not_returned_leads_to_nothing() -> None:
    async def story() -> None:
        a, b = Node(1, ()), Node(2, ())
        async with running(a, b):
            welcomes(a, b)
            await refused(b, 3)
            assert not a.knows(b)
            assert not b.knows(a)
            assert not b.fabric.send(a.id, b"who are you")
            with pytest.raises(NotAllowed):
                b.fabric.open_channel(a.id, b"", Ear())
            welcomes(b, a)
            await until(lambda: a.knows(b) and b.knows(a))

    run(story)


@pytest.mark.parametrize("cheap", [64, 0])
def test_who_is_not_welcome_any_more_is_cut_at_once_and_stays_out(monkeypatch: pytest.MonkeyPatch, cheap: int) -> None:
    monkeypatch.setattr(tls, "ANCHORS_CHEAP", cheap)  # 0: its root stays in the contexts for a while

    async def story() -> None:
        a, b, c = Node(1, (3,)), Node(2, ()), Node(3, (1,))
        async with running(a, b, c):
            welcomes(a, b)
            welcomes(b, a)
            a.fabric.connect(c.id, [c.address])
            await until(lambda: a.knows(b) and b.knows(a) and a.knows(c))
            ear = Ear()
            a.fabric.open_channel(b.id, b"echo", ear)
            a.fabric.part(b.id, "council of acme: over")
            assert ear.ending == (Ending.BROKEN, "council of acme: over")
            assert not a.fabric.send(b.id, b"anybody there")
            await until(lambda: not b.knows(a))
            tried = a.fabric.statistics().refused
            await refused(a, tried + 3)  # it goes on trying, and its certificate leads nowhere
            assert not a.knows(b)
            assert a.knows(c), "the members' links stay"
            welcomes(a, b)
            await until(lambda: a.knows(b) and b.knows(a))

    run(story)


def test_a_contact_with_a_certificate_of_another_node_is_refused() -> None:
    async def story() -> None:
        a, b = Node(1, ()), Node(2, ())
        async with running(a, b):
            for root in (root_certificate(device(3)), root_certificate(b.key) + root_certificate(device(3)), b"", b"x"):
                with pytest.raises(PeerBroke):
                    a.fabric.welcome(b.id, root, [b.address])
            welcomes(b, a)
            await refused(a, 2)
            assert not a.knows(b)

    run(story, loops=1)


def test_a_member_needs_no_welcome_and_a_removed_one_has_none() -> None:
    async def story() -> None:
        a, b = Node(1, (2,)), Node(2, (1,))
        async with running(a, b):
            welcomes(a, b)
            a.fabric.connect(b.id, [b.address])
            await until(lambda: a.knows(b) and b.knows(a))
            a.fabric.set_members(roots(a.key))
            assert not a.fabric.send(b.id, b"")
            await until(lambda: not b.knows(a))
            welcomes(a, b)  # whom the key log put out may be kin only by a fresh word
            await until(lambda: a.knows(b))
            a.fabric.set_members(roots(a.key, b.key))
            a.fabric.set_members(roots(a.key))
            assert not a.fabric.send(b.id, b"")

    run(story, loops=1)


def test_kin_are_so_many_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "KIN_MAX", 9)

    async def story() -> None:
        a = Node(1, ())
        async with running(a):
            for number in range(10, 10 + 9):
                a.fabric.welcome(device(number).node_id, root_certificate(device(number)), [])
            one_more = device(9)
            with pytest.raises(NotAllowed):
                a.fabric.welcome(one_more.node_id, root_certificate(one_more), [])
            a.fabric.part(device(10).node_id, "room")
            a.fabric.welcome(one_more.node_id, root_certificate(one_more), [])

    run(story, loops=1)


def test_kin_relay_for_nobody_and_are_relayed_to_nobody() -> None:
    async def story() -> None:
        # a and b are of one account and do not reach each other; k, of another, is kin of both, and willing
        a, b, k = Node(1, (2,), listen=None), Node(2, (1,), listen=None), Node(3, ())
        async with running(a, b, k):
            for one in (a, b):
                welcomes(one, k)
                k.fabric.welcome(one.id, root_certificate(one.key), [])
            await until(lambda: k.knows(a) and k.knows(b))
            a.fabric.send(b.id, b"by way of k?")
            a.fabric.seek_relay(a.fabric.peers[b.id])
            assert not a.fabric.peers[b.id].relays.asked
            assert k.fabric.statistics().relayed == 0
            # ... and who asks all the same is refused, at the relay and at the end
            for far in (b.id, device(9).node_id):
                ear = Ear()
                channel = a.fabric.peers[k.id].session.open(b"\0" + far.encode(), 1, ear, frame.RELAY)
                await until(lambda ear=ear: ear.ending)
                assert ear.ending == (Ending.REFUSED, "not of one account")
                assert channel.closed
            assert not a.knows(b)

    run(story, loops=1)


def test_a_megabyte_of_garbage_at_the_door_gets_no_answer_and_hurts_no_kin() -> None:
    async def story() -> None:
        a, b = Node(1, ()), Node(2, ())
        async with running(a, b):
            welcomes(a, b)
            welcomes(b, a)
            await until(lambda: a.knows(b) and b.knows(a))
            for first in (b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"):
                before = a.fabric.statistics().refused
                reader, writer = await asyncio.open_connection(*parse_address(a.address))
                writer.write(first + random.Random(1).randbytes(1 << 20))
                try:
                    assert len(await asyncio.wait_for(reader.read(), 10)) <= 7, "a TLS alert at most"
                except ConnectionError:
                    pass
                finally:
                    writer.close()
                await refused(a, before + 1)
            assert a.fabric.send(b.id, b"still here")
            await until(lambda: b.notes.messages == [(a.id, b"still here")])

    run(story, loops=1)
