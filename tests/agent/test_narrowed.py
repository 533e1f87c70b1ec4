"""Programs that came with a grant: they do what it says, and nothing else; garbage for a grant is never all rights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.agent.agents import RunningAgent, framed, heard, raw

from worldos.errors import BadRequest, NotAllowed
from worldos.model.local import LOCAL_VERSION, Ask, Failure, Hello, Watch
from worldos.sdk.asking import Asking
from worldos.sdk.shown import VARIABLE
from worldos.trust.grant_text import read_grant_text

encode = msgspec.msgpack.encode

USE = """
import worldos
with worldos.use("CPU", 1) as cpu:
    print(cpu.submit(pow, 2, 10).result())
try:
    worldos.use("Memory", "1MB")
except worldos.errors.WorldError as error:
    print("refused", error)
"""


@pytest.fixture
def grant(agent: RunningAgent, tmp_path: Path) -> Path:
    """A file with a grant to lease the processor of this machine, for programs of this machine."""
    given = agent.ask("role_grant", who="desk", role="guest", resource="desk/CPU")["given"][0]
    file = tmp_path / "grant"
    file.write_text(given["grant"] + "\n")
    return file


def test_a_program_with_a_grant_gives_no_orders_that_it_is_not_for(
    agent: RunningAgent, grant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(grant))
    for order in ("status", "drain", "down", "revoke", "role_grant", "no such order"):
        with pytest.raises((NotAllowed, BadRequest)):
            agent.ask(order)
    assert agent.ask("whoami")["narrowed"]["ops"] == ["lease"]
    monkeypatch.delenv(VARIABLE)
    assert not agent.ask("status")["drained"]


def test_a_program_with_a_grant_leases_what_it_is_for_and_nothing_else(agent: RunningAgent, grant: Path) -> None:
    environment = {**os.environ, "WORLDOS_HOME": str(agent.home.path), VARIABLE: str(grant)}
    command = [sys.executable, "-c", USE]
    ran = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=180)
    assert ran.stdout.startswith("1024\nrefused"), ran.stderr
    assert "not for Memory" in ran.stdout


def test_a_grant_that_is_taken_back_leaves_nothing(
    agent: RunningAgent, grant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = grant.read_text().strip()
    agent.ask("role_revoke", role=word)
    monkeypatch.setenv(VARIABLE, str(grant))
    with pytest.raises(BadRequest, match="revoked"):
        agent.ask("whoami")


def test_a_program_that_watches_needs_the_right_to(agent: RunningAgent, grant: Path) -> None:
    hello = Hello(version=LOCAL_VERSION, program="test", grant=read_grant_text(grant.read_text()))
    with raw(agent.home.socket_file) as sock:
        sock.sendall(framed(encode(hello)) + framed(encode(Watch())) + framed(encode(Ask(request=1, name="status"))))
        answers = sock.recv(65536)
        failure = msgspec.msgpack.decode(answers[4 : 4 + int.from_bytes(answers[:4], "little")], type=Failure)
        assert failure.error == "NotAllowed"


@pytest.mark.parametrize("garbage", [b"\x80", b"not a grant", b"\xff" * 4096])
def test_garbage_for_a_grant_ends_the_conversation(agent: RunningAgent, garbage: bytes) -> None:
    hello = Hello(version=LOCAL_VERSION, program="test", grant=garbage)
    with raw(agent.home.socket_file) as sock:
        sock.sendall(framed(encode(hello)) + framed(encode(Ask(request=1, name="status"))))
        assert b"leaves it nothing here" in heard(sock)


def test_a_program_cannot_shed_its_grant_by_another_hello(agent: RunningAgent, grant: Path) -> None:
    narrow = Hello(version=LOCAL_VERSION, program="test", grant=read_grant_text(grant.read_text()))
    plain = Hello(version=LOCAL_VERSION, program="test")
    with raw(agent.home.socket_file) as sock:
        sock.sendall(b"".join(framed(encode(each)) for each in (narrow, plain, Ask(request=1, name="status"))))
        assert b"not for read" in sock.recv(65536)


def test_a_grant_file_that_is_none_is_an_error_and_not_all_rights(
    agent: RunningAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in (None, "", "hello"):
        file = tmp_path / "broken"
        if text is not None:
            file.write_text(text)
        monkeypatch.setenv(VARIABLE, str(file))
        with pytest.raises(BadRequest), Asking(agent.home) as asking:
            asking.ask("status")
