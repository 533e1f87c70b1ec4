"""Codes: 60 characters, one way down, and a clear word for every way to spoil one."""

from __future__ import annotations

import base64

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import BadRequest, NotAllowed
from worldos.store import caps, keys
from worldos.store.caps import CODE_CHARS, Cap, Right, read_code

SECRET = bytes(range(32))
CAPS = st.builds(
    Cap,
    right=st.sampled_from(Right),
    kind=st.sampled_from(["file", "folder"]),
    secret=st.binary(min_size=32, max_size=32),
)


def test_the_characters_of_a_code_are_those_of_the_specification() -> None:
    said = {right.value: Cap(right=right, secret=SECRET).code() for right in Right}
    said["folder"] = Cap(right=Right.READ, kind="folder", secret=SECRET).code()
    assert said == {
        "read": "wos1eaaacaqdaqcqmbyibefawdanbyhraeiscmkbkfqxdamrugy4dupb7wuq",
        "verify": "wos1eeaacaqdaqcqmbyibefawdanbyhraeiscmkbkfqxdamrugy4dupb6p3w",
        "append": "wos1eiaacaqdaqcqmbyibefawdanbyhraeiscmkbkfqxdamrugy4dupb6coa",
        "write": "wos1emaacaqdaqcqmbyibefawdanbyhraeiscmkbkfqxdamrugy4dupb7s3c",
        "folder": "wos1gaaacaqdaqcqmbyibefawdanbyhraeiscmkbkfqxdamrugy4dupb7a24",
    }


@given(CAPS)
def test_a_code_has_sixty_characters_and_reads_back(cap: Cap) -> None:
    code = cap.code()
    assert len(code) == CODE_CHARS == 60
    assert code == code.lower()
    assert code.startswith("wos1")
    assert read_code(code) == cap


@given(CAPS, st.randoms(use_true_random=False))
def test_blanks_dashes_and_capitals_are_forgiven(cap: Cap, dice: object) -> None:
    code = cap.code()
    lines = " \n" + "-".join(code[start : start + 7] for start in range(0, 60, 7)).upper() + "\t\u2011\u00a0"
    assert read_code(lines) == cap


@given(CAPS, st.integers(0, 59), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_one_wrong_character_is_seen_nearly_always_and_never_another_error(cap: Cap, place: int, letter: str) -> None:
    """The check lets 1 in 65 536 pass; then the secret is another one and opens nothing."""
    code = cap.code()
    wrong = code[:place] + letter + code[place + 1 :]
    if wrong == code:
        return
    try:
        assert read_code(wrong).secret != b""
    except BadRequest:
        return
    assert read_code(wrong) != cap


@given(st.text(max_size=80))
def test_garbage_is_no_code(text: str) -> None:
    with pytest.raises(BadRequest):
        read_code(text)


@given(st.binary(min_size=35, max_size=35))
def test_garbage_that_looks_like_a_code_is_none(data: bytes) -> None:
    code = "wos1" + base64.b32encode(data).decode().lower()
    try:
        cap = read_code(code)
    except BadRequest:
        return
    assert cap.code() == code


def test_a_cut_code_says_how_many_characters_are_missing_at_every_length() -> None:
    code = Cap(right=Right.READ, secret=SECRET).code()
    for size in range(3, 60):
        with pytest.raises(BadRequest, match=f"{60 - size} of 60 characters are missing") as caught:
            read_code(code[:size])
        assert caught.value.hint


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda code: "hello", "not a code of World OS"),
        (lambda code: "", "not a code of World OS"),
        (lambda code: "wos2" + code[4:], "version that this World OS does not know"),
        (lambda code: code + "aaa", "3 characters too many"),
        (lambda code: code[:9] + "0" + code[10:], "character 10 of this code, '0', is in no code"),
        (lambda code: code[:9] + "ß" + code[10:], "character 10 of this code, 'ß', is in no code"),
        (lambda code: code[:-1] + ("b" if code[-1] == "a" else "a"), "a wrong character somewhere"),
        (lambda code: code[:20] + code[21] + code[20] + code[22:], "a wrong character somewhere"),
        (lambda code: "wos1" + _coded(2 << 5), "version that this World OS does not know"),
        (lambda code: "wos1" + _coded(1 << 5 | 9), "version that this World OS does not know"),
    ],
)
def test_what_is_wrong_with_a_code_is_said(spoil: object, said: str) -> None:
    assert callable(spoil)
    with pytest.raises(BadRequest, match=said):
        read_code(spoil(Cap(right=Right.WRITE, secret=SECRET).code()))


def _coded(first: int) -> str:
    """A code with a good check, of a version or right that does not exist yet."""
    held = bytes([first]) + SECRET
    return base64.b32encode(held + caps._check(held)).decode().lower()


def test_rights_go_down_one_way() -> None:
    write = Cap(right=Right.WRITE, secret=SECRET, kind="folder")
    read, check = write.narrow(Right.READ), write.narrow(Right.VERIFY)
    assert read.narrow(Right.VERIFY) == check
    assert write.locator == read.locator == check.locator
    assert {cap.kind for cap in (write, read, check)} == {"folder"}
    assert write.narrow(Right.WRITE) is write
    for cap, right in ((check, Right.READ), (check, Right.WRITE), (read, Right.WRITE), (read, Right.APPEND)):
        with pytest.raises(NotAllowed):
            cap.narrow(right)
    append = write.narrow(Right.APPEND)
    assert append.secret == keys.append_of(SECRET)
    assert append.locator not in {write.locator, write.secret}


def test_a_code_to_verify_opens_no_contents() -> None:
    write = Cap(right=Right.WRITE, secret=SECRET)
    check = write.narrow(Right.VERIFY)
    with pytest.raises(NotAllowed):
        _ = check.read_secret
    sealed = AESGCM(keys.contents_key(write.read_secret)).encrypt(bytes(12), b"diary", None)
    held = check.secret
    for key in (held, keys.contents_key(held), keys.map_key(held), keys.read_secret(held, held), keys.verify_of(held)):
        with pytest.raises(InvalidTag):
            AESGCM(key).decrypt(bytes(12), sealed, None)


def test_a_code_to_append_leads_to_the_drop_box_and_nowhere_else() -> None:
    drop = Cap(right=Right.APPEND, kind="folder", secret=SECRET)
    assert drop.locator == keys.drop_log(SECRET)
    for secret in ("read_secret", "verify_secret"):
        with pytest.raises(NotAllowed):
            getattr(drop, secret)
    for right in (Right.READ, Right.VERIFY, Right.WRITE):
        with pytest.raises(NotAllowed):
            drop.narrow(right)


def test_a_cap_in_a_log_shows_no_secret() -> None:
    cap = Cap(right=Right.READ, secret=b"sesame!!" * 4)
    assert "sesame" not in repr(cap) + str(cap)
    assert repr(cap) == "Cap(read file)"


def test_a_cap_of_another_length_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Cap(right=Right.READ, secret=b"short").code()
