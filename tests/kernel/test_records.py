"""Records: what was decided comes back whole, and nothing else can be put in its place."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.offers import cpu, offer, view
from tests.kernel.worlds import needs, views, worlds

from worldos.errors import Damaged
from worldos.kernel.decisions import Acted, Ended, Made, decide, redo
from worldos.kernel.question import View
from worldos.kernel.records import (
    LEAF_BYTES,
    ChosenRecord,
    Committed,
    RecordKind,
    Revealed,
    check_payload,
    chosen_of,
    read_leaf,
    read_offer,
    read_record,
    record_of,
    write_leaf,
    write_offer,
    write_record,
)
from worldos.model.ids import LeaseId, UseId
from worldos.model.need import Need
from worldos.model.offer import Offer

SALT = bytes(16)


class Kept:
    def __init__(self) -> None:
        self.offers: dict[bytes, bytes] = {}

    def keep(self, one: Offer) -> bytes:
        data = write_offer(one)
        self.offers[sha256(data).digest()] = data
        return sha256(data).digest()

    def read(self, hashed: bytes) -> Offer:
        return read_offer(hashed, self.offers[hashed])


@given(worlds, st.lists(needs, min_size=1, max_size=3), views)
def test_a_choice_is_made_again_from_its_record_alone(offers: list[Offer], asked: list[Need], known: View) -> None:
    kept = Kept()
    _, _, made = decide(UseId("u"), tuple(asked), offers, known, splits=True)
    payload = write_record(record_of(made, kept.keep))
    record = check_payload(read_leaf(write_leaf(read_record(payload), 9, SALT, payload)), SALT, payload)
    assert isinstance(record, ChosenRecord)
    again = redo(chosen_of(record, kept.read))
    assert write_record(record_of(again, kept.keep)) == payload


def test_a_record_is_the_same_bytes_whatever_the_order_of_maps_and_sets() -> None:
    one = view(rtt_us={"a": 1, "b": 2}, doubted=frozenset({"a", "b"}))
    two = view(rtt_us={"b": 2, "a": 1, "x": 3}, doubted=frozenset({"b", "a", "x"}))
    offers = [offer("a"), offer("b")]
    written = [
        write_record(record_of(decide(UseId("u"), (cpu(),), offers, v, splits=True)[2], Kept().keep))
        for v in (one, two)
    ]
    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (Ended(lease=LeaseId("l"), why="expired"), RecordKind.ENDED),
        (Acted(what="guard", about="x", why="y", fields={"wave": 1}), RecordKind.ACTED),
        (Committed(round=1, commitment=bytes(32)), RecordKind.COMMITTED),
        (Revealed(round=1, secret=bytes(32), beacon=bytes(32), draws=4), RecordKind.REVEALED),
    ],
)
def test_other_decisions_come_back_too(made: Made, kind: RecordKind) -> None:
    payload = write_record(record_of(made, Kept().keep))
    leaf = read_leaf(write_leaf(made, 2**40, SALT, payload))
    assert (leaf.kind, leaf.at_s) == (kind, 2**40)
    assert check_payload(leaf, SALT, payload) == made


GOLDEN_LEAF = "0101000000000000000000006553f100420bbba90bf5362cb9b9eadb9cf0f91e6b69ae5064cf123912d442a25c7fc73c"
GOLDEN_PAYLOAD = (
    "8aa474797065a663686f73656ea66e756d62657200a3757365a27531a4686f6d65a4686f6d65a56e6f6e6365c4083132333435363738"
    "a56e656564739182a46b696e64a3435055a6616d6f756e74cd03e8a673706c697473c3a573656174739196c420945cb82176a73c4126"
    "20d0aad6b5b068127650071a314aeaca89be99b4a38fb4cd012c00c2c2c2a570617274739182a46b696e64a3435055a6616d6f756e74"
    "cd03e8a6616e737765729188a474797065a663686f696365a46e6f6465a161a87265736f75726365a7612f4350552f30a97265736f75"
    "7263657391a7612f4350552f30a573636f7265ce3bad2088aa636f6e7369646572656401a972756e6e65725f7570a0af72756e6e6572"
    "5f75705f73636f726500"
)


def test_the_bytes_of_a_decision_are_those_of_the_day_they_were_frozen() -> None:
    known = view(nonce=b"12345678", rtt_us={"a": 300})
    _, _, made = decide(UseId("u1"), (cpu(),), [offer("a")], known, splits=True)
    record = record_of(made, Kept().keep)
    payload = write_record(record)
    assert payload.hex() == GOLDEN_PAYLOAD
    assert write_leaf(record, 1_700_000_000, bytes(range(16)), payload).hex() == GOLDEN_LEAF
    assert write_record(read_record(bytes.fromhex(GOLDEN_PAYLOAD))).hex() == GOLDEN_PAYLOAD


def test_another_payload_salt_kind_or_offer_is_found() -> None:
    kept = Kept()
    _, _, made = decide(UseId("u"), (cpu(),), [offer("a")], view(), splits=True)
    record = record_of(made, kept.keep)
    assert isinstance(record, ChosenRecord)
    payload = write_record(record)
    leaf = read_leaf(write_leaf(record, 1, SALT, payload))
    for salt, data in ((b"\1" * 16, payload), (SALT, payload + b"\0"), (SALT, payload[:-1])):
        with pytest.raises(Damaged):
            check_payload(leaf, salt, data)
    with pytest.raises(Damaged):
        check_payload(leaf._replace(kind=RecordKind.ENDED), SALT, payload)
    (hashed, data), *_ = kept.offers.items()
    with pytest.raises(Damaged):
        read_offer(hashed, data + b"?")
    with pytest.raises(Damaged):
        read_offer(sha256(b"?").digest(), b"?")


@given(st.binary(max_size=100))
def test_garbage_is_refused_and_breaks_nothing(data: bytes) -> None:
    for door in (read_leaf, read_record):
        try:
            door(data)
        except Damaged:
            continue
        assert door is read_record or len(data) == LEAF_BYTES
