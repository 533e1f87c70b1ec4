"""Peers over real links: sessions outlive links, and end with lives."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from tests.fabric.fabrics import Cable, Ear, Node, SlowToGreet, SlowToProve, roots, run, running, until
from worldos.errors import BadRequest, NotAllowed
from worldos.fabric.channel import Ending
from worldos.fabric.limits import SESSION_SILENT_NS_MAX
from worldos.fabric.link import Hello, Link
from worldos.fabric.peer import Peer
from worldos.fabric.tcp import TcpCarrier
from worldos.fabric.tls import TlsPipe


def test_a_session_and_its_channels_outlive_their_link() -> None:
    async def story() -> None:
        a, b = Node(1, (2,), listen=None), Node(2, (1,))
        async with running(a, b):
            cable = Cable(b.fabric.port)
            await cable.start()
            a.fabric.connect(b.id, [cable.address])
            ear = Ear()
            channel = a.fabric.open_channel(b.id, b"echo", ear)
            sent = b""
            for number in range(20):
                channel.write(b"%d " % number)
                sent += b"%d " % number
                a.fabric.send(b.id, b"%d" % number, 1)
                await until(lambda: a.knows(b))
                cable.close_all()
                await until(lambda: not a.knows(b))
            await until(lambda: bytes(ear.data) == sent and len(b.notes.messages) == 20)
            assert b.notes.messages == [(a.id, b"%d" % number) for number in range(20)]
            await cable.stop()

    run(story)


def test_a_restart_of_the_node_ends_the_session() -> None:
    async def story() -> None:
        a, b = Node(1, (2,)), Node(2, (1,))
        async with running(a):
            await b.fabric.start()
            a.fabric.connect(b.id, [b.address])
            ear = Ear()
            a.fabric.open_channel(b.id, b"", ear)
            await until(lambda: ear.was_accepted)
            port = b.fabric.port
            await b.fabric.close()
            await until(lambda: not a.knows(b))
            reborn = Node(2, (1,), boot=2, listen=("127.0.0.1", port))
            async with running(reborn):
                await until(lambda: a.knows(b))
                assert ("peer", b.id, 2, "") in a.notes.said
                assert ear.ending is not None
                assert ear.ending[0] is Ending.BROKEN
                a.fabric.send(b.id, b"welcome")
                await until(lambda: reborn.notes.messages == [(a.id, b"welcome")])

    run(story)


def test_both_dial_at_once_and_one_link_stays() -> None:
    async def story() -> None:
        a, b = Node(1, (2,)), Node(2, (1,))
        async with running(a, b):
            a.fabric.connect(b.id, [b.address])
            b.fabric.connect(a.id, [a.address])
            for number in range(50):
                a.fabric.send(b.id, b"%d" % number)
                b.fabric.send(a.id, b"%d" % number)
                await asyncio.sleep(0)
            await until(lambda: len(a.notes.messages) == len(b.notes.messages) == 50)
            await until(lambda: all(len(one.fabric.peers[two.id].links) == 1 for one, two in ((a, b), (b, a))))
            assert [message for _, message in a.notes.messages] == [b"%d" % number for number in range(50)]

    run(story)


def test_first_words_of_a_session_that_is_over_do_not_stop_the_one_that_came_after_it() -> None:
    async def story() -> None:
        a, b = Node(1, (2,)), Node(2, (1,), listen=None)
        async with running(a, b):
            slow = SlowToProve(a.fabric.port)
            await slow.start()
            b.fabric.connect(a.id, [slow.address])
            await until(lambda: slow.kept)
            b.fabric.forget(a.id, "not wanted now")
            b.fabric.connect(a.id, [a.address])
            await until(lambda: a.knows(b) and b.knows(a))
            a.fabric.send(b.id, b"one")
            b.fabric.send(a.id, b"uno")
            await until(lambda: a.notes.messages and b.notes.messages)
            slow.greet()
            await until(lambda: a.fabric.statistics().half_open == 0)
            a.fabric.send(b.id, b"two")
            b.fabric.send(a.id, b"due")
            await until(lambda: len(a.notes.messages) == len(b.notes.messages) == 2, 3.0)
            await slow.stop()

    run(story)


@pytest.mark.parametrize("first", [5, 2**61])
def test_a_copy_of_a_disk_in_the_same_life_is_not_taken_for_late_words(first: int) -> None:
    async def story() -> None:
        a, b, copy = Node(1, (2,)), Node(2, (1,), listen=None), Node(2, (1,), listen=None)
        numbers = {first: b, 2**61 + 5 - first: copy}
        for number, node in numbers.items():
            node.fabric._ids = itertools.count(number)
        async with running(a, b, copy):
            for number, node in numbers.items():
                node.fabric.connect(a.id, [a.address])
                await until(
                    lambda number=number: [each.session.peer_id for each in a.fabric.peers.values()] == [number]
                )  # type: ignore[misc]

    run(story)


def test_a_link_whose_first_words_named_a_session_that_was_given_up_is_refused() -> None:
    a, b = Node(1, (2,)), Node(2, (1,))
    peer = Peer(a.fabric, b.id)
    link = Link(a.fabric, TlsPipe(a.fabric._credentials, dialed=True), TcpCarrier(lambda *_: None, int), dialed=True)
    peer.link_hello(link)
    peer.tick(a.fabric.now_ns() + 2 * SESSION_SILENT_NS_MAX)
    with pytest.raises(NotAllowed, match="over"):
        peer.link_greeted(link, Hello(boot=1, session=7, known=0, received=0, port=0))
    assert not peer.links


def test_two_that_dial_each_other_on_slow_lines_never_lose_each_other() -> None:
    """Each end sees the link that the other dialed up first, and must not give up its own: the other end counts on that one."""

    async def story() -> None:
        a, b = Node(1, (2,)), Node(2, (1,))
        async with running(a, b):
            slow = [SlowToGreet(node.fabric.port) for node in (a, b)]
            for line in slow:
                await line.start()
            a.fabric.connect(b.id, [slow[1].address])
            b.fabric.connect(a.id, [slow[0].address])
            await until(lambda: a.knows(b) and b.knows(a))
            for _ in range(20):
                await asyncio.sleep(0)  # both have noticed that a link is up, and what follows from that
            for line in slow:
                line.greet()
            await until(lambda: all(len(one.fabric.peers[two.id].links) == 1 for one, two in ((a, b), (b, a))))
            assert a.fabric.send(b.id, b"there")
            await until(lambda: b.notes.messages == [(a.id, b"there")])
            assert [said for notes in (a.notes, b.notes) for said in notes.said if said[0] == "lost"] == []
            for line in slow:
                await line.stop()

    run(story)


def test_who_was_dialed_learns_where_to_dial_back() -> None:
    async def story() -> None:
        a, b = Node(1, (2,)), Node(2, (1,))
        async with running(a, b):
            a.fabric.connect(b.id, [b.address])
            await until(lambda: b.knows(a))
            assert b.fabric.peers[a.id].addresses == [a.address]

    run(story)


def test_a_removed_member_is_cut_off_at_once_and_refused_on_return() -> None:
    async def story() -> None:
        a, b = Node(1, (2,)), Node(2, (1,))
        async with running(a, b):
            b.fabric.connect(a.id, [a.address])
            await until(lambda: a.knows(b) and b.knows(a))
            a.fabric.set_members(roots(a.key))
            assert not a.knows(b)
            await until(lambda: not b.knows(a))
            refused = a.fabric.statistics().refused
            await until(lambda: a.fabric.statistics().refused > refused)  # it dials again
            assert not a.knows(b)
            assert not b.knows(a)
            assert not a.fabric.send(b.id, b"no")
            with pytest.raises(NotAllowed):
                a.fabric.open_channel(b.id, b"", Ear())
            a.fabric.set_members(roots(a.key, b.key))
            await until(lambda: a.knows(b) and b.knows(a))

    run(story)


def test_a_forgotten_node_leaves_nothing_and_may_come_back() -> None:
    async def story() -> None:
        a, b = Node(1, (2,)), Node(2, (1,))
        async with running(a, b):
            b.fabric.connect(a.id, [a.address])
            await until(lambda: a.knows(b))
            ear = Ear()
            a.fabric.open_channel(b.id, b"", ear)
            a.fabric.forget(b.id, "said good-bye")
            assert ear.ending == (Ending.BROKEN, "said good-bye")
            assert a.fabric.statistics().peers == ()
            await until(lambda: a.knows(b))

    run(story)


def test_what_is_too_large_is_the_callers_mistake() -> None:
    async def story() -> None:
        a = Node(1, (2,))
        async with running(a):
            with pytest.raises(BadRequest):
                a.fabric.send(Node(2, ()).id, bytes(2 << 20))
            with pytest.raises(BadRequest):
                a.fabric.connect(Node(2, ()).id, ["no address"])

    run(story, loops=1)


def test_an_address_at_which_another_member_listens_disturbs_nobody() -> None:
    async def story() -> None:
        a, b, c = Node(1, (2, 3), listen=None), Node(2, (1, 3)), Node(3, (1, 2))
        async with running(a, b, c):
            a.fabric.connect(c.id, [c.address])
            await until(lambda: a.knows(c))
            link = a.fabric.peers[c.id].active
            refused = a.fabric.statistics().refused
            a.fabric.connect(b.id, [c.address])
            await until(lambda: a.fabric.statistics().refused > refused)
            assert not a.knows(b)
            assert a.fabric.peers[c.id].active is link

    run(story, loops=1)


def test_what_the_far_end_did_not_take_comes_again_when_a_pong_shows_it() -> None:
    async def story() -> None:
        a, b = Node(1, (2,), listen=None), Node(2, (1,))
        async with running(a, b):
            a.fabric.connect(b.id, [b.address])
            await until(lambda: a.knows(b) and b.knows(a))
            link = b.fabric.peers[a.id].links[0]
            take, dropped = link._sink, []
            assert take is not None

            def forgetful(*frame: object) -> None:
                if frame[3] and not dropped:
                    dropped.append(frame[:5])
                else:
                    take(*frame)  # type: ignore[arg-type]

            link._sink = forgetful  # type: ignore[assignment]
            for number in range(5):
                a.fabric.send(b.id, b"%d" % number, 1)
            await until(lambda: len(b.notes.messages) == 5)
            assert dropped
            assert b.notes.messages == [(a.id, b"%d" % number) for number in range(5)]
            assert a.fabric.statistics().peers[0].resent_frames >= 5

    run(story, loops=1)
