"""``wos transfer``: a machine goes from one owner to another, and nothing of the first goes with it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.agent.agents import RunningAgent, new_home, running, running_pair, until
from tests.cli.conftest import command, environ, fails, wos

from worldos.errors import WorldError
from worldos.home import Home
from worldos.trust.keys import public_of


def everything_in(folder: Path) -> bytes:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and not file.is_symlink()]
    return b"\0".join(str(file).encode() + b"\0" + file.read_bytes() for file in files)


def invited(agent: RunningAgent) -> tuple[str, subprocess.Popen[str]]:
    inviting = subprocess.Popen(
        command("invite", "--plain", "--yes"), env=environ(agent.home), stdout=subprocess.PIPE, text=True
    )
    assert inviting.stdout is not None
    return inviting.stdout.readline().strip(), inviting


def secrets_of(agent: RunningAgent, folder: Path) -> set[bytes]:
    """Fill a machine with what is somebody's own; return what must not be found on it afterwards."""
    status = agent.ask("status")
    (folder / "diary.txt").write_text("what nobody else shall read " * 400)
    assert wos(agent.home, "put", str(folder / "diary.txt")).returncode == 0
    assert wos(agent.home, "session", "start", "private-thoughts").returncode == 0
    seeds = {agent.home.key_file.read_bytes(), agent.home.hybrid_file.read_bytes()}
    secrets = {*seeds, status["account"].encode(), status["node"].encode(), public_of(status["node"]), b"desk"}
    before = everything_in(agent.home.path)
    assert all(secret in before for secret in secrets)
    return {*secrets, b"diary", b"private-thoughts"}


def is_the_buyers(agent: RunningAgent, buyer: RunningAgent, name: str) -> None:
    """It runs as the buyer's, in the same process, and the buyer sees it."""
    assert agent.process.poll() is None
    assert agent.ask("status")["account"] == buyer.ask("status")["account"]
    rows = {row["name"]: row["status"] for row in buyer.ask("devices")}
    assert rows == {"buyer": "active", name: "active"}
    until(lambda: sum(row["status"] == "alive" for row in buyer.ask("nodes")) == 2, "they are linked", 20)
    assert agent.ask("session_list") == []


def test_a_machine_goes_to_a_new_owner_and_nothing_of_the_old_one_is_left(folder: Path) -> None:
    with running_pair(folder) as (desk, attic), running(new_home(folder / "buyer", "buyer")) as buyer:
        secrets = secrets_of(attic, folder)
        ticket, inviting = invited(buyer)
        moved = wos(attic.home, "transfer", "here", ticket, "--yes", "--json", "--name", "bought")
        assert moved.returncode == 0, moved.stderr
        assert json.loads(moved.stdout) == {"transferred": True, "told": 1}
        assert inviting.wait(20) == 0
        left = everything_in(attic.home.path)
        assert not [secret for secret in secrets if secret in left]
        is_the_buyers(attic, buyer, "bought")
        assert {row["name"]: row["status"] for row in desk.ask("devices")} == {"desk": "active", "attic": "revoked"}


def test_a_machine_is_handed_over_from_another_one_of_its_owner(folder: Path) -> None:
    with running_pair(folder) as (desk, attic), running(new_home(folder / "buyer", "buyer")) as buyer:
        secrets, old = secrets_of(attic, folder) - {b"desk"}, attic.ask("status")["node"]
        ticket, inviting = invited(buyer)
        moved = wos(desk.home, "transfer", "attic", ticket, "--yes")
        assert moved.returncode == 0, moved.stderr
        assert inviting.wait(20) == 0
        until(lambda: node_of(attic) not in {"", old}, "it began anew", 20)
        left = everything_in(attic.home.path)
        assert not [secret for secret in secrets if secret in left]
        is_the_buyers(attic, buyer, "attic")
        assert {row["name"]: row["status"] for row in desk.ask("devices")} == {"desk": "active", "attic": "revoked"}
        fails(wos(desk.home, "transfer", "attic", ticket, "--yes"), 2, "no device is called 'attic'")


def node_of(agent: RunningAgent) -> str:
    try:
        return str(agent.ask("status")["node"])
    except WorldError:
        return ""


def test_what_is_no_transfer_changes_nothing(folder: Path) -> None:
    home = new_home(folder / "desk")
    fails(wos(home, "transfer", "here", "wos-x", "--yes"), 2, "no agent runs here")
    with running(home) as agent:
        node = agent.ask("status")["node"]
        fails(wos(home, "transfer", "other", "wos-x", "--yes"), 2, "no device is called 'other'")
        fails(wos(home, "transfer", "here", "wos-nonsense"), 2, "nobody is here to ask")
        assert wos(home, "transfer", "here", "wos-nonsense", "--yes").returncode == 2
        assert agent.ask("status")["node"] == node
        assert agent.ask("devices")[0]["status"] == "active"
    assert Home(home.path).key_file.exists()
