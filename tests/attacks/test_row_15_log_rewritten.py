"""A log operator rewrites, forks or truncates its decision log.

Run with real agents of two accounts (the liar's key is its own, as an operator's is): truncated, then rewritten and longer.
Forks shown to two witnesses: with logs on disk in one process, at four pairs of sizes. Every client rejects, every witness
refuses, and a fork leaves two signed notes that convict it wherever they are shown.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agent.accounts import brought_in, tree
from tests.agent.agents import RunningAgent, new_home, running, until
from tests.agent.log_site import Member, Site

from worldos.agent.decision_files import DecisionFiles
from worldos.home import Home
from worldos.kernel.decisions import Ended
from worldos.kernel.records import write_leaf, write_record
from worldos.model.ids import LeaseId
from worldos.trust.keys import DeviceKey
from worldos.trust.note import sign_checkpoint
from worldos.trust.witness import check_fork

WITHIN_S = 25
DECISIONS = 40
PROGRAM = f"""
from worldos import use
for _ in range({DECISIONS // 2}):
    with use("CPU"):
        pass
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def liar_and_witness() -> Iterator[tuple[Home, str, RunningAgent]]:
    """The home of an agent that is down now, where it listened, and an agent of another account that cosigned its log."""
    with tempfile.TemporaryDirectory(prefix="wos-l-") as folder:
        listen = f"127.0.0.1:{free_port()}"
        liar = new_home(Path(folder) / "o", "office")
        with running(new_home(Path(folder) / "d", "den")) as den:
            with running(liar, listen=listen) as office:
                for agent in (office, den):
                    until(lambda agent=agent: tree(agent), "it has a center")
                office.ask("realm_create", name="acme", level="enterprise")
                brought_in(den, office)
                environment = {**os.environ, "WORLDOS_HOME": str(liar.path)}
                subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True, timeout=30)
                until(lambda: cosigned(den, office) > DECISIONS, "den cosigned the log of office", WITHIN_S)
                witnesses = office.ask("audit_witness")["by"]
                assert any(w["owner"] == den.ask("status")["account"] for w in witnesses), "of another owner"
            yield liar, listen, den


def cosigned(witness: RunningAgent, agent: RunningAgent) -> int:
    node = agent.ask("status")["node"]
    return next((row["size"] for row in witness.ask("audit_witness")["of"] if row["node"] == node), 0)


def rewrite(home: Home, count: int) -> None:
    """Put another history in the place of a log, signed with the right key."""
    key = DeviceKey.from_seed(home.key_file.read_bytes()[-32:])
    shutil.rmtree(home.decisions_folder)
    files = DecisionFiles(Path(home.decisions_folder))
    for number in range(count):
        record = Ended(lease=LeaseId(f"never-{number}"), why="made up")
        payload, salt = write_record(record), b"s" * 16
        files.turn()
        files.append(write_leaf(record, 1, salt, payload), salt, payload, {})
    batch = files.batch()
    assert batch is not None
    files.write(batch)
    files.save("checkpoint", sign_checkpoint(key, files.durable, files.root(files.durable)))


def noticed(agent: RunningAgent, name: str) -> bool:
    return any(line["name"] == name for line in agent.ask("log", lines=200))


def test_a_log_that_was_truncated_and_one_that_was_rewritten_are_refused_by_another_owner(
    liar_and_witness: tuple[Home, str, RunningAgent],
) -> None:
    liar, listen, den = liar_and_witness
    shutil.rmtree(liar.decisions_folder)
    with running(liar, listen=listen) as office:
        node = office.ask("status")["node"]
        known = cosigned(den, office)
        until(lambda: noticed(office, "decision log was cut"), "the witness says what it knows", WITHIN_S)
        assert cosigned(den, office) == known, "nothing shorter is cosigned"
        found: dict[str, Any] = den.ask("audit_verify", node=node)
        assert "we cosigned" in found["wrong"][0]
        refusing = office.ask("audit_witness")["by"]
        assert any(each["refuses_at"] == known for each in refusing)
    rewrite(liar, known + 40)
    with running(liar, listen=listen) as office:
        until(lambda: linked(den, node), "they are linked again", WITHIN_S)
        found = den.ask("audit_verify", node=node)
        assert any("not there any more" in line or "two histories" in line for line in found["wrong"])
        office.ask("audit_flush")
        assert cosigned(den, office) == known, "and nothing rewritten"


def linked(agent: RunningAgent, node: str) -> bool:
    try:
        agent.ask("audit_verify", node=node)
    except Exception:  # noqa: BLE001 - whatever it says: not yet
        return False
    return True


@pytest.mark.parametrize("sizes", [(40, 40), (40, 47), (32, 40), (1, 300)])
def test_two_histories_shown_to_two_witnesses_become_a_signed_proof(tmp_path: Path, sizes: tuple[int, int]) -> None:
    async def story() -> None:
        site = Site(tmp_path, 3)
        a, b, c = site.list()
        a.cut.add(c.id)
        await a.decide(sizes[0])
        a.cosigning.tell_all()
        await site.quiet()
        second = Member(site, 0, home="second")
        second.cut.add(b.id)
        await second.decide(sizes[1])
        second.cosigning.tell_all()
        await site.quiet()
        assert (b.cosigning.known[a.id].size, c.cosigning.known[a.id].size) == sizes, "each believed its own"
        second.cut.clear()
        for _ in range(4):
            b.cosigning.relay()
            c.cosigning.relay()
            await site.quiet()
        for witness in (b, c):
            proof = witness.cosigning.forks[a.id]
            assert check_fork(proof) == a.id, "anybody can check it"
            await second.decide(5)
            second.cosigning.tell_all()
            await site.quiet()
            assert witness.cosigning.known[a.id].size in sizes, "nothing of it is ever cosigned again"

    asyncio.run(story())
