"""Presence: a key in a real terminal is seen, a quiet machine shows nothing, and load is what works at normal priority."""

from __future__ import annotations

import os
import pty
import time
from pathlib import Path

import pytest

from worldos.drivers.machine import Machine
from worldos.drivers.presence import AT_A_DEVICE, AT_A_TERMINAL, TICKS_S, Presence

SECOND = 1_000_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine that has the real pseudo terminals and nothing else."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/pts").symlink_to("/dev/pts")
    (tmp_path / "proc").mkdir()
    return tmp_path


def stat(root: Path, user_ticks: int) -> None:
    (root / "proc/stat").write_text(f"cpu  {user_ticks} 99999 5 1000 0 0 0 0 0 0\ncpu0 1 2 3 4\n")


def test_a_key_in_a_terminal_is_seen_once(root: Path) -> None:
    ours, theirs = pty.openpty()
    old = time.time() - 60  # the last key was a minute ago: the kernel moves the time in steps of 8 s
    os.utime(os.ttyname(theirs), (old, old))
    presence = Presence(Machine(root=str(root)))
    assert presence.moved() == ""
    os.write(ours, b"l")
    os.write(ours, b"\n")
    assert presence.moved() == "", "nobody has read it yet"
    os.read(theirs, 10)
    assert presence.moved() == AT_A_TERMINAL
    assert presence.moved() == ""
    for descriptor in (ours, theirs):
        os.close(descriptor)
    presence.close()


def test_a_new_terminal_and_one_that_went_are_no_keys(root: Path) -> None:
    presence = Presence(Machine(root=str(root)))
    pair = pty.openpty()
    assert presence.moved() == ""
    for descriptor in pair:
        os.close(descriptor)
    assert presence.moved() == ""
    presence.close()


def test_what_a_device_says_is_seen_and_thrown_away_and_one_that_is_unplugged_is_let_go(root: Path) -> None:
    (root / "dev/input").mkdir()
    device = root / "dev/input/event3"
    os.mkfifo(device)
    writer = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    presence = Presence(Machine(root=str(root)))
    assert presence.moved() == ""
    os.write(writer, bytes(24))
    assert presence.moved() == AT_A_DEVICE
    assert presence.moved() == ""
    os.close(writer)
    presence.moved()
    assert presence.inputs == []
    presence.close()


def test_where_devices_may_not_be_read_their_interrupts_are_counted(root: Path) -> None:
    table = "           CPU0       CPU1\n  1:  {}  2  IO-APIC  1-edge  i8042\n 24:  9  9  PCI-MSI  nvme0q0\n"
    (root / "proc/interrupts").write_text(table.format(5))
    presence = Presence(Machine(root=str(root)))
    assert not any(presence.moved() for _ in range(6))
    (root / "proc/interrupts").write_text(table.format(6))
    assert [sign for sign in (presence.moved() for _ in range(6)) if sign] == [AT_A_DEVICE]
    presence.close()


def test_load_is_time_at_normal_priority_alone(root: Path) -> None:
    stat(root, 1000)
    presence = Presence(Machine(root=str(root)))
    assert presence.load_milli(SECOND) == 0
    stat(root, 1000 + TICKS_S // 2)
    assert presence.load_milli(2 * SECOND) == 500
    assert presence.load_milli(3 * SECOND) == 0
    stat(root, 5)
    assert presence.load_milli(4 * SECOND) == 0, "another count: the table began anew"
    presence.close()


def test_a_machine_without_anything_to_look_at_shows_nothing(tmp_path: Path) -> None:
    presence = Presence(Machine(root=str(tmp_path)))
    assert presence.moved() == ""
    assert presence.load_milli(SECOND) == 0
    presence.close()
