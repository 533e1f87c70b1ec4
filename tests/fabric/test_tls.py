"""TLS between two ends in memory: who gets in, and who does not."""

from __future__ import annotations

import time

import pytest

from tests.fabric.fabrics import device
from worldos.errors import PeerBroke
from worldos.fabric.tls import Credentials, LinkEnded, TlsPipe
from worldos.trust.certs import fresh_leaf, node_of_certificate, root_certificate
from worldos.trust.keys import DeviceKey


def credentials(key: DeviceKey, *members: DeviceKey, now_s: int | None = None) -> Credentials:
    leaf = fresh_leaf(key, int(time.time()) if now_s is None else now_s, key.public)
    return Credentials(*leaf, [root_certificate(member) for member in members])


def shake(dialer: TlsPipe, door: TlsPipe) -> tuple[bool, bool]:
    """Move records until nothing moves; say who thinks that the handshake is done."""
    done = [False, False]
    for _ in range(10):
        for which, (here, there) in enumerate(((dialer, door), (door, dialer))):
            if not done[which]:
                done[which] = here.handshake()
            there.feed(here.take())
    return done[0], done[1]


def pipes(a: Credentials, b: Credentials) -> tuple[TlsPipe, TlsPipe]:
    return TlsPipe(a, dialed=True), TlsPipe(b, dialed=False)


def test_two_members_know_each_other_and_talk() -> None:
    a, b = device(1), device(2)
    dialer, door = pipes(credentials(a, a, b), credentials(b, a, b))
    assert shake(dialer, door) == (True, True)
    assert node_of_certificate(dialer.peer_leaf()) == b.node_id
    assert node_of_certificate(door.peer_leaf()) == a.node_id
    dialer.write(b"hello" * 10_000)
    door.feed(dialer.take())
    room, heard = memoryview(bytearray(1 << 16)), b""
    while door.more():
        heard += bytes(room[: door.read_into(room)])
    assert heard == b"hello" * 10_000
    dialer.end()
    door.feed(dialer.take())
    with pytest.raises(LinkEnded):
        door.read_into(room)


def test_a_stranger_is_not_let_in_and_does_not_let_us_in() -> None:
    a, stranger = device(1), device(9)
    dialer, door = pipes(credentials(stranger, a, stranger), credentials(a, a))
    with pytest.raises(PeerBroke):
        shake(dialer, door)
    dialer, door = pipes(credentials(a, a), credentials(stranger, a, stranger))
    with pytest.raises(PeerBroke):
        shake(dialer, door)


def test_a_stale_leaf_is_not_let_in() -> None:
    a, b = device(1), device(2)
    old = credentials(a, b, now_s=int(time.time()) - 3 * 86_400)
    dialer, door = pipes(old, credentials(b, a))
    with pytest.raises(PeerBroke):
        shake(dialer, door)


def test_a_member_is_believed_at_once_and_no_more_when_removed() -> None:
    a, b = device(1), device(2)
    mine, theirs = credentials(a, a, b), credentials(b, b)
    with pytest.raises(PeerBroke):
        shake(*pipes(mine, theirs))
    theirs.believe([root_certificate(a), root_certificate(b)])
    assert shake(*pipes(mine, theirs)) == (True, True)
    theirs.believe([root_certificate(b)])
    with pytest.raises(PeerBroke):
        shake(*pipes(mine, theirs))


def test_a_renewed_leaf_is_shown_from_then_on() -> None:
    a, b = device(1), device(2)
    mine, theirs = credentials(a, b, now_s=int(time.time()) - 3 * 86_400), credentials(b, a)
    with pytest.raises(PeerBroke):
        shake(*pipes(mine, theirs))
    mine.renew(*fresh_leaf(a, int(time.time()), bytes(32)))
    assert shake(*pipes(mine, theirs)) == (True, True)


def test_nothing_older_than_tls_1_3_is_spoken_and_no_ticket_is_given() -> None:
    mine = credentials(device(1), device(1))
    for context in (mine.server, mine.client):
        assert context.minimum_version.name == "TLSv1_3"
    assert mine.server.num_tickets == 0


@pytest.mark.parametrize("garbage", [b"\x00" * 100, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 70_000])
def test_garbage_instead_of_a_handshake_breaks(garbage: bytes) -> None:
    door = TlsPipe(credentials(device(1), device(1)), dialed=False)
    door.feed(garbage)
    with pytest.raises(PeerBroke):
        door.handshake()


def test_damaged_records_break() -> None:
    a, b = device(1), device(2)
    dialer, door = pipes(credentials(a, a, b), credentials(b, a, b))
    shake(dialer, door)
    dialer.write(b"hello")
    record = bytearray(dialer.take())
    record[-1] ^= 1
    door.feed(bytes(record))
    with pytest.raises(PeerBroke):
        door.read_into(memoryview(bytearray(100)))
