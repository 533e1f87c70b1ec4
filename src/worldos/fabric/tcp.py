"""TCP under a link: the asyncio end of ``Link`` on a socket.

All sockets of a process read into one buffer: asyncio and uvloop hand each read over before the next begins.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from typing import Final, cast

from worldos.errors import BadRequest
from worldos.fabric.limits import NOTSENT_LOWAT_BYTES, RECEIVE_BYTES, WRITE_HIGH_BYTES, WRITE_LOW_BYTES
from worldos.fabric.link import Link

_BUFFER: Final = memoryview(bytearray(RECEIVE_BYTES))
_TCP_NOTSENT_LOWAT: Final = getattr(socket, "TCP_NOTSENT_LOWAT", None)

Address = tuple[str, int]


def parse_address(text: str) -> Address:
    """Read ``host:port`` or ``[v6]:port``."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536 or not host.strip("[]"):
        raise BadRequest(f"not an address: {text!r}", hint="write it as host:port, or [v6]:port")
    return host.strip("[]"), int(port)


def format_address(address: Address) -> str:
    """Write an address as ``host:port`` or ``[v6]:port``."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_near(host: str) -> bool:
    """Whether an address is on this machine or a private network, where it is mostly the machine's own and no gateway's."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False  # a name


def scoped_host(source: tuple[object, ...]) -> str:
    """Return the host of a socket address; a link-local one with its interface, without which nobody can dial it."""
    host = str(source[0]).removeprefix("::ffff:")
    return f"{host}%{source[3]}" if len(source) == 4 and source[3] else host


class TcpCarrier(asyncio.BufferedProtocol):
    """Carries one link over one TCP connection."""

    def __init__(self, connected: Callable[[TcpCarrier, Address], Link | None], clock_ns: Callable[[], int]) -> None:
        self._connected = connected
        self._clock_ns = clock_ns
        self._link: Link | None = None
        self._transport: asyncio.Transport | None = None

    # -- what asyncio calls ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a link, unless the host has no room for it."""
        transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES, low=WRITE_LOW_BYTES)
        raw = transport.get_extra_info("socket")
        if raw is not None and _TCP_NOTSENT_LOWAT is not None:
            raw.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, NOTSENT_LOWAT_BYTES)
        peer = transport.get_extra_info("peername") or ("", 0)
        self._link = self._connected(self, (scoped_host(peer), int(peer[1])))
        if self._link is None:
            transport.abort()
        else:
            self._link.start(self._clock_ns())

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer that all sockets share."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on what was read."""
        if self._link is not None:
            self._link.feed(_BUFFER[:nbytes], self._clock_ns())

    def pause_writing(self) -> None:
        """Note that the socket has enough."""
        if self._link is not None:
            self._link.pause()

    def resume_writing(self) -> None:
        """Note that the socket takes bytes again."""
        if self._link is not None:
            self._link.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is gone."""
        self._transport = None
        if self._link is not None:
            self._link.lost(f"the connection broke: {exc}" if exc else "closed by the far end")
            self._link = None

    # -- what the link calls -----------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """Close after what was written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()


def listening_socket(listen: Address) -> socket.socket:
    """Bind and listen; an empty host means every address, of both families where the system has v6."""
    host, port = listen
    infos = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    both = not host and socket.has_dualstack_ipv6()
    family, _, _, _, where = min(infos, key=lambda info: info[0] != (socket.AF_INET6 if both else socket.AF_INET))
    raw = socket.socket(family, socket.SOCK_STREAM)
    try:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
        raw.bind(where)
        raw.listen(128)
        raw.setblocking(False)  # noqa: FBT003  (the standard library's signature)
    except OSError:
        raw.close()
        raise
    return raw
