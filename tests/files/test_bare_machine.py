"""A bare machine and 24 words, with real agents: files come back from a device that is left, or from others' stores alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agent.accounts import brought_in, tree
from tests.agent.agents import RunningAgent, running, same_account, until

from worldos.agent import home as homes
from worldos.agent.start import make_account, recover_account
from worldos.files import logs
from worldos.files.catalog import log_of
from worldos.files.files import Files
from worldos.files.recovering import unlock
from worldos.home import Home
from worldos.store.keyring import bequest_logs

MIB = 1 << 20
WAIT_S = 25
LONG = bool(os.environ.get("STORAGE_LONG"))  # a machine asks again for others' stores after half a minute, twice


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="wos-b-") as made:
        yield Path(made)


def fresh(folder: Path, name: str) -> Home:
    home = Home(folder / name)
    home.path.mkdir(mode=0o700)
    return home


def meets(home: Home, agent: RunningAgent) -> None:
    """Let a home know where an agent is, as a ticket or the local network would."""
    status = agent.ask("status")
    homes.write_remembered(home, homes.Remembered(peers={status["node"]: tuple(status["listens"])}))


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_with_one_device_left_the_words_and_no_more_bring_all_files_back(folder: Path) -> None:
    data = os.urandom(2 * MIB)
    old, bare = fresh(folder, "old"), fresh(folder, "bare")
    words = make_account(old, "old")
    with running(old) as left, Files.open(old) as files:
        files.put(data, "diary/1989")
        files.put(b"a note", "note")
    same_account(old, bare, words)  # by the words, and then by meeting
    with running(old) as left:
        meets(bare, left)
        with running(bare) as new:
            until(lambda: new.ask("status")["nodes_linked"] == 1, "the two are linked", WAIT_S)
            with Files.open(bare) as files:
                assert files.read("note") == b"a note"
                assert files.read("diary/1989") == data


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(not LONG, reason="takes two minutes: STORAGE_LONG=1")
def test_with_no_device_left_the_words_bring_all_files_back_out_of_others_stores(folder: Path) -> None:
    data = os.urandom(2 * MIB)
    friend, old, bare = fresh(folder, "friend"), fresh(folder, "old"), fresh(folder, "bare")
    make_account(friend, "friend")
    words = make_account(old, "old")
    with running(friend) as store:
        with running(old) as lost:
            for agent in (store, lost):
                until(lambda agent=agent: tree(agent), "it has a center")
            store.ask("realm_create", name="club", level="enterprise")
            below(store, lost)
            store.ask("realm_policy", realm="club/friend", key="lend", value="kin")
            store.ask("lend", amount_bytes=10**9, for_="others")
            until(lambda: "club/old" in tree(lost), "it knows where it is")
            with Files.open(old) as files:
                until(lambda: at_friends(files), "the friend's store is leased", 2 * WAIT_S)
                files.put(data, "diary/1989")
                files.put(b"a note", "note")
                until(lambda: files.status("diary/1989")[0].devices == 2, "both have it", WAIT_S)
                until(lambda: friend_knows(files), "the friend's store has all that a bare machine needs", WAIT_S)
            store.ask("realm_remove", realm="club/old")  # the friend lets a new machine take its place
        recover_account(bare, "bare", words)
        with running(bare) as new:
            until(lambda: tree(new), "it has a center")
            below(store, new)
            until(lambda: foreign(new), "it sees the store", 2 * WAIT_S)
            assert "24 words" in unlock(bare, words=words)
            until(lambda: [row for row in new.ask("stores") if not row["here"] and row["path"]], "a tenant", 2 * WAIT_S)
            with Files.open(bare) as files:
                assert files.read("note") == b"a note"
                assert files.read("diary/1989") == data


def friend_knows(files: Files) -> bool:
    """Whether the store of the other account has the keyring for the words, and all of the directory."""
    session = files.session
    key = session.roots.directory_keys[0]
    log = log_of(key, session.key.public)
    (store,) = [store for store in session.stores.known() if store.at.account != session.owner]
    there = store.link().last((log, *bequest_logs(session.owner))).result(WAIT_S)
    here = logs.last(session.stores.reachable(), (log,), thorough=True)[log]
    return len(there) == 2 and here in there


def foreign(agent: RunningAgent) -> list[dict[str, Any]]:
    return [row for row in agent.ask("stores", others=True) if not row["here"] and row["path"]]


def below(store: RunningAgent, agent: RunningAgent) -> None:
    brought_in(agent, store)


def at_friends(files: Files) -> bool:
    return any(row.at.account != files.session.owner for row in files.session.stores.known())
