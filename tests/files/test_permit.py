"""Files served under a grant: what it names is there, what it does not name is not, and it ends when the grant does."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, new_home, running, until
from tests.files.test_webdav import ask, serving

from worldos.files.files import Files
from worldos.files.permit import Permit
from worldos.files.webdav import FolderServer
from worldos.model.rights import Op
from worldos.trust.grant_text import read_grant_text

PASSWORD = "a password that nobody guesses"
NAMES = ("photos/summer day/a.txt", "photos/b.txt", "secret/c.txt", "photos2/d.txt")


@pytest.fixture(scope="module")
def agent() -> Iterator[RunningAgent]:
    with tempfile.TemporaryDirectory(prefix="wos-g-") as folder, running(new_home(Path(folder) / "desk")) as agent:
        yield agent


@pytest.fixture(scope="module")
def files(agent: RunningAgent) -> Iterator[Files]:
    with Files.open(agent.home) as files:
        for name in NAMES:
            files.put(name.encode(), name)
        yield files


def said(server: FolderServer, method: str, name: str = "", body: bytes | None = None, **headers: str):
    return ask(server, method, name, body, **{"password": PASSWORD, **headers})


def is_gone(server: FolderServer) -> bool:
    return said(server, "GET", "photos/b.txt")[0] in {403, 404}


def permit_for(agent: RunningAgent, role: str, resource: str) -> tuple[Permit, str]:
    given = agent.ask("role_grant", who="me", role=role, resource=resource)["given"][0]
    return Permit(agent.home, read_grant_text(given["grant"])), given["grant"]


def test_a_permit_knows_what_it_opens_and_what_leads_there(agent: RunningAgent) -> None:
    permit, _ = permit_for(agent, "auditor", "files/photos/summer day")
    assert permit.refusal(Op.READ, "photos/summer day/a.txt") == ""
    for name in ("photos", "photos/b.txt", "secret/c.txt", "photos/summer day2", ""):
        assert permit.refusal(Op.READ, name)
    assert permit.refusal(Op.WRITE, "photos/summer day/a.txt")
    assert [name for name in ("", "photos", "photos/summer day", "secret", "photos2") if permit.leads_to(name)] == [
        "",
        "photos",
        "photos/summer day",
    ]
    permit.close()


def test_a_folder_served_under_a_grant_shows_what_it_names_and_nothing_else(agent: RunningAgent, files: Files) -> None:
    permit, word = permit_for(agent, "auditor", "files/photos")
    for server in serving(FolderServer(files, PASSWORD, permit=permit)):
        listed = said(server, "PROPFIND", Depth="infinity")[2].decode()
        assert "photos/b.txt" in listed
        assert "secret" not in listed
        assert "photos2" not in listed
        assert said(server, "GET", "photos/b.txt")[2] == b"photos/b.txt"
        for name in (
            "secret/c.txt",
            "photos2/d.txt",
            "secret/",
            "photos/../secret/c.txt",
            "photos/%2e%2e/secret/c.txt",
        ):
            assert said(server, "GET", name)[0] in {403, 404}, name
        for method, name in (
            ("PUT", "photos/new.txt"),
            ("DELETE", "photos/b.txt"),
            ("MKCOL", "photos/new"),
            ("PUT", "x"),
        ):
            assert said(server, method, name, b"x" if method == "PUT" else b"")[0] in {403, 404}, (method, name)
        agent.ask("role_revoke", role=word)
        until(partial(is_gone, server), "the grant is taken back", 6)
    permit.close()


def test_who_may_write_writes_there_and_carries_nothing_in_or_out(agent: RunningAgent, files: Files) -> None:
    permit, _ = permit_for(agent, "member", "files/photos")
    for server in serving(FolderServer(files, PASSWORD, permit=permit)):
        assert said(server, "PUT", "photos/new.txt", b"new")[0] == 201
        assert said(server, "GET", "photos/new.txt")[2] == b"new"
        for method, source, target in (
            ("MOVE", "photos/new.txt", "secret/new.txt"),
            ("COPY", "photos/new.txt", "secret/new.txt"),
            ("COPY", "secret/c.txt", "photos/c.txt"),
            ("MOVE", "secret/c.txt", "photos/c.txt"),
            ("COPY", "secret/", "photos/secret/"),
        ):
            there = f"{server.url}{target}"
            assert said(server, method, source, Destination=there)[0] in {403, 404, 409}, (method, source)
        assert files.read("secret/c.txt") == b"secret/c.txt"
        assert not files.exists("photos/c.txt")
        assert said(server, "DELETE", "photos/new.txt")[0] == 204
    permit.close()
