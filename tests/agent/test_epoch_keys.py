"""Epochs among real nodes: one key for all, another one as soon as somebody is put out."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from tests.agent.company import Group

from worldos.agent.epoch_keys import open_hybrid
from worldos.errors import CorruptFile
from worldos.home import Home
from worldos.model.statements import Topic
from worldos.trust.epochs import NUMBER_MAX, tell_epoch


def test_all_devices_share_one_key_that_none_was_told_in_the_open(tmp_path: Path) -> None:
    group = Group(tmp_path, 4).whole()
    group.step(2)
    currents = {device.company.keys.current() for device in group.devices}
    assert len(currents) == 1
    ((name, key),) = currents
    for device in group.devices:
        told = device.node.statements.table
        assert not any(key in statement.body for topic in told.values() for statement in topic.values())
        assert device.company.keys.key_of(name) == key


def test_two_devices_that_began_apart_meet_in_one_epoch(tmp_path: Path) -> None:
    group = Group(tmp_path, 2)
    one, other = (device.begin() for device in group.devices)
    assert one.company.keys.current() != other.company.keys.current()
    group.link_all()
    group.step(2)
    assert one.company.keys.current() == other.company.keys.current()


def test_a_removal_begins_an_epoch_that_the_removed_device_cannot_open(tmp_path: Path) -> None:
    group = Group(tmp_path, 3).whole()
    desk, phone, thief = group.devices
    old = desk.company.keys.current()
    assert thief.company.keys.current() == old
    group.revoke(thief, at=desk)
    group.step(1)
    fresh = desk.company.keys.current()
    assert fresh != old
    assert phone.company.keys.current() == fresh
    for statement in desk.node.statements.of(Topic.EPOCH).values():  # whatever reaches the thief, it opens nothing new
        thief.node.epochs.judge(group.now_ns, statement, thief.node)
    assert thief.company.keys.key_of(fresh[0]) is None
    assert desk.company.keys.key_of(old[0]) == old[1], "what was written before stays readable"


def test_the_removed_device_has_no_word_in_which_epoch_is_used(tmp_path: Path) -> None:
    """It tells of an epoch with the highest number there is, before it is put out and after."""
    group = Group(tmp_path, 3).whole()
    desk, phone, thief = group.devices
    known = [(device.id, device.company.keys.hybrid.public) for device in group.devices]
    (told,) = tell_epoch(NUMBER_MAX - 1, b"\6" * 32, known)
    thief.state(Topic.EPOCH, told)
    assert desk.company.keys.current()[1] == b"\6" * 32
    group.revoke(thief, at=desk)
    group.step(1)
    number, key = desk.company.keys.current()
    assert key != b"\6" * 32
    assert phone.company.keys.current() == (number, key)


def test_a_device_that_sleeps_through_a_removal_learns_both_when_it_wakes(tmp_path: Path) -> None:
    group = Group(tmp_path, 3).whole()
    desk, phone, thief = group.devices
    group.cut_all()
    group.revoke(thief, at=desk)
    group.step(1)
    written = desk.company.keys.current()
    group.link(desk, phone)
    group.step(4)
    assert phone.company.keys.current() == desk.company.keys.current()
    assert phone.company.keys.key_of(written[0]) == written[1]


def test_keys_are_opened_again_in_the_next_life(tmp_path: Path) -> None:
    group = Group(tmp_path, 2).whole()
    desk = group.devices[0]
    before = desk.company.keys.current()
    desk.again(boot=2).begin()
    assert desk.company.keys.current() == before


def test_the_hybrid_key_is_made_once_for_this_user_alone(tmp_path: Path) -> None:
    home = Home(tmp_path)
    public = open_hybrid(home).public
    home.hybrid_file.chmod(0o644)
    assert open_hybrid(home).public == public
    assert stat.S_IMODE(home.hybrid_file.stat().st_mode) == 0o600
    home.hybrid_file.write_bytes(b"short")
    with pytest.raises(CorruptFile, match="5 bytes"):
        open_hybrid(home)
