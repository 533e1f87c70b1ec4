"""What is said about a command is read in one encoding, under its own topic, and garbage never raises anything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.guard.fleet import REALM, id_of

from worldos.errors import PeerBroke
from worldos.kernel.guard.limits import STATEMENT_BYTES_MAX
from worldos.kernel.guard.said import (
    Approval,
    Did,
    Halt,
    Health,
    Outcome,
    Said,
    Spent,
    encode_said,
    read_said,
    topic_of,
)
from worldos.model.statements import Topic

ABOUT = "c" * 52
ALL: list[Said] = [
    Approval(command=ABOUT, key=id_of("ada")),
    Spent(command=ABOUT, place=REALM, window=1, first=0, count=1),
    Did(command=ABOUT, wave=0, outcome=Outcome.DONE),
    Health(command=ABOUT, wave=1, at_s=1, well=tuple(sorted((id_of("a"), id_of("b"))))),
    Halt(command=ABOUT, why="no"),
]
TOPICS = (Topic.APPROVAL, Topic.HEALTH, Topic.STOP)


@pytest.mark.parametrize("said", ALL, ids=lambda said: type(said).__name__)
def test_it_is_read_as_it_was_written_and_under_its_own_topic_only(said: Said) -> None:
    body = encode_said(said)
    assert read_said(topic_of(said), body) == said
    for topic in TOPICS:
        if topic is not topic_of(said):
            with pytest.raises(PeerBroke, match="another topic"):
                read_said(topic, body)
    with pytest.raises(PeerBroke):
        read_said(topic_of(said), body + b"\0")


@given(st.sampled_from(TOPICS), st.binary(max_size=200))
def test_garbage_is_refused(topic: Topic, body: bytes) -> None:
    with pytest.raises(PeerBroke):
        read_said(topic, body)


def test_what_is_too_long_or_names_a_node_twice_is_refused() -> None:
    with pytest.raises(PeerBroke, match="too long"):
        read_said(Topic.STOP, bytes(STATEMENT_BYTES_MAX + 1))
    twice = Health(command=ABOUT, wave=0, at_s=1, well=(id_of("a"), id_of("a")))
    with pytest.raises(PeerBroke, match="once, in order"):
        read_said(Topic.HEALTH, encode_said(twice))
