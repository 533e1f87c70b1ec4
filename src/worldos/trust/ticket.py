"""Tickets: what one machine says so that another, or another realm, can join it: for a QR code, and safe to paste.

A ticket is ``wos-`` and base32 of: version, a 16-byte secret, the first 10 bytes of the account's and the inviter's
id, when it ends, where to call, and a checksum. The secret lets in one machine, once, and only to where two people
compare a code; the two beginnings of ids (80 bits) keep another machine from answering in the inviter's place. When
it ends is a hint for people: the inviter decides by its own clock.

A ticket for a realm begins with ``wosr-`` and has a version number of its own, so that neither kind is taken for the
other. It is the whole authority: no code is compared, and who has it first may use it.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import ipaddress

import msgspec

from worldos.errors import BadRequest
from worldos.model.ids import AccountId, NodeId
from worldos.trust.keys import bytes_of, id_of

SECRET_BYTES = 16
TICKET_CHARS_MAX = 2048
ADDRESSES_MAX = 8
ID_PREFIX_CHARS = 16
LIFE_S = 600

_ID_PREFIX_BYTES = 10
_EXPIRES_BYTES = 5
_CHECKSUM_BYTES = 4
_HOST_BYTES_MAX = 253
_V4, _V6, _NAMED = 4, 6, 0


class Guest(enum.StrEnum):
    """Whom a ticket lets in; the value is how its text begins."""

    DEVICE = "wos-"
    REALM = "wosr-"


_VERSIONS = {Guest.DEVICE: 1, Guest.REALM: 2}
_WHERE = {Guest.DEVICE: "wos invite", Guest.REALM: "wos realm invite"}
_OTHER = {
    Guest.DEVICE: ("this ticket is for a realm, not for a machine", "wos realm join TICKET"),
    Guest.REALM: ("this ticket is for a machine, not for a realm", "wos join TICKET, on the machine that it is for"),
}


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """An invitation to one machine, or to one realm. The prefixes are the first ID_PREFIX_CHARS characters of the whole ids."""

    addresses: tuple[str, ...]
    secret: bytes
    inviter_prefix: str
    account_prefix: str
    expires_s: int
    guest: Guest = Guest.DEVICE

    def encode(self) -> str:
        """Write the ticket as text. In upper case it is a smaller QR code, and reads the same."""
        body = b"".join(
            [
                bytes([_VERSIONS[self.guest]]),
                self.secret,
                _prefix_bytes(self.account_prefix),
                _prefix_bytes(self.inviter_prefix),
                self.expires_s.to_bytes(_EXPIRES_BYTES, "big"),
                *(_pack_address(address) for address in self.addresses),
            ]
        )
        return self.guest + base64.b32encode(body + _checksum(body)).decode("ascii").rstrip("=").lower()

    @classmethod
    def parse(cls, text: str, guest: Guest = Guest.DEVICE) -> Ticket:
        """Read a ticket as a person pasted it; raise BadRequest that says whether it is none, another, or damaged."""
        compact = "".join(text[: TICKET_CHARS_MAX + 1].split()).lower()
        other = Guest.REALM if guest is Guest.DEVICE else Guest.DEVICE
        if compact.startswith(other):
            raise BadRequest(_OTHER[guest][0], hint=_OTHER[guest][1])
        if not compact.startswith(guest) or len(compact) > TICKET_CHARS_MAX:
            raise BadRequest(
                f"this is not a ticket: a ticket begins with {guest.value}", hint=f"{_WHERE[guest]} prints one"
            )
        body = _checked_body(compact.removeprefix(guest), guest)
        if body[0] != _VERSIONS[guest]:
            raise BadRequest("this ticket is of another version of World OS", hint="bring both machines to one version")
        try:
            return _unpack(body, guest)
        except (IndexError, ValueError) as cause:
            raise BadRequest("this ticket cannot be read", hint=f"make a new one: {_WHERE[guest]}") from cause


def new_ticket(
    *,
    addresses: tuple[str, ...],
    secret: bytes,
    inviter: NodeId,
    account: AccountId,
    expires_s: int,
    guest: Guest = Guest.DEVICE,
) -> Ticket:
    """Make a ticket with 16 fresh random bytes; BadRequest if an address is not ``host:port``."""
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a ticket's secret has {SECRET_BYTES} bytes, not {len(secret)}")
    if not 1 <= len(addresses) <= ADDRESSES_MAX:
        raise BadRequest(f"a ticket names 1 to {ADDRESSES_MAX} addresses, not {len(addresses)}")
    for address in addresses:
        _pack_address(address)
    return Ticket(
        addresses=addresses,
        secret=secret,
        inviter_prefix=inviter[:ID_PREFIX_CHARS],
        account_prefix=account[:ID_PREFIX_CHARS],
        expires_s=expires_s,
        guest=guest,
    )


def _checked_body(text: str, guest: Guest) -> bytes:
    damaged = BadRequest(
        "this ticket is damaged: a character is wrong or missing", hint=f"copy it whole, from {guest.value} to its end"
    )
    try:
        raw = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError) as cause:
        raise damaged from cause
    body, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
    if not body or checksum != _checksum(body) or base64.b32encode(raw).decode("ascii").rstrip("=").lower() != text:
        raise damaged
    return body


def _unpack(body: bytes, guest: Guest) -> Ticket:
    reader = _Reader(body[1:])
    secret = reader.take(SECRET_BYTES)
    account, inviter = _prefix_chars(reader.take(_ID_PREFIX_BYTES)), _prefix_chars(reader.take(_ID_PREFIX_BYTES))
    expires_s = int.from_bytes(reader.take(_EXPIRES_BYTES), "big")
    addresses: list[str] = []
    while reader.rest:
        addresses.append(_unpack_address(reader))
        _pack_address(addresses[-1])
    if not 1 <= len(addresses) <= ADDRESSES_MAX:
        raise ValueError("too few or too many addresses")
    return Ticket(
        addresses=tuple(addresses),
        secret=secret,
        inviter_prefix=inviter,
        account_prefix=account,
        expires_s=expires_s,
        guest=guest,
    )


class _Reader:
    def __init__(self, rest: bytes) -> None:
        self.rest = rest

    def take(self, count: int) -> bytes:
        if len(self.rest) < count:
            raise ValueError("ends too early")
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken


def _pack_address(address: str) -> bytes:
    """Write ``host:port`` or ``[v6]:port`` small: 7 bytes for IPv4, 19 for IPv6, names as they are."""
    host, _, port_text = address.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or not bare.isprintable() or " " in bare or (":" in bare and bare == host):
        raise BadRequest(f"{address[:80]!r} is not an address: write host:port or [IPv6]:port")
    if not (port_text.isascii() and port_text.isdigit()) or port_text[0] == "0" or int(port_text[:6]) >= 1 << 16:
        raise BadRequest(f"{address[:80]!r} is not an address: a port is a number from 1 to 65535")
    port = int(port_text).to_bytes(2, "big")
    try:
        number = ipaddress.ip_address(bare)
    except ValueError:
        number = None
    if number is not None and _written(number) == host:
        return bytes([number.version]) + number.packed + port
    name = host.encode("utf-8", "replace")
    if len(name) > _HOST_BYTES_MAX:
        raise BadRequest(f"{address[:80]!r} is not an address: the name is too long")
    return bytes([_NAMED, len(name)]) + name + port


def _written(number: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Write a number as it is unpacked; one with a zone ("%eth0") is not written so, and goes as a name."""
    bare = type(number)(number.packed)
    return str(bare) if number.version == _V4 else f"[{bare}]"


def _unpack_address(reader: _Reader) -> str:
    kind = reader.take(1)[0]
    if kind == _V4:
        host = str(ipaddress.IPv4Address(reader.take(4)))
    elif kind == _V6:
        host = f"[{ipaddress.IPv6Address(reader.take(16))}]"
    elif kind == _NAMED:
        host = reader.take(reader.take(1)[0]).decode()
    else:
        raise ValueError("an unknown kind of address")
    return f"{host}:{int.from_bytes(reader.take(2), 'big')}"


def _prefix_bytes(prefix: str) -> bytes:
    return bytes_of(prefix + "a" * (52 - ID_PREFIX_CHARS))[:_ID_PREFIX_BYTES]


def _prefix_chars(prefix: bytes) -> str:
    return id_of(prefix + bytes(32 - _ID_PREFIX_BYTES))[:ID_PREFIX_CHARS]


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(b"worldos/ticket\0" + body).digest()[:_CHECKSUM_BYTES]
