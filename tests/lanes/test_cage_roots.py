"""Roots of cages: made and locked once, gone when their host is, and gentle ones beside the others."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from worldos.lanes.cage import Bounds, Cages
from worldos.lanes.cage_roots import GENTLE, ROOT_PREFIX, clear_leftovers, clear_root, name_of_host

IDLE_SHARES = 3


@pytest.fixture
def cages():
    cages = Cages(name_of_host())
    yield cages
    cages.close()


def test_a_gentle_lease_has_the_least_weight_beside_everything_else(cages: Cages) -> None:
    if cages.kind != "cgroup v1" or not any(folder.endswith(GENTLE) for folder in cages.folders):
        pytest.skip("no cpu controller of cgroup v1 here")
    cage = cages.open("guest", Bounds(milli_cpu=500, gentle=True))
    (entrance,) = (each for each in cage.entrances() if f".{GENTLE}/" in each)
    root = os.path.dirname(os.path.dirname(entrance))
    with open(f"{root}/cpu.shares", encoding="ascii") as shares:
        assert int(shares.read()) <= IDLE_SHARES, "the kernel gives an idle group 3"
    with open(f"{os.path.dirname(entrance)}/cpu.cfs_quota_us", encoding="ascii") as quota:
        assert int(quota.read()) == 50_000
    plain = cages.open("own", Bounds(milli_cpu=500))
    assert not any(f".{GENTLE}/" in each for each in plain.entrances())
    assert cage.remove()
    assert plain.remove()


def test_roots_are_locked_while_their_host_lives_and_gone_with_it(cages: Cages) -> None:
    clear_leftovers()
    assert all(os.path.isdir(folder) for folder in cages.folders)
    folders = list(cages.folders)
    cages.close()
    assert not any(os.path.isdir(folder) for folder in folders)
    assert "gentle" not in cages.describe().replace("cgroup", "")


def test_a_throttled_lease_has_a_part_of_its_own_and_then_all_of_it(cages: Cages) -> None:
    cage = cages.open("guest", Bounds(milli_cpu=1000, gentle=True))
    if not cage.throttle(250):
        pytest.skip("no cpu controller here")
    (entrance,) = (each for each in cage.entrances() if "cpu" in each.split("/"))
    file = f"{os.path.dirname(entrance)}/cpu.cfs_quota_us"
    with open(file, encoding="ascii") as quota:
        assert int(quota.read()) == 25_000
    assert cage.throttle(1000)
    with open(file, encoding="ascii") as quota:
        assert int(quota.read()) == 100_000
    assert cage.remove()


def test_what_is_gentle_ends_beside_the_others_for_to_end_takes_time_too(cages: Cages) -> None:
    if cages.kind != "cgroup v1" or not any(folder.endswith(GENTLE) for folder in cages.folders):
        pytest.skip("no cpu controller of cgroup v1 here")
    cage = cages.open("guest", Bounds(gentle=True))
    burning = subprocess.Popen(["sh", "-c", "while :; do :; done"])
    for entrance in cage.entrances():
        Path(entrance).write_text(str(burning.pid))
    cage.freeze([burning.pid])
    cage.kill([burning.pid])
    assert burning.wait(30) == -signal.SIGKILL
    deadline = time.monotonic() + 30
    while not cage.remove():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_nursery_of_a_killed_host_may_remove_its_cages_while_the_next_start_looks_at_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / f"{ROOT_PREFIX}1"
    (root / "cage").mkdir(parents=True)
    look = os.scandir

    def too_late(folder: Path) -> object:
        (root / "cage").rmdir()
        root.rmdir()
        return look(folder)

    monkeypatch.setattr(os, "scandir", too_late)
    assert clear_root(root)
    assert not root.exists()
