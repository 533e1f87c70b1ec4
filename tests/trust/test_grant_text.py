"""A grant as a word is the same grant again, and nothing else is one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import BadRequest
from worldos.trust.grant_text import PREFIX, grant_text, read_grant_text


@given(st.binary(min_size=1, max_size=4096))
def test_a_grant_is_read_as_it_was_written(grant: bytes) -> None:
    assert read_grant_text(grant_text(grant)) == grant


def test_line_breaks_on_the_way_are_forgiven() -> None:
    word = grant_text(bytes(range(90)))
    assert read_grant_text(f"  {word[:30]}\n{word[30:60]}\r\n {word[60:]}\n") == bytes(range(90))


@pytest.mark.parametrize(
    "text", ["", "wosg1", PREFIX, "wosg2.AAAA", PREFIX + "AA=A", PREFIX + "A", PREFIX + "é", "x" * 9000]
)
def test_anything_else_is_refused_with_what_to_do(text: str) -> None:
    with pytest.raises(BadRequest):
        read_grant_text(text)


@given(st.text(max_size=60))
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        read_grant_text(text.replace("wosg1.", ""))
