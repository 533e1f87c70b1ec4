"""Requests: what the holder of a grant signs each time, and the table that lets each one through once.

A request says what is asked (operation, path, hash of the body), by which grant, when, and a number that grows with each
request of its stream (one process of a holder). It is signed by the grant's last holder: a grant on the wire, in a log or on
a lost disk is worth nothing without that key. A node takes a request only within 300 s of its own clock, and each number
once: of each stream it remembers the highest number and which of the last 1024 were seen (the window of IPsec, RFC 4303
3.4.3), so that memory is bounded and requests may still overtake each other. What it saw before it was started it cannot
know, so a request from before then is refused. All streams below one first block share a bounded room: keys of one's own
making fill no table.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from worldos.errors import BadRequest, NotAllowed, OverQuota, PeerBroke
from worldos.model.rights import Op
from worldos.trust import cbor
from worldos.trust.block import Hash, Place
from worldos.trust.grant import Authority
from worldos.trust.keys import SIGNATURE_BYTES, DeviceKey, public_of, verify
from worldos.trust.limits import (
    NONCE_WINDOW,
    REQUEST_BYTES_MAX,
    REQUEST_SKEW_S,
    STREAMS_MAX,
    STREAMS_PER_GRANT_MAX,
)

_DOMAIN = "request"
_NUMBER_MAX = (1 << 63) - 1
_DEPTH = 2

Number = Annotated[int, msgspec.Meta(ge=0, le=_NUMBER_MAX)]


class Request(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """What is asked by which grant. ``at_s``: unix time at the asker.

    ``stream``: drawn by each process that asks; ``number``: 1, 2, 3 and so on in it.
    """

    op: Op
    path: Place
    body: Hash
    at_s: Number
    stream: Number
    number: Number
    chain: Hash


class SignedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was read, with what was signed."""

    request: Request
    signed: bytes
    signature: bytes


class Window(msgspec.Struct, kw_only=True):
    """Which numbers of one stream were seen: ``seen`` has a bit for each of the last, the highest first."""

    highest: int
    seen: int
    at_s: int  # the latest time that it signed


class Requests(msgspec.Struct, kw_only=True):
    """The numbers that were seen, of each stream under the first block of its grant."""

    since_s: int = 0  # when this node began to remember; 0: its clock is not known yet
    windows: dict[str, dict[str, Window]] = {}
    streams: int = 0

    def check(self, signed: SignedRequest, authority: Authority, now_s: int) -> None:
        """Take a request of a checked grant, once; raise NotAllowed, BadSignature or OverQuota."""
        request = signed.request
        if request.chain != authority.chain:
            raise NotAllowed("the request was signed for another grant")
        if now_s <= 0 or abs(now_s - request.at_s) > REQUEST_SKEW_S:
            raise NotAllowed(f"the request is of another time: the clocks differ by more than {REQUEST_SKEW_S} s")
        if request.at_s < self.since_s:
            raise NotAllowed("the request is from before this node was started: sign it again")
        verify(public_of(authority.holder), _DOMAIN, signed.signed, signed.signature)
        self._count(authority, request, now_s)

    def _count(self, authority: Authority, request: Request, now_s: int) -> None:
        root, stream = authority.blocks[0], f"{authority.holder}:{request.stream:x}"
        window = self.windows.get(root, {}).get(stream)
        if window is None:
            self._make_room(root, now_s)
            window = Window(highest=request.number, seen=0, at_s=request.at_s)
            self.windows.setdefault(root, {})[stream] = window
            self.streams += 1
        _mark(window, request.number)
        window.at_s = max(window.at_s, request.at_s)

    def _make_room(self, root: str, now_s: int) -> None:
        """Forget streams whose every request is too old to come again; raise OverQuota if none is."""
        if len(self.windows.get(root, ())) >= STREAMS_PER_GRANT_MAX:
            self._forget(root, now_s)
            if len(self.windows.get(root, ())) >= STREAMS_PER_GRANT_MAX:
                raise OverQuota(f"more than {STREAMS_PER_GRANT_MAX} askers use one grant at a time")
        if self.streams >= STREAMS_MAX:
            for each in sorted(self.windows):
                self._forget(each, now_s)
            if self.streams >= STREAMS_MAX:
                raise OverQuota(f"more than {STREAMS_MAX} askers at a time")

    def _forget(self, root: str, now_s: int) -> None:
        windows = self.windows[root]
        old = [stream for stream, window in windows.items() if window.at_s + REQUEST_SKEW_S < now_s]
        for stream in old:
            del windows[stream]
        self.streams -= len(old)
        if not windows:
            del self.windows[root]


def sign_request(key: DeviceKey, request: Request) -> bytes:
    """Sign a request as the holder of its grant; BadRequest if it could not be read again."""
    signed = cbor.encode(msgspec.to_builtins(request, builtin_types=(bytes,)))
    data = signed + key.sign(_DOMAIN, signed)
    try:
        read_request(data)
    except PeerBroke as cause:
        raise BadRequest(f"no such request can be made: {cause}") from cause
    return data


def read_request(data: bytes) -> SignedRequest:
    """Read a request and its signature, unchecked; raise PeerBroke for anything that is none."""
    if not SIGNATURE_BYTES < len(data) <= REQUEST_BYTES_MAX:
        raise PeerBroke(f"a request has at most {REQUEST_BYTES_MAX} bytes, 64 of them its signature")
    signed, signature = data[:-SIGNATURE_BYTES], data[-SIGNATURE_BYTES:]
    try:
        request = msgspec.convert(cbor.decode(signed, REQUEST_BYTES_MAX, _DEPTH), Request, builtin_types=(bytes,))
    except msgspec.ValidationError as cause:
        raise PeerBroke(f"a request is not well formed: {cause}") from cause
    return SignedRequest(request=request, signed=signed, signature=signature)


def _mark(window: Window, number: int) -> None:
    """Mark a number as seen; raise NotAllowed where it was, or is too far back to know."""
    ahead = number - window.highest
    if ahead > 0:
        window.seen = (window.seen << min(ahead, NONCE_WINDOW) | 1) & ((1 << NONCE_WINDOW) - 1)
        window.highest = number
        return
    if -ahead >= NONCE_WINDOW or window.seen >> -ahead & 1:
        raise NotAllowed("the request came before, or too late to know: sign it again")
    window.seen |= 1 << -ahead
