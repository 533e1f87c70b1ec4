"""Serving: the key and the files of a page, and what it leaves behind."""

from __future__ import annotations

import contextlib
import http.server
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.web.pages import Client, RunningPage, free_port, page_of

from worldos.errors import NotAllowed
from worldos.home import Home
from worldos.web.serving import file_that_opens, hold_other_address, is_free, known_key, link_to, new_key, runs_already


def test_a_key_and_a_link_are_for_this_user_alone(tmp_path: Path) -> None:
    home = Home(tmp_path)
    key = new_key(home, 7381)
    assert known_key(home, 7381) == key
    assert new_key(home, 7381) != key
    link = link_to("http://localhost:7381", key)
    file = file_that_opens(home, link)
    assert link in file.read_text()
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_without_a_page_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotAllowed, match="no page of this home"):
        known_key(Home(tmp_path), 7381)
    (tmp_path / "page-7381.key").write_bytes(b"short")
    with pytest.raises(NotAllowed, match="no page of this home"):
        known_key(Home(tmp_path), 7381)


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
    with pytest.raises(NotAllowed):
        known_key(agent.home, first.port)


def test_two_pages_of_one_home_do_not_disturb_each_other(agent: Any, page: RunningPage) -> None:
    with page_of(agent.home) as second:
        assert second.client().post("/ask/status")[0] == 200
        assert page.client().post("/ask/status")[0] == 200
    assert page.client().post("/ask/status")[0] == 200


def test_a_busy_port_is_refused_with_what_to_do(agent: Any) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        with pytest.raises(AssertionError, match="something else listens at port"):
            RunningPage(agent.home, port=sock.getsockname()[1])


def test_a_second_command_finds_the_page_that_runs_and_gives_one_more_link(agent: Any, page: RunningPage) -> None:
    origin = f"http://localhost:{page.port}"
    assert runs_already(agent.home, origin, page.port)
    second = RunningPage(agent.home, port=page.port)
    assert second.process.wait(60) == 0
    second.process.communicate()
    client = Client(page.port)
    assert client.enter(second.first["link"]) == 200
    assert client.post("/ask/devices")[0] == 200


def test_a_stranger_at_the_port_is_not_taken_for_the_page(tmp_path: Path, page: RunningPage) -> None:
    """Another home's page cannot vouch for itself with this home's key, and neither can whoever answers nonsense."""
    home = Home(tmp_path)
    assert not runs_already(home, f"http://localhost:{page.port}", page.port)
    new_key(home, page.port)
    assert not runs_already(home, f"http://localhost:{page.port}", page.port)
    for body in (b'{"vouched": "00"}', b"[]", b"{", b'{"vouched": 1}', b""):
        with answering(body) as port:
            new_key(home, port)
            assert not runs_already(home, f"http://localhost:{port}", port)


@contextlib.contextmanager
def answering(body: bytes) -> Iterator[int]:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: Any) -> None: ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
