"""The fuzzers' targets, small: Hypothesis throws bytes at each, and changes what was good a little."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_what_the_fuzzers_begin_from_breaks_nothing(name: str) -> None:
    for seed in TARGETS[name].seeds:
        TARGETS[name].run(seed)
        TARGETS[name].run(seed[:-1])
        TARGETS[name].run(seed + b"\0")


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
@settings(max_examples=30)
def test_no_bytes_break_a_decoder(name: str, data: st.DataObject) -> None:
    target = TARGETS[name]
    seed = bytearray(data.draw(st.sampled_from([*target.seeds, b""])))
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(seed)))
        cut = data.draw(st.integers(0, 4))
        seed[place : place + cut] = data.draw(st.binary(max_size=40))
    target.run(bytes(seed))
