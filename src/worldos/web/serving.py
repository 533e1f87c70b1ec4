"""Serving the page on this machine alone, until it is stopped; and the links by which one comes in.

granian serves inside this process' own loop (its embedded server), on the loopback address. The key that seals links lies in the
home (mode 0600), so a second ``wos page --link`` makes a link for the page that runs already. A link is handed to the browser by
a file that only this user can read: on a command line every user of the machine could see it. ``localhost`` has two addresses;
the second one is held closed, so that nobody answers there in this page's name.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import html
import http.client
import os
import secrets
import signal
import socket
import time
from pathlib import Path

import msgspec
from granian.constants import Interfaces
from granian.server.embed import Server

from worldos.errors import DiskFull, NotAllowed
from worldos.home import Home
from worldos.web.gate import KEY_BYTES, NONCE_BYTES, Gate, make_link, vouch
from worldos.web.page import Page

LOOPBACK, LOOPBACK_6 = "127.0.0.1", "::1"
OWN_ADDRESSES = ((socket.AF_INET, LOOPBACK), (socket.AF_INET6, LOOPBACK_6))
VOUCH_TIMEOUT_S, ANSWER_BYTES_MAX = 2.0, 4096
BACKLOG, BACKPRESSURE = 64, 64


def new_key(home: Home, port: int) -> bytes:
    """Make the key of this page; links and visits of an earlier one end with it."""
    key = secrets.token_bytes(KEY_BYTES)
    _write_private(_key_file(home, port), key)
    return key


def known_key(home: Home, port: int) -> bytes:
    """Return the key of the page of this home that runs at this port; NotAllowed if there is none."""
    try:
        key = _key_file(home, port).read_bytes()
    except OSError as cause:
        raise NotAllowed(f"no page of this home runs at port {port}", hint="start it: wos page") from cause
    if len(key) != KEY_BYTES:
        raise NotAllowed(f"no page of this home runs at port {port}", hint="start it: wos page")
    return key


def runs_already(home: Home, origin: str, port: int) -> bool:
    """Whether what listens at this port is the page of this home, by its proof that it knows the home's key."""
    try:
        key = known_key(home, port)
    except NotAllowed:
        return False
    nonce = secrets.token_bytes(NONCE_BYTES)
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=VOUCH_TIMEOUT_S)
    headers = {"Host": origin.split("://", 1)[1], "Origin": origin, "Content-Type": "application/json"}
    body = msgspec.json.encode({"nonce": base64.urlsafe_b64encode(nonce).rstrip(b"=").decode()})
    try:
        connection.request("POST", "/vouch", body, headers)
        said = msgspec.json.decode(connection.getresponse().read(ANSWER_BYTES_MAX))
    except (OSError, http.client.HTTPException, msgspec.DecodeError, UnicodeDecodeError):
        return False
    finally:
        connection.close()
    vouched = said.get("vouched") if isinstance(said, dict) else None
    return isinstance(vouched, str) and vouched.isascii() and hmac.compare_digest(vouched, vouch(key, nonce))


def link_to(origin: str, key: bytes) -> str:
    """Return a fresh login link: a secret, good once, for two minutes."""
    return f"{origin}/#in={make_link(key, secrets.token_bytes(NONCE_BYTES), int(time.time()))}"


def file_that_opens(home: Home, link: str) -> Path:
    """Write a file, for this user's eyes only, that leads a browser to the link."""
    file = home.path / "page.html"
    target = html.escape(link, quote=True)
    text = (
        f'<!doctype html><meta charset="utf-8"><title>World OS</title><meta http-equiv="refresh" content="0;url={target}">'
        f'<a href="{target}">World OS</a>\n'
    )
    _write_private(file, text.encode())
    return file


def is_free(port: int) -> bool:
    """Whether nobody listens at this port of this machine, by either of its own addresses."""
    return not any(_answers(family, address, port) for family, address in OWN_ADDRESSES)


def _answers(family: socket.AddressFamily, address: str, port: int) -> bool:
    try:
        with socket.socket(family) as sock:
            return sock.connect_ex((address, port)) == 0
    except OSError:
        return False  # no such address here


def hold_other_address(port: int) -> socket.socket | None:
    """Take the second address of ``localhost`` without listening: a browser is refused there and goes to the first."""
    try:
        sock = socket.socket(socket.AF_INET6)
    except OSError:
        return None
    try:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((LOOPBACK_6, port))
    except OSError:
        sock.close()
        return None
    return sock


class PageServer:
    """Serves the page of a home at ``origin``, on a port of the loopback address."""

    def __init__(self, home: Home, origin: str, port: int) -> None:
        self.home, self.origin = home, origin
        self.port = port
        self.key = new_key(home, port)
        self._held = hold_other_address(port)
        page = Page(home, Gate(origin, self.key))
        self._server = Server(
            page.app,
            address=LOOPBACK,
            port=port,
            interface=Interfaces.ASGINL,
            websockets=False,
            log_enabled=False,
            backlog=BACKLOG,
            backpressure=BACKPRESSURE,
        )

    def link(self) -> str:
        """Return a fresh login link."""
        return link_to(self.origin, self.key)

    def serve(self) -> None:
        """Serve until Ctrl-C, the end of the session or a polite kill."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        serving = asyncio.ensure_future(self._server.serve())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._server.stop)
        try:
            await serving
        finally:
            if self._held is not None:
                self._held.close()
            for file in (_key_file(self.home, self.port), self.home.path / "page.html"):
                file.unlink(missing_ok=True)


def _key_file(home: Home, port: int) -> Path:
    return home.path / f"page-{port}.key"


def _write_private(file: Path, data: bytes) -> None:
    beside = file.with_suffix(".new")
    try:
        beside.unlink(missing_ok=True)
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(data)
        beside.replace(file)
    except OSError as cause:
        raise DiskFull(f"{file} cannot be written") from cause
