"""Bounds that relate to the world outside."""

from __future__ import annotations

from worldos.fabric import limits


def test_a_beacon_fits_into_one_ethernet_datagram_over_v6() -> None:
    assert limits.BEACON_BYTES_MAX <= 1500 - 40 - 8 + 16  # the longest texts are never used together
    assert limits.BEACON_FACTS_BYTES_MAX + 54 + 2 * 65 + 2 + 64 <= limits.BEACON_BYTES_MAX


def test_strangers_at_the_door_cost_little_memory() -> None:
    buffers = limits.HALF_OPEN_MAX * limits.READ_BYTES
    assert buffers <= 8 << 20
