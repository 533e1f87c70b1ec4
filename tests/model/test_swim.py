"""The order of rumors, and what the decoder refuses."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from tests.kernel.site import ALIVE, RUMORS, SUSPECT, A, B, rumor

from worldos.model.ids import NodeId
from worldos.model.limits import MEMBERS_MAX
from worldos.model.swim import ACCUSERS_MAX, Ack, Ping, Rumor, SwimMessage, merged


@given(RUMORS, RUMORS, RUMORS)
def test_merging_does_not_depend_on_order_or_number(x: Rumor, y: Rumor, z: Rumor) -> None:
    assert merged(x, x) == x
    assert merged(x, y) == merged(y, x)
    assert merged(merged(x, y), z) == merged(x, merged(y, z))


@pytest.mark.parametrize("message", [
    Ping(number=-1, target=A), Ping(number=2**63, target=A), Ping(number=1, target=NodeId("x" * 65)),
    Ping(number=1, target=A, rumors=tuple(rumor(A, ALIVE, 1) for _ in range(MEMBERS_MAX + 2))),
    Ack(number=1, rumors=(rumor(B, SUSPECT, 1, *(NodeId(f"{i}") for i in range(ACCUSERS_MAX + 1))),)),
])  # fmt: skip
def test_what_is_out_of_bounds_is_refused_by_the_decoder(message: SwimMessage) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=SwimMessage)
