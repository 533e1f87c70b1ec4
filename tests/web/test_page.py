"""The page of a real agent over plain HTTP: what another site, another program and a nosy person try on it."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any

import pytest
from tests.web.pages import Client, RunningPage, page_of

from worldos.web.limits import BODY_BYTES_MAX, PAGE_BYTES_MAX
from worldos.web.page import STATIC


def test_who_came_in_sees_the_devices(visitor: Client, agent: Any) -> None:
    status, rows = visitor.post("/ask/devices")
    assert status == 200
    assert [row["name"] for row in rows] == ["desk"]
    assert visitor.post("/ask/status")[1]["node"] == agent.ask("status")["node"]


def test_a_link_is_good_once(page: RunningPage) -> None:
    link = page.link_by_command()
    assert Client(page.port).enter(link) == 200
    second = Client(page.port)
    assert second.enter(link) == 403
    assert second.post("/ask/devices")[0] == 403


def test_who_leaves_is_out(page: RunningPage) -> None:
    client = page.client()
    assert client.post("/leave")[0] == 200
    status, said = client.post("/ask/devices")
    assert (status, said["message"]) == (403, "you are not signed in here")


@pytest.mark.parametrize("path", ["/ask/devices", "/follow/devices", "/passkey/make", "/leave", "/ask/revoke"])
def test_nothing_is_told_without_both_secrets(page: RunningPage, visitor: Client, path: str) -> None:
    assert Client(page.port).post(path)[0] == 403
    assert visitor.post(path, X_Wos_Page="")[0] == 403
    assert visitor.post(path, X_Wos_Page="A" * 43)[0] == 403
    assert visitor.post(path, Cookie="")[0] == 403
    assert visitor.post(path, Cookie="wos-page=" + "A" * 43)[0] == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7381", "127.0.0.1", "[::1]", ""])
def test_a_name_that_was_rebound_to_this_address_gets_nothing(visitor: Client, host: str) -> None:
    """DNS rebinding: the browser takes the attacker's page and ours for one origin, and sends the attacker's name."""
    named = host if not host or ":" in host else f"{host}:{visitor.port}"
    status, _, data = visitor.request("POST", "/ask/devices", b"{}", {"Host": named, "Origin": f"http://{named}"})
    assert status in {400, 403}
    assert b"desk" not in data
    status, _, data = visitor.request("GET", "/", headers={"Host": named})
    assert status in {400, 403}
    assert b"app.js" not in data


FORGED = [
    {"Origin": "https://evil.example"},
    {"Origin": "http://localhost:3000"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Content-Type": "text/plain"},
    {"Content-Type": "application/x-www-form-urlencoded"},
    {"Content-Type": ""},
]


@pytest.mark.parametrize("lie", FORGED, ids=str)
def test_another_page_cannot_act_through_the_cookie_of_a_visitor(visitor: Client, lie: dict[str, str]) -> None:
    """Cross-site request forgery: the cookie comes along (from another port of localhost it does), and is not enough."""
    for path in ("/ask/drain", "/ask/devices", "/passkey/make"):
        status, _, data = visitor.request("POST", path, b"{}", lie)
        assert status in {400, 403}
        assert b"desk" not in data
    assert visitor.post("/ask/devices")[0] == 200


def test_a_simple_form_cannot_ask_and_no_other_site_is_allowed_to_read(visitor: Client) -> None:
    status, headers, _ = visitor.request("OPTIONS", "/ask/devices", headers={"Origin": "https://evil.example"})
    assert status in {403, 405}
    _, more, _ = visitor.request("POST", "/ask/devices", b"{}")
    assert not any(name.startswith("access-control-allow") for name in {**headers, **more})


@pytest.mark.parametrize(
    "path",
    ["/../page.key", "/..%2f..%2fpage.key", "/static/../gate.py", "//etc/passwd", "/%00", "/gate.py", "/page.html",
     "/index.html/..", "/?in=x/../../x", "/app.js%00.html", "/%2e%2e/%2e%2e/device.key"],
)  # fmt: skip
def test_no_path_leads_out_of_the_few_files(visitor: Client, page: RunningPage, path: str) -> None:
    status, _, data = visitor.request("GET", path)
    assert status in {200, 400, 404}
    key = (page.home.path / f"page-{page.port}.key").read_bytes()
    assert key not in data
    if status == 200:
        assert data == (STATIC / "index.html").read_bytes()


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"1", b'"x"', b"null", b"\xff", b"[" * 50_000, b'{"a":' * 5000, b"{} {}",
     b'{"device": "' + b"x" * 70_000 + b'"}'],
    ids=range(11),
)  # fmt: skip
def test_what_is_no_object_of_json_is_refused_in_words(visitor: Client, body: bytes) -> None:
    status, _, data = visitor.request("POST", "/ask/devices", body)
    assert status == 400
    assert json.loads(data)["error"] == "BadRequest"
    assert visitor.post("/ask/devices")[0] == 200


def test_a_body_that_is_too_large_is_not_read_to_its_end(visitor: Client) -> None:
    with contextlib.suppress(OSError):  # the page may hang up while it is sent
        status, _, _ = visitor.request("POST", "/ask/devices", b" " * (BODY_BYTES_MAX + 1))
        assert status == 400
    assert visitor.post("/ask/devices")[0] == 200


@pytest.mark.parametrize(
    "name", ["down", "learn", "invite", "order_status", "__class__", "x" * 500, "%2e%2e", "files_root"]
)
def test_the_page_asks_what_is_in_its_table_and_nothing_else(visitor: Client, name: str) -> None:
    status, said = visitor.post(f"/ask/{name}")
    assert status == 400
    assert "no such thing" in said["message"]


def test_arguments_that_no_order_takes_are_refused_in_words(visitor: Client) -> None:
    status, said = visitor.post("/ask/devices", {"surprise": 1})
    assert status == 400
    assert "surprise" in said["message"]
    status, said = visitor.post("/ask/revoke", {"device": "<script>alert(1)</script>"})
    assert (status, said["error"]) == (400, "BadRequest")


def test_every_answer_says_how_it_may_be_used(visitor: Client) -> None:
    for method, path in (("GET", "/"), ("GET", "/nowhere"), ("POST", "/ask/devices"), ("POST", "/ask/nothing")):
        _, headers, _ = visitor.request(method, path, b"{}" if method == "POST" else None)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"


def test_a_cookie_is_for_http_alone_and_for_this_site_alone(page: RunningPage) -> None:
    body = json.dumps({"link": page.link().split("#in=")[1]}).encode()
    _, headers, _ = Client(page.port).request("POST", "/enter", body)
    cookie = headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/" in cookie
    assert "domain" not in cookie
    assert 0 < int(cookie.split("max-age=")[1].split(";")[0]) <= 12 * 3600


def test_the_page_can_be_reached_from_this_machine_alone(page: RunningPage) -> None:
    """No other address of this machine answers."""
    addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in sorted(addresses - {"127.0.0.1", "127.0.1.1"}):
        with socket.socket() as sock:
            sock.settimeout(1)
            assert sock.connect_ex((address, page.port)) != 0


def test_the_whole_page_is_small_and_says_nothing_by_itself() -> None:
    files = [path for path in sorted(STATIC.rglob("*")) if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= PAGE_BYTES_MAX
    for path in files:
        text = path.read_text()
        assert "innerHTML" not in text
        assert "eval(" not in text
        assert "http://" not in text.replace("http://www.w3.org/", "")
        assert "https://" not in text


def test_a_page_that_was_started_with_a_grant_has_what_the_grant_leaves(agent: Any, tmp_path: Any) -> None:
    """``wos --grant FILE page``: an auditor's page reads, and changes nothing."""
    me = agent.ask("status")["node"]
    (given,) = agent.ask("role_grant", who=me, role="auditor")["given"]
    file = tmp_path / "auditor.grant"
    file.write_text(given["grant"])
    with page_of(agent.home, grant=str(file)) as page:
        client = page.client()
        assert client.post("/ask/decisions")[0] == 200
        status, said = client.post("/ask/session_start", {"name": "forbidden"})
        assert (status, said["error"]) == (403, "NotAllowed")
        status, _ = client.post("/ask/revoke", {"device": "desk"})
        assert status == 403
    assert not [row for row in agent.ask("session_list") if row["name"] == "forbidden"]


def test_a_page_under_a_name_of_its_own_answers_to_that_name_alone(agent: Any) -> None:
    """Behind a proxy that speaks TLS: its name is the page's, the cookie is for TLS alone, and localhost is a stranger."""
    name = "desk.example.org"
    with page_of(agent.home, "--origin", f"https://{name}") as page:
        assert page.first["link"].startswith(f"https://{name}/#in=")
        body = json.dumps({"link": page.first["link"].split("#in=")[1]}).encode()
        client = Client(page.port)
        assert client.request("POST", "/enter", body)[0] == 403
        there = {"Host": name, "Origin": f"https://{name}"}
        status, headers, said = client.request("POST", "/enter", body, there)
        assert status == 200
        assert headers["set-cookie"].startswith("__Host-wos=")
        assert "secure" in headers["set-cookie"].lower()
        client.cookie, client.secret = headers["set-cookie"].split(";")[0], json.loads(said)["secret"]
        assert client.request("POST", "/ask/devices", b"{}", there)[0] == 200
        assert client.request("POST", "/ask/devices", b"{}")[0] == 403
