"""``wos replay``: every event again; what is damaged is named with its place."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, new_home, running
from tests.cli.conftest import fails, wos

from worldos.agent.journal import HEAD, MAGIC
from worldos.home import Home


@pytest.fixture
def journal(folder: Path) -> Path:
    home = new_home(folder / "desk")
    with running(home) as agent:
        agent.ask("drain", drained=True)
    (file,) = home.journal_folder.iterdir()
    return file


def test_a_life_is_replayed_as_it_was(journal: Path) -> None:
    home = Home(journal.parent.parent)
    run = wos(home, "replay")
    assert run.returncode == 0, run.stderr
    assert "all as then" in run.stdout
    found = json.loads(wos(home, "replay", str(journal), "--json").stdout)
    assert found["events"] > 3
    assert found["differing"] == []
    said = wos(home, "replay", "-v").stdout
    assert "ResourcesScanned" in said or "scanned" in said.lower()
    assert "-> " in said


def test_a_running_life_can_be_replayed_too(agent: RunningAgent) -> None:
    assert wos(agent.home, "replay").returncode == 0


def test_a_journal_whose_effects_differ_says_which_event(journal: Path) -> None:
    data = bytearray(journal.read_bytes())
    (size, _, _) = HEAD.unpack_from(data, len(MAGIC))
    at = len(MAGIC) + HEAD.size + size  # the first event
    (size, _, kind) = HEAD.unpack_from(data, at)
    body = bytes(8) + bytes(data[at + HEAD.size + 8 : at + HEAD.size + size])
    data[at : at + HEAD.size + size] = HEAD.pack(len(body), zlib.crc32(body), kind) + body
    journal.write_bytes(data)
    run = wos(Home(journal.parent.parent), "replay", str(journal))
    assert run.returncode == 1
    assert "event 1 led to other effects" in run.stderr
    assert "report it" in run.stderr


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        (lambda data: b"", 1, "is not a journal"),
        (lambda data: b"PNG" * 1000, 1, "is not a journal"),
        (lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:], 1, "damaged at byte 6"),
        (lambda data: data[: len(MAGIC)], 0, ""),
        (lambda data: data[:-5], 0, ""),
    ],
)
def test_a_damaged_journal_is_named_with_its_place(journal: Path, spoil, code: int, said: str) -> None:
    journal.write_bytes(spoil(journal.read_bytes()))
    run = wos(Home(journal.parent.parent), "replay", str(journal))
    assert run.returncode == code, run.stderr
    assert said in run.stderr


@pytest.mark.parametrize("name", ["none", "/dev/zero", "."])
def test_what_is_no_file_is_refused(folder: Path, name: str) -> None:
    fails(wos(Home(folder), "replay", name, cwd=folder), 2, "there is no file", "journal/")


def test_a_node_without_a_journal_says_so(folder: Path) -> None:
    fails(wos(Home(folder), "replay"), 2, "no journal yet", "wos up")
