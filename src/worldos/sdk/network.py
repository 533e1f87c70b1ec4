"""Network: a way to one node on which data arrives no faster, and no slower than the link allows, than leased.

with use("Network", "100Mbps", to="pi") as way:
    way.send(data)
"""

from __future__ import annotations

from dataclasses import dataclass

from worldos.drivers.network_lane import WAITING_BYTES_MAX, send_all
from worldos.sdk.device import Device


@dataclass(frozen=True)
class NetworkUsage:
    """What a way carried. The mean is taken from the first piece to the last."""

    leased_bits_s: int
    arrived_bytes: int
    waiting_bytes: int
    mean_bits_s: int


class Network(Device):
    """A way to a node, at the leased pace. What has arrived waits at the far end until it is received."""

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Send all of it; return how many bytes have arrived in all."""
        return send_all(self.command, data, self.need.amount)

    def receive(self, size_max: int = WAITING_BYTES_MAX) -> bytes:
        """Return what has arrived, in order, at most ``size_max`` bytes; nothing if nothing waits."""
        return bytes(self.command("receive", size_max))

    def usage(self) -> NetworkUsage:
        """Return what is leased, what arrived, what waits and how fast it was."""
        return NetworkUsage(**self.command("usage"))
