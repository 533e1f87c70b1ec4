"""The loops of a keeper together: without an agent they wait in silence, and all ends in order."""

from __future__ import annotations

import time
from pathlib import Path

from worldos.agent.home import open_key
from worldos.depot.block_store import BlockStore
from worldos.depot.wire import Append, Care, Who
from worldos.files.care import NO_AGENT_NS, open_care
from worldos.home import Home
from worldos.store.entry import sign_entry
from worldos.trust.keys import DeviceKey

ACCOUNT = "a" * 52
GIB = 1 << 30


def test_a_home_that_never_had_an_agent_looks_after_nothing(tmp_path: Path) -> None:
    (tmp_path / "depot").mkdir()
    with BlockStore(tmp_path / "depot", capacity_bytes=GIB) as store:
        assert open_care(Home(tmp_path), ACCOUNT, store) is None


def test_while_no_agent_runs_every_loop_waits(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.depot_folder.mkdir()
    key = open_key(home)
    with BlockStore(home.depot_folder, capacity_bytes=GIB) as store:
        care = open_care(home, ACCOUNT, store)
        assert care is not None
        now_ns = time.time_ns()
        scrub, *others = care.loops()
        assert scrub.step(now_ns) > now_ns
        assert [loop.step(now_ns) for loop in others] == [now_ns + NO_AGENT_NS] * len(others)
        who = Who(node=str(key.node_id), account=ACCOUNT, rights="own")
        entry = sign_entry(DeviceKey.from_seed(b"k" * 32), b"l" * 32, 1, b"body")
        care.heard(who, Append(id=1, entries=(entry,)))
        care.heard(who, Care(id=2, locator=b"l" * 32, verify=b"v" * 32, owner=ACCOUNT))
        care.close()
