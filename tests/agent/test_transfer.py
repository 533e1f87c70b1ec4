"""The wipe of a home that goes to a new owner: everything goes, what lies ready stays, and half of it is never read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.agent.agents import new_home

from worldos.agent import home as homes
from worldos.agent.start import make_account, open_home, stored_log
from worldos.agent.transfer import STAGE, is_ready, is_signed_out, move_in, stage_of, wipe
from worldos.errors import NotAllowed
from worldos.home import Home
from worldos.kernel.belonging import log_entries
from worldos.trust.keylog import remove_device


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = new_home(tmp_path / "desk")
    (home.path / "depot" / "packs").mkdir(parents=True)
    (home.path / "depot" / "packs" / "1").write_bytes(b"shares")
    (home.path / "config.toml").write_text('name = "mine"\n')
    (home.path / "outside").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").write_text("not ours to remove")
    homes.write_durably(home.hybrid_file, b"h" * 32)
    return home


def test_everything_goes_and_what_lies_ready_stays(home: Home, tmp_path: Path) -> None:
    stage = stage_of(home)
    make_account(stage, "theirs")
    fresh = stage.key_file.read_bytes()
    assert is_ready(home)
    wipe(home)
    assert [entry.name for entry in home.path.iterdir()] == [STAGE]
    move_in(home)
    assert home.key_file.read_bytes() == fresh
    assert not is_ready(home)
    assert not (home.path / STAGE).exists()
    assert (tmp_path / "elsewhere" / "kept").exists(), "what a link leads to is not ours"
    started = open_home(home)
    assert started.node.registry.name == "theirs"


def test_the_keys_are_overwritten_before_they_are_removed(home: Home, tmp_path: Path) -> None:
    for name, file in (("key", home.key_file), ("hybrid", home.hybrid_file)):
        (tmp_path / name).hardlink_to(file)
    before = [(tmp_path / name).read_bytes() for name in ("key", "hybrid")]
    wipe(home)
    for name, old in zip(("key", "hybrid"), before, strict=True):
        assert (tmp_path / name).read_bytes()[: len(old)] != old


def test_a_transfer_that_is_cut_off_goes_on_where_it_was(home: Home) -> None:
    """At every step: what an agent would begin with is the old home, nothing, or the whole new one."""
    make_account(stage_of(home), "theirs")
    assert open_home(home).node.registry.name == "mine"
    assert not is_signed_out(home)
    log, key = stored_log(home), homes.open_key(home)
    assert log is not None
    log.merge([remove_device(log, key, key.node_id)])
    homes.write_keylog(home, log_entries(log, log.entries))
    assert is_signed_out(home)
    wipe(home)
    assert is_signed_out(home)
    with pytest.raises(NotAllowed, match="belongs to no account"):
        open_home(home)
    stage = home.path / STAGE
    for entry in sorted(stage.iterdir()):  # half moved in: all but the key log
        if entry.name != "keylog":
            entry.replace(home.path / entry.name)
    with pytest.raises(NotAllowed, match="belongs to no account"):
        open_home(home)
    move_in(home)
    assert open_home(home).node.registry.name == "theirs"


def test_nothing_is_wiped_under_an_agent_that_runs(home: Home) -> None:
    lock = homes.lock(home)
    try:
        with pytest.raises(NotAllowed, match="an agent runs"):
            wipe(home)
    finally:
        os.close(lock)
    assert home.key_file.exists()
