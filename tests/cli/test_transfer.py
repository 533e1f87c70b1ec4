"""``wos transfer``: a machine goes from one owner to another, and nothing of the first goes with it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.agent.agents import RunningAgent, new_home, running, running_pair, until
from tests.cli.conftest import command, environ, fails, wos

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


def test_a_machine_goes_to_a_new_owner_and_nothing_of_the_old_one_is_left(folder: Path) -> None:
    with running_pair(folder) as (desk, attic), running(new_home(folder / "buyer", "buyer")) as buyer:
        old = attic.ask("status")
        seeds = [attic.home.key_file.read_bytes(), attic.home.hybrid_file.read_bytes()]
        (folder / "diary.txt").write_text("what nobody else shall read " * 400)
        assert wos(attic.home, "put", str(folder / "diary.txt")).returncode == 0
        assert wos(attic.home, "session", "start", "private-thoughts").returncode == 0
        secrets = {*seeds, old["account"].encode(), old["node"].encode(), public_of(old["node"]), b"diary", b"desk"}
        before = everything_in(attic.home.path)
        assert all(secret in before for secret in secrets - {b"diary"})

        ticket, inviting = invited(buyer)
        moved = wos(attic.home, "transfer", "here", ticket, "--yes", "--json", "--name", "bought")
        assert moved.returncode == 0, moved.stderr
        assert json.loads(moved.stdout) == {"transferred": True, "told": 1}
        assert inviting.wait(20) == 0
        attic.process.wait(20)

        left = everything_in(attic.home.path)
        assert not [secret for secret in secrets if secret in left]
        now = json.loads(wos(attic.home, "status", "--json").stdout)
        assert now["account"] == buyer.ask("status")["account"]
        assert now["node"] != old["node"]
        rows = {row["name"]: row["status"] for row in buyer.ask("devices")}
        assert rows == {"buyer": "active", "bought": "active"}
        assert {row["name"]: row["status"] for row in desk.ask("devices")} == {"desk": "active", "attic": "revoked"}
        until(
            lambda: len(buyer.ask("nodes")) == 2 and all(r["status"] == "alive" for r in buyer.ask("nodes")),
            "linked",
            20,
        )
        assert json.loads(wos(attic.home, "session", "list", "--json").stdout) == []
        assert wos(attic.home, "down").returncode == 0
        attic.wait()


def test_what_is_no_transfer_changes_nothing(folder: Path) -> None:
    home = new_home(folder / "desk")
    fails(wos(home, "transfer", "here", "wos-x", "--yes"), 2, "no agent runs here")
    with running(home) as agent:
        node = agent.ask("status")["node"]
        fails(wos(home, "transfer", "here", "--yes"), 2, "whose shall it be")
        fails(wos(home, "transfer", "other", "wos-x", "--yes"), 2, "other is not this machine")
        fails(wos(home, "transfer", "here", "wos-nonsense"), 2, "nobody is here to ask")
        assert wos(home, "transfer", "here", "wos-nonsense", "--yes").returncode == 2
        assert agent.ask("status")["node"] == node
        assert agent.ask("devices")[0]["status"] == "active"
    assert Home(home.path).key_file.exists()
