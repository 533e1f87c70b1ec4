"""Serving: the key and the files of a page, and what it leaves behind."""

from __future__ import annotations

import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.web.pages import RunningPage, free_port, page_of

from worldos.errors import NotAllowed
from worldos.home import Home
from worldos.web.serving import file_that_opens, hold_other_address, is_free, known_key, link_to, new_key


def test_a_key_and_a_link_are_for_this_user_alone(tmp_path: Path) -> None:
    home = Home(tmp_path)
    key = new_key(home)
    assert known_key(home) == key
    assert new_key(home) != key
    link = link_to("http://localhost:7381", key)
    file = file_that_opens(home, link)
    assert link in file.read_text()
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_without_a_page_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotAllowed, match="no page runs"):
        known_key(Home(tmp_path))
    (tmp_path / "page.key").write_bytes(b"short")
    with pytest.raises(NotAllowed, match="no page runs"):
        known_key(Home(tmp_path))


def test_links_are_never_the_same() -> None:
    key = b"k" * 32
    assert len({link_to("http://localhost:7381", key) for _ in range(100)}) == 100


def test_a_port_that_somebody_has_is_seen_by_either_address() -> None:
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            sock = socket.socket(family)
            sock.bind((address, 0))
        except OSError:
            continue  # no IPv6 on this machine
        with sock:
            port = sock.getsockname()[1]
            assert is_free(port)
            sock.listen()
            assert not is_free(port)


def test_nobody_else_can_answer_at_the_other_address_of_localhost() -> None:
    port = free_port()
    held = hold_other_address(port)
    if held is None:
        pytest.skip("this machine has no ::1")
    with held, socket.socket(socket.AF_INET6) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind(("::1", port))
        assert is_free(port)  # it refuses, and a browser goes on to 127.0.0.1


def test_a_page_leaves_nothing_behind_and_ends_with_its_links(agent: Any) -> None:
    with page_of(agent.home) as first:
        client = first.client()
        assert client.post("/ask/status")[0] == 200
    assert not list(agent.home.path.glob("page.*"))
    with pytest.raises(NotAllowed):
        known_key(agent.home)


def test_a_busy_port_is_refused_with_what_to_do(agent: Any) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        with pytest.raises(AssertionError, match="listens at port"):
            RunningPage(agent.home, "--port", str(sock.getsockname()[1]))
