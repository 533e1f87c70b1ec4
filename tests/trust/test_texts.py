"""A text that people carry says when it was cut off, mistyped, or is something else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import BadRequest
from worldos.trust.texts import TEXT_CHARS_MAX, read_text, write_text


@given(st.binary(max_size=300))
def test_what_is_written_is_read_back_whatever_a_mail_program_does(data: bytes) -> None:
    text = write_text("wosask1", data)
    folded = "\n".join(text[at : at + 60] for at in range(0, len(text), 60))
    assert read_text("wosask1", f"  {folded.upper()} \n") == data


@given(st.binary(max_size=60), st.integers(0, 200), st.sampled_from("abc7"))
def test_one_wrong_character_is_noticed(data: bytes, place: int, letter: str) -> None:
    text = write_text("wosask1", data)
    place = len("wosask1") + place % (len(text) - len("wosask1"))
    wrong = text[:place] + letter + text[place + 1 :]
    if wrong != text:
        with pytest.raises(BadRequest):
            read_text("wosask1", wrong)


def test_a_text_of_another_kind_is_refused() -> None:
    text = write_text("wosask1", b"data")
    for wrong in (
        "",
        "wosask1",
        text[:-1],
        write_text("wosgive1", b"data"),
        text + "é",
        "wosask1" + "a" * TEXT_CHARS_MAX,
    ):
        with pytest.raises(BadRequest):
            read_text("wosask1", wrong)
    with pytest.raises(BadRequest, match="begins with wosgive1"):
        read_text("wosgive1", text)
