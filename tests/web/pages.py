"""A real page of a real agent for tests, and plain HTTP to it, where every header can be a lie."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from worldos.home import Home
from worldos.web.serving import known_key, link_to

END_S = 45.0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Client:
    """What a browser would be to the page; ``headers`` given to a request replace those it would send."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.origin = f"http://localhost:{port}"
        self.cookie = ""
        self.secret = ""

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        usual = {"Host": f"localhost:{self.port}", "Cookie": self.cookie, "X-Wos-Page": self.secret}
        if method == "POST":
            usual |= {"Origin": self.origin, "Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}
        sent = {name: value for name, value in {**usual, **(headers or {})}.items() if value}
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                connection.putheader(name, value)
            if body is not None and "Content-Length" not in sent:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def post(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        status, _, data = self.request("POST", path, json.dumps({} if body is None else body).encode(), named)
        return status, json.loads(data)

    def enter(self, link: str) -> int:
        """Come in by a link; keep both secrets."""
        body = json.dumps({"link": link.split("#in=")[1]}).encode()
        status, headers, data = self.request("POST", "/enter", body)
        if status == 200:
            self.cookie = headers["set-cookie"].split(";")[0]
            self.secret = json.loads(data)["secret"]
        return status


class RunningPage:
    """``wos page`` as a process on a port of its own."""

    def __init__(self, home: Home, *options: str, grant: str = "", port: int = 0) -> None:
        self.home = home
        self.port = port or free_port()
        self.process = subprocess.Popen(
            [*_WOS, *(("--grant", grant) if grant else ()), "page", "--json", "--port", str(self.port), *options],
            env={**os.environ, "WORLDOS_HOME": str(home.path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        said = ""
        assert self.process.stdout is not None
        while not said.rstrip().endswith("}") and (line := self.process.stdout.readline()):
            said += line
        if not said:
            assert self.process.stderr is not None
            raise AssertionError(self.process.stderr.read())
        self.first = json.loads(said)
        with contextlib.suppress(OSError):
            _until_it_listens(self.port)

    def link(self) -> str:
        """One more login link."""
        return link_to(f"http://localhost:{self.port}", known_key(self.home, self.port))

    def link_by_command(self) -> str:
        """One more login link, as a person gets it."""
        words = [*_WOS, "page", "--link", "--json", "--port", str(self.port)]
        env = {**os.environ, "WORLDOS_HOME": str(self.home.path)}
        run = subprocess.run(words, env=env, capture_output=True, text=True, timeout=90, check=True)
        return str(json.loads(run.stdout)["link"])

    def client(self) -> Client:
        """Somebody who came in."""
        client = Client(self.port)
        assert client.enter(self.link()) == 200
        return client

    def end(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        try:
            _, said = self.process.communicate(timeout=END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode, said


_WOS = (sys.executable, "-P", "-m", "worldos.cli.main")


def _until_it_listens(port: int) -> None:
    import time  # noqa: PLC0415

    deadline = time.monotonic() + 45
    while time.monotonic() < deadline:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("the page does not listen")


@contextlib.contextmanager
def page_of(home: Home, *options: str, grant: str = "") -> Iterator[RunningPage]:
    """A page for the length of a block; it must end well, with nothing to complain of."""
    page = RunningPage(home, *options, grant=grant)
    try:
        yield page
    finally:
        code, said = page.end()
    assert code == 0, said
    assert "Traceback" not in said, said
