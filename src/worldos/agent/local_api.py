"""The local API's door: programs of this user, one Unix socket, every message checked before anyone sees it.

A frame is a 4-byte little-endian length and msgpack (model/local.py). Bytes that are no message end the connection with a
``Failure`` that says so; nothing else is affected. A program that does not read is dropped when too much waits for it.
"""

from __future__ import annotations

import asyncio
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Protocol, cast

import msgspec

from worldos.model.ids import ClientId
from worldos.model.limits import LOCAL_MESSAGE_BYTES_MAX
from worldos.model.local import LOCAL_VERSION, Failure, FromClient, Hello, ToClient

LENGTH = struct.Struct("<I")
WAITING_BYTES_MAX = 32 * 1024 * 1024

_decoder: msgspec.msgpack.Decoder[FromClient] = msgspec.msgpack.Decoder(FromClient)
_encoder = msgspec.msgpack.Encoder()


class Listener(Protocol):
    """Who gets the programs' messages."""

    def client_came(self, client: Client, hello: Hello) -> str:
        """Return why a program cannot come with the grant that it shows, or nothing."""

    def client_said(self, client: Client, message: FromClient) -> None:
        """Take a checked message."""

    def client_gone(self, client: Client) -> None:
        """The program ended or hung up."""


class Client(asyncio.Protocol):
    """One program's connection."""

    def __init__(self, listener: Listener, number: int) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self.id = ClientId(f"c{number}")
        self.program = ""
        self.watching = False
        self.grant = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Cut frames out of the stream."""
        self._buffer += data
        while len(self._buffer) >= LENGTH.size:
            (size,) = LENGTH.unpack_from(self._buffer)
            if size > LOCAL_MESSAGE_BYTES_MAX:
                self._refuse(f"a message of {size} bytes, at most {LOCAL_MESSAGE_BYTES_MAX} are allowed")
                return
            end = LENGTH.size + size
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[LENGTH.size : end])
            del self._buffer[:end]
            if not self._take(body):
                return

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._transport is not None:
            self._transport = None
            self._listener.client_gone(self)

    def tell(self, message: ToClient) -> None:
        """Send a message to the program."""
        if self._transport is None:
            return
        body = _encoder.encode(message)
        self._transport.write(LENGTH.pack(len(body)) + body)
        if self._transport.get_write_buffer_size() > WAITING_BYTES_MAX:
            self._transport.abort()

    def _take(self, body: bytes) -> bool:
        try:
            message = _decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._refuse(f"that is no message of the local API: {error}")
            return False
        if isinstance(message, Hello):
            if message.version != LOCAL_VERSION:
                self._refuse(f"the program speaks version {message.version}, this agent {LOCAL_VERSION}")
                return False
            why = self._listener.client_came(self, message) if message.grant else ""
            if why:
                self._refuse(f"the grant that the program shows leaves it nothing here: {why}")
                return False
            self.grant = message.grant or self.grant  # once narrowed, it stays so
            self.program = message.program[:200]
            return True
        if not self.program:
            self._refuse("the first message must be hello")
            return False
        self._listener.client_said(self, message)
        return True

    def _refuse(self, why: str) -> None:
        self.tell(Failure(request=0, error="BadRequest", message=why, hint="use worldos.use() or wos"))
        if self._transport is not None:
            self._transport.close()


class LocalApi:
    """The socket and the programs connected to it."""

    def __init__(self, path: Path, listener: Listener) -> None:
        self._path = path
        self._listener = listener
        self._server: asyncio.AbstractServer | None = None
        self._number = 0
        self.clients: dict[ClientId, Client] = {}

    async def start(self) -> None:
        """Listen. The caller holds the home's lock, so a socket that lies there is a dead agent's."""
        self._path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_unix_server(self._connected, str(self._path))
        finally:
            os.umask(before)

    async def close(self) -> None:
        """Stop listening and hang up."""
        if self._server is not None:
            self._server.close()
        for client in list(self.clients.values()):
            if client._transport is not None:
                client._transport.close()
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def forget(self, client: Client) -> None:
        """Drop a connection that ended."""
        self.clients.pop(client.id, None)

    def _connected(self) -> Client:
        self._number += 1
        client = Client(self._listener, self._number)
        self.clients[client.id] = client
        return client
