"""The gate of the page: by which link one comes in, how a visit is known again, and what a request must look like.

A page on the loopback address is within reach of every program of this machine and of every web site that its user opens, so:

- **The link** is a secret for one use within two minutes: time and nonce, sealed by a key of this home's page (mode 0600). It
  stands behind the ``#`` of the address, which a browser sends to nobody.
- **A visit** is known by *two* secrets: a cookie (HttpOnly, SameSite=Strict), which no script can read, and a second one that
  the page keeps for its own origin and sends as a header. Cookies know no ports: another server on ``localhost`` is sent the
  first, and never sees the second.
- **Every request** must name this very origin: ``Host`` (a name that some DNS points to 127.0.0.1 is another), ``Origin`` where
  it asks for anything, and no ``Sec-Fetch-Site`` but the same.
- **Presence** is proven by the link or by a passkey, and is good for 15 minutes where something is hard to undo.

All bounded, times in seconds of one clock that never goes back, chance given by the caller. Source: OWASP, Session Management;
W3C Fetch Metadata; for cookies without ports, RFC 6265, 8.5.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from worldos.errors import NotAllowed
from worldos.trust.passkeys import rp_id_of
from worldos.web.limits import (
    CHALLENGE_LIFE_S,
    CHALLENGES_MAX,
    LINK_LIFE_S,
    SURE_LIFE_S,
    USED_LINKS_MAX,
    VISIT_LIFE_S,
    VISITS_MAX,
)

KEY_BYTES = 32
NONCE_BYTES = 16
SECRET_BYTES = 32
PAGE_HEADER = "x-wos-page"
_TIME = struct.Struct(">Q")
_LINK_BYTES = _TIME.size + NONCE_BYTES + 32
_NEW_LINK = "make a new one: wos page --link"


def make_link(key: bytes, nonce: bytes, now_s: int) -> str:
    """Make the secret part of a login link; good once, until LINK_LIFE_S from now (Unix time)."""
    assert len(key) == KEY_BYTES
    assert len(nonce) == NONCE_BYTES
    said = _TIME.pack(now_s + LINK_LIFE_S) + nonce
    return _text(said + _seal(key, said))


def vouch(key: bytes, nonce: bytes) -> str:
    """Prove to this user's own commands that a page is theirs: only who reads the home knows the key."""
    return hmac.new(key, b"worldos/page vouch\0" + nonce, hashlib.sha256).hexdigest()


@dataclass(kw_only=True)
class Visit:
    """Somebody who came in; ``sure_until_s`` is how long their last proof of presence is good."""

    cookie: str
    secret: str
    ends_s: int
    sure_until_s: int
    challenges: dict[bytes, int] = field(default_factory=dict)

    def remember(self, challenge: bytes, now_s: int) -> bytes:
        """Keep a challenge that this visit was given; the oldest goes when there are too many."""
        while len(self.challenges) >= CHALLENGES_MAX:
            del self.challenges[next(iter(self.challenges))]
        self.challenges[challenge] = now_s + CHALLENGE_LIFE_S
        return challenge

    def spend(self, challenge: bytes, now_s: int) -> None:
        """Take a challenge back, once; NotAllowed if this visit was not given it, or too long ago."""
        if self.challenges.pop(challenge, 0) <= now_s:
            raise NotAllowed("this was asked too long ago, or twice", hint="do it again")


class Gate:
    """Who may use the page at ``origin``. ``key`` seals login links."""

    def __init__(self, origin: str, key: bytes) -> None:
        self.origin = origin
        self.host = origin.split("://", 1)[1]
        self.rp_id = rp_id_of(origin)
        self.cookie_name = "__Host-wos" if origin.startswith("https:") else "wos-page"
        self._key = key
        self._used: dict[bytes, int] = {}
        self._visits: dict[str, Visit] = {}

    def check_headers(self, headers: Mapping[str, str], *, asks: bool) -> None:
        """Raise NotAllowed unless the request is one that this page's own code makes; ``asks`` if it wants an answer.

        Looking at the bare page (a GET) shows nothing that is anybody's, and a browser names no origin for it.
        """
        if headers.get("host", "") != self.host:
            raise NotAllowed(f"this page is {self.origin} and nothing else")
        site = headers.get("sec-fetch-site", "same-origin")
        if asks and (headers.get("origin", "") != self.origin or site != "same-origin"):
            raise NotAllowed("only the page itself may ask here")

    def enter(self, link: str, random: bytes, wall_s: int, now_s: int) -> Visit:
        """Begin a visit by a login link; ``random`` is 64 fresh bytes. NotAllowed for a link that is used, old or wrong."""
        assert len(random) == 2 * SECRET_BYTES
        nonce = self._spend_link(link, wall_s)
        self._used[nonce] = wall_s + LINK_LIFE_S
        while len(self._visits) >= VISITS_MAX:
            del self._visits[next(iter(self._visits))]
        visit = Visit(
            cookie=_text(random[:SECRET_BYTES]),
            secret=_text(random[SECRET_BYTES:]),
            ends_s=now_s + VISIT_LIFE_S,
            sure_until_s=now_s + SURE_LIFE_S,
        )
        self._visits[_digest(visit.cookie)] = visit
        return visit

    def visit(self, cookies: Mapping[str, str], headers: Mapping[str, str], now_s: int) -> Visit:
        """Return whose request this is; NotAllowed if nobody's, or the visit is over."""
        found = self._visits.get(_digest(cookies.get(self.cookie_name, "")))
        said = headers.get(PAGE_HEADER, "").encode(errors="replace")
        if found is None or not hmac.compare_digest(said, found.secret.encode()):
            raise NotAllowed("you are not signed in here", hint="open the page by its link: wos page --link")
        if now_s >= found.ends_s:
            self.leave(found)
            raise NotAllowed("this visit is over: it was 12 hours", hint=_NEW_LINK)
        return found

    def leave(self, visit: Visit) -> None:
        """End a visit."""
        self._visits.pop(_digest(visit.cookie), None)

    def check_sure(self, visit: Visit, now_s: int) -> None:
        """Raise NotAllowed unless presence was proven lately."""
        if now_s >= visit.sure_until_s:
            raise NotAllowed("prove that it is you", hint="use a passkey, or come in by a new link")

    def vouch(self, nonce: str) -> str:
        """Answer a command that wants to know whose page this is."""
        data = _bytes(nonce)
        if len(data) != NONCE_BYTES:
            raise NotAllowed("a page vouches for itself over a nonce of 16 bytes")
        return vouch(self._key, data)

    def prove(self, visit: Visit, now_s: int) -> None:
        """Note that presence was proven now."""
        visit.sure_until_s = min(now_s + SURE_LIFE_S, visit.ends_s)

    def _spend_link(self, link: str, wall_s: int) -> bytes:
        data = _bytes(link)
        said, seal = data[: _LINK_BYTES - 32], data[_LINK_BYTES - 32 :]
        if len(data) != _LINK_BYTES or not hmac.compare_digest(seal, _seal(self._key, said)):
            raise NotAllowed("this link opens nothing here", hint=_NEW_LINK)
        (ends_s,) = _TIME.unpack_from(said)
        if not wall_s < ends_s <= wall_s + LINK_LIFE_S:
            raise NotAllowed("this link is too old", hint=_NEW_LINK)
        self._used = {nonce: until_s for nonce, until_s in self._used.items() if until_s > wall_s - LINK_LIFE_S}
        nonce = said[_TIME.size :]
        if nonce in self._used or len(self._used) >= USED_LINKS_MAX:
            raise NotAllowed("this link was used already", hint=_NEW_LINK)
        return nonce


def _seal(key: bytes, said: bytes) -> bytes:
    return hmac.new(key, b"worldos/page link\0" + said, hashlib.sha256).digest()


def _digest(cookie: str) -> str:
    """Look a visit up by a hash: how long that takes tells nothing of the cookie."""
    return hashlib.sha256(cookie.encode(errors="replace")).hexdigest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    if len(text) > 2 * _LINK_BYTES:
        return b""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return b""
