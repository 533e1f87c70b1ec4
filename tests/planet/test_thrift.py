"""What would reach the target."""

from __future__ import annotations

import math

import pytest

from worldos.planet import thrift
from worldos.planet.site import Pace
from worldos.planet.sizes import sizes
from worldos.planet.tree import planet


def test_each_step_saves_something_and_all_together_meet_the_target_with_slower_probes() -> None:
    world = planet(10_000)
    sent = [thrift.sent(world, sizes(), step) for step in thrift.steps()]
    assert sent == sorted(sent, reverse=True)
    assert sent[0] > 100 * thrift.TARGET_BYTES
    last = thrift.steps()[-1]
    period_s = thrift.probe_period_s(world, sizes(), last)
    assert 1 < period_s < 10
    slower = thrift.Step("", Pace(**{**_fields(last.within), "probe_s": period_s}), last.above)
    assert thrift.sent(world, sizes(), slower) == pytest.approx(thrift.TARGET_BYTES, rel=0.01)


def test_as_it_is_no_probe_period_meets_the_target() -> None:
    assert math.isinf(thrift.probe_period_s(planet(10_000), sizes(), thrift.steps()[0]))


def test_a_datagram_is_smaller_than_a_message_in_a_session() -> None:
    assert 0.3 < thrift.datagram_share(sizes()) < 0.7


def _fields(pace: Pace) -> dict[str, float]:
    return {name: getattr(pace, name) for name in pace.__struct_fields__}
