"""TLS 1.3 without sockets, and who is let in.

Both ends show a certificate below the root of their own device (``worldos.trust.certs``); the anchors are the roots
of the members. No tickets and no resumption: a resumed session would accept an expired certificate. OpenSSL checks
the chain and the dates; who it is, and whether it still is welcome, is asked by us after the handshake and
whenever that changes, because a context does not forget an anchor while connections live. So an anchor that is left
in a context lets nobody in, and where there are many of them (0.2 ms each to load, for each context) a few are left.

``TlsPipe`` turns bytes into bytes (``ssl.MemoryBIO``), so the same code secures a TCP connection and a channel
through a relay: there the relay carries the records of an inner connection between the two ends and sees only ids
and sizes.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterable

from worldos.errors import PeerBroke
from worldos.fabric.limits import ANCHORS_CHEAP, STALE_ANCHORS_MAX


class LinkEnded(Exception):
    """The far end closed its side in good order."""


class Credentials:
    """The two TLS contexts of a node, its own leaf, and the anchors that it believes."""

    def __init__(self, chain_pem: bytes, key_pem: bytes, anchors: Iterable[bytes]) -> None:
        self._leaf = (chain_pem, key_pem)
        self._anchors: frozenset[bytes] = frozenset()
        self.server = _context(ssl.PROTOCOL_TLS_SERVER)
        self.client = _context(ssl.PROTOCOL_TLS_CLIENT)
        self.believe(anchors)

    def renew(self, chain_pem: bytes, key_pem: bytes) -> None:
        """Show a fresh leaf from the next handshake on."""
        self._leaf = (chain_pem, key_pem)
        self._show()

    def believe(self, anchors: Iterable[bytes]) -> None:
        """Believe these roots (DER). New ones count at once; after a removal both contexts are made anew, if it is cheap."""
        wanted = frozenset(anchors)
        stale = len(self._anchors - wanted)
        if not self._anchors or stale > (STALE_ANCHORS_MAX if len(wanted) > ANCHORS_CHEAP else 0):
            self.server = _context(ssl.PROTOCOL_TLS_SERVER)
            self.client = _context(ssl.PROTOCOL_TLS_CLIENT)
            self._anchors = frozenset()
            self._show()
        self.add(*sorted(wanted - self._anchors))

    def add(self, *anchors: bytes) -> None:
        """Believe these roots (DER) too."""
        if anchors:
            self.server.load_verify_locations(cadata=b"".join(anchors))
            self.client.load_verify_locations(cadata=b"".join(anchors))
            self._anchors |= frozenset(anchors)

    def _show(self) -> None:
        _load_leaf((self.server, self.client), *self._leaf)


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # a node's name is its key, not its host
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0
    return context


def _load_leaf(contexts: tuple[ssl.SSLContext, ...], chain_pem: bytes, key_pem: bytes) -> None:
    """Give certificate and key to OpenSSL, which only takes files: one in memory, or one that is unlinked at once."""
    with _nameless_file(chain_pem + b"\n" + key_pem) as path:
        for context in contexts:
            context.load_cert_chain(path)


class _nameless_file:  # noqa: N801  (reads like a function in a with statement)
    """A path to bytes that no other user can open and that is gone after the block."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._fd = -1
        self._path = ""

    def __enter__(self) -> str:
        if hasattr(os, "memfd_create"):
            self._fd = os.memfd_create("leaf", os.MFD_CLOEXEC)
            os.write(self._fd, self._content)
            return f"/proc/self/fd/{self._fd}"
        self._fd, self._path = tempfile.mkstemp()  # mode 0600
        os.write(self._fd, self._content)
        return self._path

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
        if self._path:
            os.unlink(self._path)


class TlsPipe:
    """One TLS connection as bytes in, bytes out."""

    __slots__ = ("_in", "_out", "_tls")

    def __init__(self, credentials: Credentials, *, dialed: bool) -> None:
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        context = credentials.client if dialed else credentials.server
        self._tls = context.wrap_bio(self._in, self._out, server_side=not dialed)

    def feed(self, data: bytes | memoryview) -> None:
        """Put in what came from the far end."""
        self._in.write(data)

    def take(self) -> bytes:
        """Take out what must go to the far end."""
        return self._out.read()

    def handshake(self) -> bool:
        """Go on with the handshake; True when it is done. Raises ``PeerBroke`` for a far end that is not let in."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise PeerBroke("the TLS handshake failed") from error
        return True

    def peer_leaf(self) -> bytes:
        """Return the far end's certificate (DER) after the handshake."""
        leaf = self._tls.getpeercert(binary_form=True)
        if leaf is None:
            raise PeerBroke("no certificate")
        return leaf

    def read_into(self, room: memoryview) -> int:
        """Decrypt into ``room``; 0 when nothing more has come. Raises ``LinkEnded`` at a clean end."""
        try:
            count = self._tls.read(len(room), room)
        except ssl.SSLWantReadError:
            return 0
        except ssl.SSLZeroReturnError as error:
            raise LinkEnded from error
        except ssl.SSLError as error:
            raise PeerBroke("damaged TLS records") from error
        if not count:
            raise LinkEnded
        return int(count)

    def more(self) -> bool:
        """Whether ``read_into`` may give something without more input."""
        return bool(self._in.pending or self._tls.pending())

    def write(self, data: bytes) -> None:
        """Encrypt; take the records with ``take``."""
        self._tls.write(data)

    def end(self) -> None:
        """Say good-bye in the records that ``take`` gives next."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            return  # the far end has not said good-bye yet, or never will: nobody waits for it
