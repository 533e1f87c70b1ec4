"""Names: one spelling for all devices, every script, and a clear word for what is no name."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import BadRequest
from worldos.store.limits import NAME_BYTES_MAX, NAME_DEPTH_MAX, NAME_PART_BYTES_MAX
from worldos.store.names import check, clean, conflict_name, is_clean, may_be_conflict, text_of

SCRIPTS = (
    "été",
    "Ωμέγα",
    "日本語",
    "한국어",
    "العربية",
    "עברית",
    "हिन्दी",
    "ไทย",
    "Ёлка",
    "𒀀𒀁",
    "🦜🧑‍🚀",
    "a b",
    "x\\y",
    "-rf",
    "con",
    "~",
)
PARTS = st.text(min_size=1, max_size=30)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_name_may_be_in_any_script(name: str) -> None:
    parts = clean(f"wos://{name}/{name}")
    assert parts == (unicodedata.normalize("NFC", name),) * 2
    assert is_clean(text_of(parts))


@pytest.mark.parametrize("name", SCRIPTS)
def test_both_normal_forms_are_one_name(name: str) -> None:
    assert clean(unicodedata.normalize("NFD", name)) == clean(unicodedata.normalize("NFC", name))


def test_a_scheme_and_slashes_at_the_ends_say_nothing() -> None:
    assert clean("wos://a/b") == clean("/a/b") == clean("a/b/") == ("a", "b")
    assert clean("") == clean("/") == clean("wos://") == clean("wos:///") == ()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a/../b", r"'\.\.'"),
        ("..", r"'\.\.'"),
        ("./a", r"'\.'"),
        ("a//b", "empty part"),
        ("a\0b", "control characters"),
        ("a\nb", "control characters"),
        ("a\x1b[31m", "control characters"),
        ("a\x85b", "control characters"),
        ("\ud800", "not Unicode"),
        ("x" * (NAME_PART_BYTES_MAX + 1), "a part of 256 bytes"),
        ("é" * 128, "a part of 256 bytes"),
        ("/".join(["d" * 200] * 21), "4220 bytes|bytes: 4096"),
        ("/".join(["d"] * (NAME_DEPTH_MAX + 1)), "in each other"),
        ("x" * 100_000, "the most"),
    ],
)
def test_what_is_no_name_is_refused_and_says_why(name: str, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        clean(name)


def test_the_longest_names_are_names() -> None:
    assert clean("x" * NAME_PART_BYTES_MAX)
    longest = "/".join(["d" * 255] * 16)
    assert len(longest) == NAME_BYTES_MAX - 1
    assert is_clean(longest)


@given(st.text(max_size=80))
def test_every_text_is_a_name_or_refused_and_cleaning_twice_changes_nothing(text: str) -> None:
    try:
        parts = clean(text)
    except BadRequest:
        return
    again = text_of(parts)
    assert clean(again) == parts
    assert not parts or is_clean(again)
    check(parts)


@given(PARTS)
def test_what_is_not_in_the_one_spelling_is_not_clean(part: str) -> None:
    other = unicodedata.normalize("NFD", part)
    if other != unicodedata.normalize("NFC", part):
        assert not is_clean(other)


@given(PARTS, st.text(max_size=100), st.integers(1, 9))
def test_the_name_of_a_conflict_is_a_name_that_says_so(name: str, device: str, number: int) -> None:
    try:
        name = text_of(clean(name.replace("/", "_")))
    except BadRequest:
        return
    made = conflict_name(name, device, number)
    if name:
        assert is_clean(made)
    assert may_be_conflict(made)
