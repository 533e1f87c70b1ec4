"""Secrets of one use: a certificate that is its own authority, and passwords."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

from worldos.engines import credentials


def context(folder: Path, pair: credentials.Certificate, name: str, side: ssl._SSLMethod) -> ssl.SSLContext:
    file = folder / name
    file.write_text(pair.key + pair.certificate)
    made = ssl.SSLContext(side)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata=pair.certificate)
    made.load_cert_chain(file)
    return made


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> bytes:
    ours, theirs = socket.socketpair()
    said: list[bytes] = []

    def serve() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as sock:
                said.append(sock.recv(10))
        except (ssl.SSLError, OSError):
            theirs.close()

    serving = threading.Thread(target=serve)
    serving.start()
    try:
        with client.wrap_socket(ours) as sock:
            sock.sendall(b"hello")
    finally:
        ours.close()
        serving.join(15)
    return said[0]


def test_who_has_the_pair_is_let_in_and_nobody_else(tmp_path: Path) -> None:
    pair, other = credentials.certificate("dask"), credentials.certificate("dask")
    server = context(tmp_path, pair, "server", ssl.PROTOCOL_TLS_SERVER)
    assert handshake(server, context(tmp_path, pair, "client", ssl.PROTOCOL_TLS_CLIENT)) == b"hello"
    with pytest.raises((ssl.SSLError, OSError)):
        handshake(server, context(tmp_path, other, "other", ssl.PROTOCOL_TLS_CLIENT))


def test_passwords_are_long_never_the_same_and_fit_a_url() -> None:
    made = {credentials.password() for _ in range(100)}
    assert len(made) == 100
    assert all(len(each) >= 32 and each.replace("-", "").replace("_", "").isalnum() for each in made)
