"""Realms on the wire: sizes are bounded at the type, and epochs have one order."""

from __future__ import annotations

import msgspec
import pytest

from worldos.errors import PeerBroke
from worldos.model import wire
from worldos.model.realm import CANDIDATES_MAX, HOPS_MAX, Epoch, ProposeAsk, RealmId, SummaryTold, rank
from worldos.model.summary import LINES_MAX, Line, Summary


def test_the_larger_number_is_newer_and_of_equals_the_legitimate() -> None:
    order = [Epoch(1, provisional=True), Epoch(1), Epoch(2, provisional=True), Epoch(2)]
    assert sorted([order[2], order[0], order[3], order[1]], key=rank) == order


@pytest.mark.parametrize(
    "message",
    [
        ProposeAsk(realm=RealmId(""), number=1, command=b""),
        ProposeAsk(realm=RealmId("r" * 65), number=1, command=b""),
        SummaryTold(child=RealmId("c"), epoch=Epoch(-1), summary=Summary()),
        SummaryTold(
            child=RealmId("c"),
            epoch=Epoch(1),
            summary=Summary(lines=(Line(kind="CPU", speed=1, free=1, largest=1, nodes=1),) * (LINES_MAX + 1)),
        ),
    ],
)
def test_what_is_out_of_bounds_is_refused_at_the_door(message: wire.PeerMessage) -> None:
    with pytest.raises(PeerBroke):
        wire.decode(msgspec.msgpack.encode(message))


def test_a_bid_is_bounded_in_what_it_brings_and_how_far_it_goes() -> None:
    assert CANDIDATES_MAX <= 16
    assert HOPS_MAX <= 64
