"""A leased way carries data at the leased pace."""

from __future__ import annotations

import time

from worldos import use


def test_what_is_sent_arrives_in_order_and_no_faster_than_leased() -> None:
    data = bytes(range(250)) * 400  # 100 kB: 100 ms at 8 Mbit/s
    with use("Network", "8Mbps", to="me") as way:
        way.activate()
        begun = time.monotonic()
        assert way.send(data) == len(data)
        assert time.monotonic() - begun > 0.07
        assert way.receive() == data
        usage = way.usage()
        assert (usage.leased_bits_s, usage.arrived_bytes, usage.waiting_bytes) == (8_000_000, len(data), 0)
