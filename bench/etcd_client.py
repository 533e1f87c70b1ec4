"""Puts to etcd in gRPC over HTTP/2, by hand: ten times cheaper than a library, so that the client is not what is measured.

Only what a put needs: headers as literals (no table to keep), one DATA frame there, one back, and a trailer. An answer without
DATA is an error of etcd. Windows are made large once, and few enough requests are open that those of etcd never close.
Source: RFC 9113 (HTTP/2), RFC 7541 (HPACK), etcd's rpc.proto.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
DONE, FAILED = 0, 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WINDOW_BYTES = (1 << 31) - 1
OPEN_MAX = 128  # requests of 150 bytes: far below the 64 kB that etcd takes unasked


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a frame of HTTP/2."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _text(text: bytes) -> bytes:
    return bytes((len(text),)) + text


def _field(number: int, data: bytes) -> bytes:
    size = len(data)
    length = bytes((size,)) if size < 128 else bytes((size & 127 | 128, size >> 7))
    return bytes((number << 3 | 2,)) + length + data


PUT_HEADERS = b"".join((
    b"\x83\x86",  # :method POST, :scheme http
    b"\x04" + _text(b"/etcdserverpb.KV/Put"),
    b"\x01" + _text(b"etcd"),
    b"\x0f\x10" + _text(b"application/grpc"),
    b"\x00" + _text(b"te") + _text(b"trailers"),
))  # fmt: skip


def put_request(key: str, value: bytes) -> bytes:
    """Return the message of a put, framed as gRPC does."""
    message = _field(1, key.encode()) + _field(2, value)
    return b"\0" + len(message).to_bytes(4, "big") + message


class EtcdConnection(asyncio.Protocol):
    """One connection to a member. ``put`` answers by ``answered(number, DONE or FAILED)``."""

    def __init__(self, answered: Callable[[int, int], None]) -> None:
        self.answered = answered
        self.lost = False
        self._transport: asyncio.Transport | None = None
        self._data = bytearray()
        self._stream = 1
        self._open: dict[int, list[int]] = {}  # by stream: number, frames of data
        self._out: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        first = frame(SETTINGS, 0, 0, (4).to_bytes(2, "big") + WINDOW_BYTES.to_bytes(4, "big"))
        window = frame(WINDOW, 0, 0, (WINDOW_BYTES - 65535).to_bytes(4, "big"))
        self._transport.write(PREFACE + first + window)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        gone, self._open = self._open, {}
        for number, _ in gone.values():
            self.answered(number, FAILED)

    def put(self, number: int, key: str, value: bytes) -> None:
        stream, self._stream = self._stream, self._stream + 2
        self._open[stream] = [number, 0]
        self._write(
            frame(HEADERS, END_HEADERS, stream, PUT_HEADERS) + frame(DATA, END_STREAM, stream, put_request(key, value))
        )

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and not self.lost:
            self._transport.write(b"".join(out))

    def data_received(self, data: bytes) -> None:
        buffer = self._data
        buffer += data
        at, size = 0, len(buffer)
        while size - at >= 9:
            end = at + 9 + int.from_bytes(buffer[at : at + 3], "big")
            if end > size:
                break
            self._take(buffer[at + 3], buffer[at + 4], int.from_bytes(buffer[at + 5 : at + 9], "big"), at + 9, end)
            at = end
        del buffer[:at]

    def _take(self, kind: int, flags: int, stream: int, at: int, end: int) -> None:
        if kind == SETTINGS and not flags & ACK:
            self._write(frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            self._write(frame(PING, ACK, 0, bytes(self._data[at:end])))
        elif kind == GOAWAY:
            self.close()
        elif stream in self._open:
            asked = self._open[stream]
            asked[1] += kind == DATA
            if kind == RESET or (kind in (DATA, HEADERS) and flags & END_STREAM):
                del self._open[stream]
                self.answered(asked[0], DONE if asked[1] and kind != RESET else FAILED)
