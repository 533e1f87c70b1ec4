"""Feature codes: one code a person, forgiving in its form and in nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import BadRequest, PeerBroke
from worldos.model.ids import AccountId
from worldos.store.caps import CODE_CHARS as FILE_CODE_CHARS
from worldos.trust.feature_code import CODE_CHARS, feature_code_of, is_feature_code, names_account, read_feature_code
from worldos.trust.keys import id_of

ACCOUNT = AccountId(id_of(bytes(range(32))))
CODE = feature_code_of(ACCOUNT)


def test_a_code_names_its_account_and_no_other() -> None:
    assert len(CODE) == CODE_CHARS == 40
    assert read_feature_code(CODE) == ACCOUNT[:32]
    assert names_account(CODE, ACCOUNT)
    assert not names_account(CODE, AccountId(id_of(bytes(32))))


@given(st.binary(min_size=32, max_size=32))
def test_every_account_has_a_code_that_reads_back(account: bytes) -> None:
    code = feature_code_of(AccountId(id_of(account)))
    assert read_feature_code(code) == id_of(account)[:32]


def test_blanks_dashes_and_capitals_are_forgiven() -> None:
    groups = [CODE[at : at + 5] for at in range(0, CODE_CHARS, 5)]
    for joint in (" ", "-", "\n", "\u2011"):
        assert read_feature_code(joint.join(groups).upper()) == ACCOUNT[:32]


def test_any_one_wrong_character_is_seen() -> None:
    for place in range(4, CODE_CHARS):
        for letter in "a7":
            wrong = CODE[:place] + letter + CODE[place + 1 :]
            if wrong != CODE:
                with pytest.raises(BadRequest):
                    read_feature_code(wrong)


def test_two_neighbours_that_changed_places_are_seen() -> None:
    for place in range(4, CODE_CHARS - 1):
        wrong = CODE[:place] + CODE[place + 1] + CODE[place] + CODE[place + 2 :]
        if wrong != CODE:
            with pytest.raises(BadRequest):
                read_feature_code(wrong)


def test_what_is_no_code_is_refused_with_the_reason() -> None:
    for text, why in (
        ("", "begin with wos1"),
        ("hello", "begin with wos1"),
        ("wos1" + "a" * (FILE_CODE_CHARS - 4), "40 characters, not 60"),
        (CODE[:-1], "not 39"),
        (CODE[:10] + "1" + CODE[11:], "'1'"),
        (CODE[:10] + "\u0430" + CODE[11:], "is in no code"),  # a Cyrillic a
    ):
        with pytest.raises(BadRequest, match=why):
            read_feature_code(text)
    with pytest.raises(PeerBroke):
        feature_code_of(AccountId("x"))


def test_a_code_of_a_person_is_told_from_that_of_a_file() -> None:
    assert is_feature_code(CODE)
    assert is_feature_code(CODE.upper() + "\n")
    assert not is_feature_code("wos1" + "a" * (FILE_CODE_CHARS - 4))
    assert not is_feature_code("phone")
