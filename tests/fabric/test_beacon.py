"""What a node says of itself on the local network, and what it believes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fabric.fabrics import device
from worldos.errors import BadRequest
from worldos.fabric.beacon import Allowance, Beacon, Heard
from worldos.fabric.limits import (
    BEACON_ANSWER_NS_MIN,
    BEACON_BYTES_MAX,
    BEACON_FACTS_BYTES_MAX,
    BEACON_PERIOD_NS_MAX,
    BEACON_STRANGERS_MAX,
    MS,
    SECOND,
)
from worldos.model.ids import AccountId, NodeId

ACCOUNT = AccountId("a" * 52)


def beacon(number: int, *, boot: int = 1, account: str = ACCOUNT, host: str = "", port: int = 4000) -> Beacon:
    return Beacon(device(number), AccountId(account), boot, host=host, port=port)


def everybody(_: NodeId) -> bool:
    return True


def nobody(_: NodeId) -> bool:
    return False


def said(one: Beacon, now_ns: int = 0) -> bytes:
    datagram = one.emit(max(now_ns, one.due_ns))
    assert datagram is not None
    return datagram


def test_a_member_is_heard_with_its_facts() -> None:
    speaker = beacon(1, boot=7)
    speaker.set_facts(b"f" * BEACON_FACTS_BYTES_MAX, 0)
    datagram = said(speaker)
    assert len(datagram) <= BEACON_BYTES_MAX
    heard = beacon(2).hear(datagram, "192.0.2.1", 0, everybody)
    assert heard == Heard(
        node=device(1).node_id,
        account=ACCOUNT,
        boot=7,
        host="192.0.2.1",
        port=4000,
        facts=b"f" * BEACON_FACTS_BYTES_MAX,
    )


def test_a_node_that_listens_on_one_address_says_which() -> None:
    heard = beacon(2).hear(said(beacon(1, host="127.0.0.1")), "192.0.2.1", 0, everybody)
    assert heard is not None
    assert heard.host == "127.0.0.1"


def test_only_news_are_told() -> None:
    speaker, listener = beacon(1), beacon(2)
    assert listener.hear(said(speaker), "h", 0, everybody)
    assert listener.hear(said(speaker), "h", 0, everybody) is None
    speaker.set_facts(b"new", 0)
    assert listener.hear(said(speaker), "h", 0, everybody)


def test_a_repetition_is_not_heard() -> None:
    speaker, listener = beacon(1), beacon(2)
    old, new = said(speaker), said(speaker)
    assert listener.hear(new, "h", 0, everybody)
    for datagram in (old, new):
        assert listener.hear(datagram, "elsewhere", 0, everybody) is None
    earlier_life = said(beacon(1, boot=0))
    assert listener.hear(earlier_life, "elsewhere", 0, everybody) is None


def test_strangers_get_nothing_not_even_an_answer() -> None:
    listener = beacon(2)
    said(listener)
    due_ns = listener.due_ns
    assert listener.hear(said(beacon(1, account="another")), "h", 0, nobody) is None
    assert listener.due_ns == due_ns


def test_a_device_that_says_it_is_of_our_account_is_handed_on_but_rarely_and_never_answered() -> None:
    listener = beacon(2)
    said(listener)
    due_ns = listener.due_ns
    told = [listener.hear(said(beacon(number)), "h", 0, nobody) for number in range(100, 150)]
    assert 1 <= sum(one is not None for one in told) <= 10
    assert listener.due_ns == due_ns


def test_memory_is_bounded_however_many_speak() -> None:
    listener = beacon(2)
    for number in range(BEACON_STRANGERS_MAX + 50):
        listener.hear(said(beacon(1000 + number)), "h", number * SECOND, nobody)
    assert len(listener._newest) == len(listener._told) == BEACON_STRANGERS_MAX


def test_a_flood_of_members_is_checked_only_so_often() -> None:
    speaker, listener = beacon(1), beacon(2)
    came = 0
    for number in range(1000):
        speaker.set_facts(b"%d" % number, 0)
        came += listener.hear(said(speaker), "h", SECOND, everybody) is not None
    assert came <= 201


def test_a_new_member_is_answered_soon_but_many_are_answered_once() -> None:
    listener = beacon(2)
    now_ns = 0
    for _ in range(10):
        now_ns = max(now_ns, listener.due_ns)
        assert listener.emit(now_ns)
    assert listener.due_ns - now_ns == BEACON_PERIOD_NS_MAX
    sent = 0
    for step in range(100):
        now_ns += MS
        listener.hear(said(beacon(100 + step)), "h", now_ns, everybody)
        sent += listener.emit(now_ns) is not None
    assert sent == 100 * MS // BEACON_ANSWER_NS_MIN


def test_own_words_and_too_many_facts() -> None:
    one = beacon(1)
    assert one.hear(said(beacon(1)), "h", 0, everybody) is None
    with pytest.raises(BadRequest):
        one.set_facts(bytes(BEACON_FACTS_BYTES_MAX + 1), 0)


@given(st.binary(max_size=1500))
@settings(max_examples=200, deadline=None)
def test_random_datagrams_are_nothing(datagram: bytes) -> None:
    listener = beacon(2)
    assert listener.hear(datagram, "h", 0, everybody) is None
    assert listener.hear(b"WOS1" + datagram, "h", 0, everybody) is None


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_changed_byte_anywhere_makes_it_nothing(data: st.DataObject) -> None:
    datagram = bytearray(said(beacon(1)))
    place = data.draw(st.integers(0, len(datagram) - 1))
    datagram[place] ^= data.draw(st.integers(1, 255))
    assert beacon(2).hear(bytes(datagram), "h", 0, everybody) is None


def test_an_allowance_saves_up_no_more_than_a_second() -> None:
    allowance = Allowance(10)
    assert sum(allowance.take(100 * SECOND) for _ in range(100)) == 10
    assert sum(allowance.take(100 * SECOND + SECOND // 10) for _ in range(100)) == 1
