"""A pump joins a channel and a socket on this machine: bytes flow both ways, with backpressure.

What the socket gives is kept and leaves with the next frame; what the channel gives is copied once. A side that
has enough pauses the other; the end of one direction ends only that direction; the loss of one side closes the other.

    pump = Pump(ended)
    await loop.create_unix_connection(lambda: pump.socket, path)
    channel.accept(pump); pump.join(channel)        # or: pump.join(fabric.open_channel(node, hello, pump))

``ended(ending, reason)`` is called once, when the channel is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from worldos.fabric.channel import Channel, Ending
from worldos.fabric.limits import WRITE_HIGH_BYTES, WRITE_LOW_BYTES


class Pump:
    """The channel's side (``channel.Receiver``); ``socket`` is the other."""

    def __init__(self, ended: Callable[[Ending, str], None] | None = None) -> None:
        self.socket = SocketEnd(self)
        self.channel: Channel | None = None
        self._ended = ended
        self._early: list[bytes] = []  # came from the channel before there was a socket: at most a window
        self.far_eof = False

    def join(self, channel: Channel) -> None:
        """Begin: what the socket gives goes into the channel from here on."""
        self.channel = channel
        self.socket.read_on()

    def accepted(self) -> None:
        """Note that the far end took the channel; bytes may already be on their way."""

    def data_received(self, data: memoryview) -> None:
        """Move bytes from the channel to the socket."""
        transport = self.socket.transport
        if transport is None:
            self._early.append(bytes(data))
        else:
            transport.write(bytes(data))  # the view is void after this call

    def eof_received(self) -> None:
        """Close the socket's writing side; it may still give."""
        self.far_eof = True
        self.socket.end_writing()

    def writable(self) -> None:
        """Read from the socket again."""
        self.socket.read_on()

    def closed(self, ending: Ending, reason: str) -> None:
        """Close the socket: after what was written if all came, at once if the channel broke."""
        transport = self.socket.transport
        if transport is not None and ending is Ending.DONE:
            transport.close()
        elif transport is not None:
            transport.abort()
        if self._ended is not None:
            self._ended(ending, reason)

    def socket_is_there(self, transport: asyncio.Transport) -> None:
        """Give the socket what came before it."""
        for data in self._early:
            transport.write(data)
        self._early.clear()
        if self.far_eof:
            self.socket.end_writing()


class SocketEnd(asyncio.Protocol):
    """The socket's side of a pump."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self.transport: asyncio.Transport | None = None
        self._eof = False

    def end_writing(self) -> None:
        """Pass on the far end's eof; with both directions ended the socket is closed."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if self._eof:
            transport.close()
        elif transport.can_write_eof():
            transport.write_eof()

    def read_on(self) -> None:
        """Read from now on, or again."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hold the socket until there is a channel."""
        transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self.transport = transport
        transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES, low=WRITE_LOW_BYTES)
        channel = self._pump.channel
        if channel is not None and channel.closed:
            transport.close()
            return
        if channel is None:
            transport.pause_reading()
        self._pump.socket_is_there(transport)

    def data_received(self, data: bytes) -> None:
        """Move bytes from the socket to the channel."""
        channel = self._pump.channel
        assert channel is not None, "a socket is read only after join"
        channel.write(data)
        if not channel.writable and self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """End one direction; keep the socket for the other, if that has not ended too."""
        self._eof = True
        if self._pump.channel is not None:
            self._pump.channel.eof()
        return not self._pump.far_eof

    def pause_writing(self) -> None:
        """Grant the far end no more."""
        if self._pump.channel is not None:
            self._pump.channel.pause()

    def resume_writing(self) -> None:
        """Grant the far end more again."""
        if self._pump.channel is not None:
            self._pump.channel.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the channel: after what was read, or at once if the socket broke."""
        self.transport = None
        channel = self._pump.channel
        if channel is not None and exc is None:
            channel.close()
        elif channel is not None:
            channel.abort(f"the socket broke: {exc}")
