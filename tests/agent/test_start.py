"""From a home to a node: accounts, recovery, another life, and homes that cannot begin one."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from tests.agent.agents import new_home

from worldos.agent import home as homes
from worldos.agent.start import device_name, embedded, make_account, open_home, recover_account, temporary_home
from worldos.config import Settings
from worldos.errors import BadRequest, CorruptFile, NotAllowed
from worldos.home import Home
from worldos.trust.keylog import KeyLog, SignedEntry


def log_of(home: Home) -> KeyLog:
    log = KeyLog()
    log.merge(SignedEntry(body=body, signature=signature) for body, signature in homes.read_keylog(home))
    return log


def bare(path: Path) -> Home:
    path.mkdir()
    return Home(path)


def test_a_new_account_has_this_device_alone(tmp_path: Path) -> None:
    home = new_home(tmp_path / "a")
    (device,) = log_of(home).members().active
    assert device.name == "desk"
    assert device.node == homes.open_key(home).node_id


def test_files_of_an_account_that_is_left_are_set_aside(tmp_path: Path) -> None:
    home = new_home(tmp_path / "a")
    before = log_of(home).account
    for number in range(2):
        (home.path / "files").mkdir()
        (home.path / "files" / "keyring").write_text(f"{number} of the old account")
        make_account(home, "desk")
    assert not (home.path / "files").exists()
    assert (home.path / f"files-of-{before[:8]}" / "keyring").read_text() == "0 of the old account"
    assert len(list(home.path.glob("files-of-*"))) == 2


def test_files_of_an_account_that_comes_again_stay(tmp_path: Path) -> None:
    home = bare(tmp_path / "a")
    words = make_account(home, "desk")
    (home.path / "files").mkdir()
    recover_account(home, "desk", words)
    assert (home.path / "files").exists()


def test_the_words_are_kept_nowhere(tmp_path: Path) -> None:
    home = bare(tmp_path / "a")
    words = make_account(home, "desk")
    assert len(words.split()) == 24
    stored = b"".join(file.read_bytes() for file in home.path.rglob("*") if file.is_file())
    assert words.split()[0].encode() not in stored


def test_each_life_is_counted_before_it_begins(tmp_path: Path) -> None:
    home = new_home(tmp_path / "a")
    assert open_home(home).node.boot == 1
    assert open_home(home).node.boot == 2
    assert homes.read_remembered(home).boot == 2


@pytest.mark.parametrize(("believed", "is_kept"), [(2**40, True), (1, False)])
def test_of_the_speeds_that_each_life_measured_the_best_counts(tmp_path: Path, *, believed: int, is_kept: bool) -> None:
    home = new_home(tmp_path / "a")
    assert open_home(home).facts["speed_mips"] > 1
    homes.write_remembered(home, msgspec.structs.replace(homes.read_remembered(home), speed_mips=believed))
    assert (open_home(home).facts["speed_mips"] == believed) is is_kept


def test_the_speed_of_another_processor_says_nothing(tmp_path: Path) -> None:
    home = new_home(tmp_path / "a")
    remembered = msgspec.structs.replace(homes.read_remembered(home), speed_mips=2**40, speed_of="a disk of elsewhere")
    homes.write_remembered(home, remembered)
    assert 0 < open_home(home).facts["speed_mips"] < 2**40


def test_a_machine_without_an_account_is_told_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NotAllowed, match="no account yet") as caught:
        open_home(bare(tmp_path / "a"))
    assert "wos up" in caught.value.hint
    assert "wos join" in caught.value.hint


def test_a_lost_key_is_not_replaced_by_a_stranger_in_silence(tmp_path: Path) -> None:
    home = new_home(tmp_path / "a")
    home.key_file.unlink()
    with pytest.raises(NotAllowed, match="none of its account's devices") as caught:
        open_home(home)
    assert "wos recover" in caught.value.hint


def test_a_key_log_of_forged_entries_is_refused(tmp_path: Path) -> None:
    home = new_home(tmp_path / "a")
    entries = [(body, bytes(64)) for body, _ in homes.read_keylog(home)]
    homes.write_keylog(home, tuple(entries))
    with pytest.raises(CorruptFile, match="keylog is damaged") as caught:
        open_home(home)
    assert "mv " in caught.value.hint


def test_the_words_bring_an_account_to_a_bare_machine(tmp_path: Path) -> None:
    old, new = bare(tmp_path / "old"), bare(tmp_path / "new")
    words = make_account(old, "old")
    account = recover_account(new, "new", f"  {words.upper()}\n")
    assert account == log_of(old).account == log_of(new).account
    assert [d.name for d in log_of(new).members().active] == ["new"]
    merged = log_of(old)
    merged.merge(SignedEntry(body=body, signature=signature) for body, signature in homes.read_keylog(new))
    assert sorted(d.name for d in merged.members().active) == ["new", "old"]


def test_the_words_put_stolen_devices_out(tmp_path: Path) -> None:
    home = bare(tmp_path / "a")
    words = make_account(home, "stolen")
    home.key_file.unlink()
    recover_account(home, "fresh", words, revoke_others=True)
    assert [d.name for d in log_of(home).members().active] == ["fresh"]
    assert open_home(home).node.registry.name == "fresh"


def test_recovering_twice_changes_nothing(tmp_path: Path) -> None:
    home = bare(tmp_path / "a")
    words = make_account(home, "desk")
    before = homes.read_keylog(home)
    recover_account(home, "desk", words)
    assert homes.read_keylog(home) == before


@pytest.mark.parametrize("words", ["", "hello", "abandon " * 24, "abandon " * 11 + "about", "\x00" * 10_000])
def test_wrong_words_are_refused_and_change_nothing(tmp_path: Path, words: str) -> None:
    home = new_home(tmp_path / "a")
    before = homes.read_keylog(home)
    with pytest.raises(BadRequest):
        recover_account(home, "desk", words)
    assert homes.read_keylog(home) == before


def test_an_embedded_node_leaves_nothing_and_clears_what_killed_ones_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    killed = tmp_path / "wos-embedded-999999999-aa"
    living = tmp_path / f"wos-embedded-{os.getpid()}-bb"
    for folder in (killed, living):
        folder.mkdir()
    home = temporary_home()
    started = embedded(home)
    assert started.passing
    assert started.node.boot == 1
    assert not killed.exists()
    assert living.exists()


@pytest.mark.parametrize(
    ("name", "shown"), [("desk", "desk"), (" de\x07sk\n", "desk"), ("x" * 500, "x" * 64), ("\x1b\x00", "node")]
)
def test_a_name_is_what_people_can_read(name: str, shown: str) -> None:
    assert device_name(Settings(name=name)) == shown
