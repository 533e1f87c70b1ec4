"""Letters: any device of the reader opens them, nobody else, and nobody passes one on as if it were for another."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import BadSignature, Damaged, OverQuota, PeerBroke
from worldos.model.ids import AccountId
from worldos.store.letters import (
    HYBRID_MAX,
    LETTER_BYTES_MAX,
    STANZAS_MAX,
    VALUE_BYTES_MAX,
    Contents,
    Reader,
    chance_bytes,
    open_letter,
    seal_letter,
    sign_contents,
    writer_of,
)
from worldos.trust.hybrid import HybridKey
from worldos.trust.keys import DeviceKey, id_of

ADA, BOB, EVE = (AccountId(id_of(bytes([n]) * 32)) for n in (1, 2, 3))
WRITER = DeviceKey.from_seed(b"w" * 32)
KEYS = [DeviceKey.from_seed(bytes([n]) * 32) for n in range(70)]
HYBRIDS = [HybridKey(bytes([n + 100]) * 32) for n in range(12)]
CONTENTS = Contents(kind="file", title="hello.txt", value=b"wos1code", note="for you", at_s=7)


def readers(count: int, hybrid: int = 12) -> list[Reader]:
    return [
        Reader(public=KEYS[n].public, hybrid=HYBRIDS[n].public if n < min(hybrid, len(HYBRIDS)) else b"")
        for n in range(count)
    ]


def sealed(to: list[Reader], contents: Contents = CONTENTS, account: AccountId = BOB) -> bytes:
    return seal_letter(
        account, to, sign_contents(WRITER, ADA, account, contents), bytes(range(256))[:1] * chance_bytes(len(to))
    )


def test_every_device_opens_it_and_sees_who_wrote_it() -> None:
    letter = sealed(readers(10))
    for place in range(10):
        written, contents = open_letter(letter, BOB, KEYS[place], HYBRIDS[place])
        assert contents == CONTENTS
        assert writer_of(written) == (ADA, WRITER.node_id)


def test_a_device_without_a_hybrid_key_and_the_words_open_it_too() -> None:
    letter = sealed([*readers(2, hybrid=1), Reader(public=KEYS[50].public)])
    assert open_letter(letter, BOB, KEYS[1], HYBRIDS[1])[1] == CONTENTS
    assert open_letter(letter, BOB, KEYS[50], None)[1] == CONTENTS


def test_nobody_else_opens_it() -> None:
    letter = sealed(readers(3))
    for key, hybrid in ((KEYS[4], HYBRIDS[4]), (KEYS[0], HYBRIDS[4]), (KEYS[0], None)):
        with pytest.raises(Damaged):
            open_letter(letter, BOB, key, hybrid)
    with pytest.raises(Damaged):
        open_letter(letter, EVE, KEYS[0], HYBRIDS[0])


def test_a_reader_cannot_pass_it_on_as_written_to_another() -> None:
    written, _ = open_letter(sealed(readers(1)), BOB, KEYS[0], HYBRIDS[0])
    passed_on = seal_letter(EVE, readers(1), written, bytes(chance_bytes(1)))
    with pytest.raises(BadSignature):
        open_letter(passed_on, EVE, KEYS[0], HYBRIDS[0])
    claimed = msgspec.structs.replace(written, account=EVE)
    with pytest.raises(BadSignature):
        open_letter(seal_letter(BOB, readers(1), claimed, bytes(chance_bytes(1))), BOB, KEYS[0], HYBRIDS[0])


def test_no_bit_can_be_changed_and_no_stanza_swapped() -> None:
    letter = sealed(readers(2))
    for place in range(0, len(letter), 97):
        changed = bytearray(letter)
        changed[place] ^= 1
        with pytest.raises((Damaged, PeerBroke)):
            open_letter(bytes(changed), BOB, KEYS[0], HYBRIDS[0])
    stanzas, body = msgspec.msgpack.decode(letter)
    with pytest.raises(Damaged):
        open_letter(msgspec.msgpack.encode([stanzas[:1], body]), BOB, KEYS[0], HYBRIDS[0])


def test_the_largest_letters_fit_one_statement_or_are_refused() -> None:
    assert len(sealed(readers(HYBRID_MAX))) <= LETTER_BYTES_MAX
    assert len(sealed(readers(30))) <= LETTER_BYTES_MAX
    with pytest.raises(OverQuota):
        sealed(readers(STANZAS_MAX + 1))
    with pytest.raises(OverQuota):
        sealed([])
    with pytest.raises(OverQuota):
        sealed(readers(60), msgspec.structs.replace(CONTENTS, value=bytes(VALUE_BYTES_MAX)))


def test_what_cannot_be_shown_is_not_shown() -> None:
    letter = sealed(readers(1), msgspec.structs.replace(CONTENTS, note="\x1b[2J"))
    with pytest.raises(PeerBroke, match="cannot be shown"):
        open_letter(letter, BOB, KEYS[0], HYBRIDS[0])


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises((PeerBroke, Damaged)):
        open_letter(data, BOB, KEYS[0], HYBRIDS[0])
