"""Multicast sockets for beacons: v4 and v6, on every interface, several nodes on one machine.

Group and port are fixed. Each datagram goes out once per interface, the loopback one included, with a hop limit of 1: it never
leaves the local network. Interfaces come and go; ``refresh`` looks again. What the system refuses is left out: a machine
without v6, or an interface without an address, still finds the others by what it has.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from worldos.fabric.limits import BEACON_BYTES_MAX, BEACON_INTERFACES_MAX
from worldos.fabric.tcp import scoped_host

GROUP_V4: Final = "239.77.79.83"
GROUP_V6: Final = "ff02::574f:5331"  # link-local
PORT: Final = 47123

Hear = Callable[[bytes, str], None]
"""(datagram, host that it came from)"""


class Multicast:
    """Sends and receives datagrams of the group."""

    def __init__(self, hear: Hear, *, host: str = "", port: int = PORT) -> None:
        self._hear = hear
        self._host = host  # listen and send on the interface with this address only; empty: on all
        self._port = port
        self._sockets: dict[socket.AddressFamily, socket.socket] = {}
        self._interfaces: list[int] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Open what can be opened."""
        self._loop = asyncio.get_running_loop()
        for family in (socket.AF_INET, socket.AF_INET6):
            if self._host and (":" in self._host) != (family == socket.AF_INET6):
                continue
            with suppress(OSError):
                self._sockets[family] = self._open(family)
        for raw in self._sockets.values():
            self._loop.add_reader(raw, self._readable, raw)
        self.refresh()

    def close(self) -> None:
        """Close all."""
        for raw in self._sockets.values():
            assert self._loop is not None, "it has started"
            self._loop.remove_reader(raw)
            raw.close()
        self._sockets.clear()

    def refresh(self) -> None:
        """Join the group on interfaces that are new."""
        self._interfaces = [index for index, _ in socket.if_nameindex()][:BEACON_INTERFACES_MAX]
        if self._host and ":" not in self._host:
            self._interfaces = [0]  # the address decides
        for family, raw in self._sockets.items():
            for index in self._interfaces:
                with suppress(OSError):  # joined before, or not able to
                    self._join(family, raw, index)

    def send(self, datagram: bytes) -> None:
        """Send on every interface."""
        for family, raw in self._sockets.items():
            for index in self._interfaces:
                with suppress(OSError):  # an interface that is down, or has no such address
                    self._send(family, raw, index, datagram)

    # -- inside ------------------------------------------------------------------------------------

    def _open(self, family: socket.AddressFamily) -> socket.socket:
        raw = socket.socket(family, socket.SOCK_DGRAM)
        try:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "SO_REUSEPORT"):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET:
                raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
                raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
                raw.bind((GROUP_V4, self._port))
            else:
                raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
                raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
                raw.bind(("::", self._port))
            raw.setblocking(False)  # noqa: FBT003  (the standard library's signature)
        except OSError:
            raw.close()
            raise
        return raw

    def _join(self, family: socket.AddressFamily, raw: socket.socket, index: int) -> None:
        if family == socket.AF_INET:
            raw.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, self._mreqn(index))
        else:
            group = socket.inet_pton(family, GROUP_V6) + struct.pack("@I", index)
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)

    def _send(self, family: socket.AddressFamily, raw: socket.socket, index: int, datagram: bytes) -> None:
        if family == socket.AF_INET:
            raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, self._mreqn(index))
            raw.sendto(datagram, (GROUP_V4, self._port))
        else:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            raw.sendto(datagram, (GROUP_V6, self._port, 0, index))

    def _mreqn(self, index: int) -> bytes:
        """Make a ``struct ip_mreqn``: group, own address, interface; an address decides alone."""
        group = socket.inet_aton(GROUP_V4)
        if self._host:
            return struct.pack("@4s4si", group, socket.inet_aton(self._host), 0)
        return struct.pack("@4s4si", group, bytes(4), index)

    def _readable(self, raw: socket.socket) -> None:
        for _ in range(64):  # then let others have their turn
            try:
                datagram, source = raw.recvfrom(BEACON_BYTES_MAX + 1)
            except OSError:
                return
            self._hear(datagram, scoped_host(source))
