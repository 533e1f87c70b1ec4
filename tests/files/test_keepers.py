"""Keepers as they run: three machines with their agents, one of which loses its depot."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, running, until
from tests.files.test_session import LINK_S, three_machines

from worldos.depot.link import StoreLink
from worldos.depot.wire import Who
from worldos.errors import WorldError
from worldos.files.attending import care_standing, repair_now, scrub_now
from worldos.files.files import Files

MIB = 1 << 20
REPAIR_S = 90.0


def shares_at(agent: RunningAgent) -> int:
    """Ask a machine's depot how many shares it keeps."""
    who = Who(node=str(agent.ask("status")["node"]), account=str(agent.ask("status")["account"]), rights="own")
    with contextlib.suppress(WorldError), StoreLink.open(agent.home.depot_socket, who) as link:
        return sum(owned.count for owned in link.usage().result(30).owned if owned.kind == "share")
    return -1


def newest_log_seq(agent: RunningAgent) -> int:
    who = Who(node=str(agent.ask("status")["node"]), account=str(agent.ask("status")["account"]), rights="own")
    with contextlib.suppress(WorldError), StoreLink.open(agent.home.depot_socket, who) as link:
        return max((head.seq for head in link.heads().result(30) if not head.register), default=0)
    return -1


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_a_machine_that_lost_its_depot_gets_its_shares_and_names_back_without_the_owner() -> None:
    data = os.urandom(MIB)
    with tempfile.TemporaryDirectory(prefix="wos-fk-") as folder, three_machines(Path(folder)) as agents:
        desk, _, shed = agents
        with Files.open(desk.home) as files:
            files.put(data, "film")
            for number in range(5):
                files.put(b"note", f"note{number}")
        until(lambda: newest_log_seq(shed) >= 6, "the names are on a machine that nobody wrote to", 10)
        had = shares_at(shed)
        assert had > 0
        shed.end()
        shutil.rmtree(shed.home.depot_folder)
        with running(shed.home) as again:
            until(lambda: again.ask("status")["nodes_linked"] == 2, "it is linked again", LINK_S)
            begun_s = time.monotonic()
            again.ask("stores")
            until(lambda: shares_at(again) > 0, "its shares are made anew", REPAIR_S)
            until(lambda: newest_log_seq(again) >= 6, "it has the names", REPAIR_S)
            assert time.monotonic() - begun_s < REPAIR_S
            assert repair_now(desk.home).looked == 1
            scrubbed = scrub_now(desk.home)
            assert (scrubbed.bad, scrubbed.checked > 0) == (0, True)
            standing = care_standing(desk.home)
            assert standing is not None
            assert all(ailing.survives == 2 for ailing in standing.ailing), "three devices bear two losses"
