"""Beacons: signed datagrams on the local network, by which the members of an account find each other without configuration.

    "WOS1" | boot u64 | seq u64 | port u16 | key 32 | account (u8 + text) | host (u8 + text) | facts (u16 + bytes) | signature 64

An empty ``host`` means the address that the datagram came from. A beacon proves that the key holder once said this, not that it
said it now or here (anybody may repeat it), so it is only a hint where to dial; the TLS handshake decides. ``boot`` and ``seq``
only rise, which stops all repetitions but the newest.

Who starts sends often and then ever less (50 ms to 5 s). Who hears a member for the first time answers soon with its own next
beacon: never more than one per 50 ms however many are heard, and never to an address, so it amplifies nothing. What cannot be
read, comes from nobody we know, or exceeds the rate is dropped without a word. A node that is no member but says that it
belongs to our account is handed on at a small rate: its facts may prove it.

Pure: moments in, datagrams in and out.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final

import msgspec

from worldos.errors import BadRequest, BadSignature
from worldos.fabric.limits import (
    BEACON_ANSWER_NS_MIN,
    BEACON_BYTES_MAX,
    BEACON_CHECKS_PER_SECOND_MAX,
    BEACON_FACTS_BYTES_MAX,
    BEACON_PERIOD_NS_MAX,
    BEACON_PERIOD_NS_MIN,
    BEACON_STRANGERS_MAX,
    BEACON_STRANGERS_PER_SECOND_MAX,
    SECOND,
)
from worldos.model.ids import AccountId, NodeId
from worldos.trust.keys import DeviceKey, node_id_of, verify

DOMAIN: Final = "worldos/beacon/1"
_HEAD: Final = Struct("<4sQQH32s")
_MAGIC: Final = b"WOS1"
_SIGNATURE_BYTES: Final = 64
_TEXT_BYTES_MAX: Final = 64


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What a beacon says that is new. ``host`` is where its sender can be dialed, if its signature does not lie."""

    node: NodeId
    account: AccountId
    boot: int
    host: str
    port: int
    facts: bytes


class Allowance:
    """So many per second, and no more saved up than one second's worth."""

    def __init__(self, per_second: int) -> None:
        self._pause_ns = SECOND // per_second
        self._full_ns = 0  # when it will be full again

    def take(self, now_ns: int) -> bool:
        """Use one up, if there is one."""
        full_ns = max(self._full_ns, now_ns)
        if full_ns - now_ns > SECOND - self._pause_ns:
            return False
        self._full_ns = full_ns + self._pause_ns
        return True


class Beacon:
    """What one node says of itself, and what it makes of what it hears."""

    def __init__(self, key: DeviceKey, account: AccountId, boot: int, *, host: str, port: int) -> None:
        self._key = key
        self._account = account
        self._boot = boot
        self._host = host
        self._port = port
        self._facts = b""
        self._seq = 0
        self._sent_ns = -BEACON_ANSWER_NS_MIN
        self._due_ns = 0
        self._period_ns = BEACON_PERIOD_NS_MIN
        self._newest: dict[NodeId, tuple[int, int]] = {}  # (boot, seq)
        self._told: dict[NodeId, Heard] = {}
        self._members = Allowance(BEACON_CHECKS_PER_SECOND_MAX)
        self._strangers = Allowance(BEACON_STRANGERS_PER_SECOND_MAX)

    def set_facts(self, facts: bytes, now_ns: int) -> None:
        """Change what goes along, and say it soon."""
        if len(facts) > BEACON_FACTS_BYTES_MAX:
            raise BadRequest(f"{len(facts)} bytes of facts in a beacon", hint=f"at most {BEACON_FACTS_BYTES_MAX}")
        if facts != self._facts:
            self._facts = facts
            self._soon(now_ns)

    @property
    def due_ns(self) -> int:
        """When the next beacon is due."""
        return self._due_ns

    def emit(self, now_ns: int) -> bytes | None:
        """Return a beacon if one is due."""
        if now_ns < self._due_ns:
            return None
        self._sent_ns = now_ns
        self._due_ns = now_ns + self._period_ns
        self._period_ns = min(self._period_ns * 2, BEACON_PERIOD_NS_MAX)
        self._seq += 1
        said = b"".join(
            (
                _HEAD.pack(_MAGIC, self._boot, self._seq, self._port, self._key.public),
                _text(self._account),
                _text(self._host),
                len(self._facts).to_bytes(2, "little"),
                self._facts,
            )
        )
        datagram = said + self._key.sign(DOMAIN, said)
        assert len(datagram) <= BEACON_BYTES_MAX, "the parts are bounded"
        return datagram

    def hear(self, datagram: bytes, source: str, now_ns: int, is_member: Callable[[NodeId], bool]) -> Heard | None:
        """Return what a datagram from ``source`` says, if it is genuine and news; else None, whatever it is."""
        if not _HEAD.size + _SIGNATURE_BYTES < len(datagram) <= BEACON_BYTES_MAX:
            return None
        magic, boot, seq, port, public = _HEAD.unpack_from(datagram)
        if magic != _MAGIC or public == self._key.public or not port:
            return None
        node = node_id_of(public)
        if (boot, seq) <= self._newest.get(node, (0, 0)):
            return None
        member = is_member(node)
        parts = _parts(datagram[_HEAD.size : -_SIGNATURE_BYTES])
        if parts is None or not (member or parts[0] == self._account):
            return None
        if not (self._members if member else self._strangers).take(now_ns):
            return None
        try:
            verify(public, DOMAIN, datagram[:-_SIGNATURE_BYTES], datagram[-_SIGNATURE_BYTES:])
        except BadSignature:
            return None
        account, host, facts = parts
        heard = Heard(node=node, account=AccountId(account), boot=boot, host=host or source, port=port, facts=facts)
        return self._note(heard, seq, now_ns, member=member)

    # -- inside ------------------------------------------------------------------------------------

    def _note(self, heard: Heard, seq: int, now_ns: int, *, member: bool) -> Heard | None:
        node = heard.node
        self._newest.pop(node, None)
        self._newest[node] = (heard.boot, seq)
        old = self._told.pop(node, None)
        self._told[node] = heard
        if len(self._newest) > BEACON_STRANGERS_MAX:  # the one heard longest ago goes
            oldest = next(iter(self._newest))
            del self._newest[oldest]
            self._told.pop(oldest, None)
        if member and (old is None or old.boot != heard.boot):
            self._soon(now_ns)
        return heard if heard != old else None

    def _soon(self, now_ns: int) -> None:
        self._due_ns = min(self._due_ns, max(now_ns, self._sent_ns + BEACON_ANSWER_NS_MIN))


def _text(text: str) -> bytes:
    raw = text.encode()
    assert len(raw) <= _TEXT_BYTES_MAX, "ids and addresses are short"
    return bytes((len(raw),)) + raw


def _parts(body: bytes) -> tuple[str, str, bytes] | None:
    """Cut account, host and facts; None where the lengths do not fit exactly."""
    texts: list[str] = []
    at = 0
    for _ in range(2):
        end = at + 1 + (body[at] if at < len(body) else 0)
        raw = body[at + 1 : end]
        if end > len(body) or len(raw) > _TEXT_BYTES_MAX or not raw.isascii():
            return None
        texts.append(raw.decode("ascii"))
        at = end
    facts = body[at + 2 :]
    if (
        len(body) < at + 2
        or len(facts) > BEACON_FACTS_BYTES_MAX
        or int.from_bytes(body[at : at + 2], "little") != len(facts)
    ):
        return None
    return texts[0], texts[1], facts
