"""What five machines keep is still there, right, and made whole again without anybody, whatever happens to three of them."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.storage_lab import MIB, FileSet, Site, kill, site, start_put, unsafe, until, whole

from worldos.files.files import Files

pytestmark = pytest.mark.timeout(300)
LONG = pytest.mark.skipif("STORAGE_LONG" not in os.environ, reason="takes minutes: STORAGE_LONG=1")


@pytest.fixture(scope="module")
def five() -> Iterator[Site]:
    with site(5) as made:
        yield made


@pytest.fixture(scope="module")
def kept(five: Site, tmp_path_factory: pytest.TempPathFactory) -> FileSet:
    """Files of every size, whole on five machines."""
    made = FileSet(tmp_path_factory.mktemp("set"), 1)
    with five.machines[0].files() as files:
        for number in range(12):
            made.put(files, f"small/{number}", 100 + 400 * number)
        for number, size in enumerate((20_000, 300_000, MIB, 5 * MIB)):
            made.put(files, f"large/{number}", size)
        until(lambda: whole(files), "what was put is whole")
    return made


def read_and_heal(five: Site, kept: FileSet, machine: int, within_s: float = 90) -> float:
    """See that all is right at once, and whole soon; return how long that took."""
    start = time.monotonic()
    with five.machines[machine].files() as files:
        assert kept.wrong(files) == []
        until(lambda: whole(files) or _say(unsafe(files)), "it is whole again", within_s)
        assert kept.wrong(files) == []
    return time.monotonic() - start


def test_any_three_of_five_depots_are_wiped_at_once(five: Site, kept: FileSet) -> None:
    for machine in five.machines[1:4]:
        machine.wipe()
    five.wait_for_links()
    print(f"whole after {read_and_heal(five, kept, 4):.1f} s")


@LONG
def test_one_percent_of_bytes_rot_on_one_machine(five: Site, kept: FileSet) -> None:
    machine = five.machines[2]
    machine.stop()
    assert machine.rot(3) > 0
    machine.start()
    five.wait_for_links()
    print(f"whole after {read_and_heal(five, kept, 2):.1f} s")


def test_two_machines_sleep_and_nobody_waits_for_them(five: Site, kept: FileSet) -> None:
    for machine in five.machines[3:]:
        machine.sleep()
    try:
        with five.machines[0].files() as files:
            start = time.monotonic()
            assert kept.wrong(files) == []
            kept.put(files, "while/two/slept", 3 * MIB)
            kept.put(files, "while/two/slept, small", 1000)
            print(f"all read and two put in {time.monotonic() - start:.1f} s")
            assert kept.wrong(files) == []
    finally:
        for machine in five.machines[3:]:
            machine.wake()
    five.wait_for_links()
    read_and_heal(five, kept, 3)


@pytest.mark.parametrize("after_s", [0.0, 0.15, 0.5])
def test_a_program_is_killed_in_the_middle_of_a_put(five: Site, kept: FileSet, after_s: float) -> None:
    name = f"cut/{after_s}"
    source = kept.make(name, 12 * MIB)
    program = start_put(five.machines[1].home, source, name)
    time.sleep(after_s)
    acknowledged = kill(program)
    with five.machines[0].files() as files:
        files.refresh()
        there = files.exists(name)
        assert there or not acknowledged
        if there:  # then it is all there
            kept.acknowledged(name, source)
        assert kept.wrong(files) == []


@pytest.mark.parametrize("what", ["keeper", "agent"])
def test_a_keeper_and_an_agent_are_killed_while_files_are_put(five: Site, kept: FileSet, what: str) -> None:
    machine = five.machines[1]
    sources = {f"{what}/{number}": kept.make(f"{what}/{number}", 2 * MIB) for number in range(4)}
    with five.machines[0].files() as files:
        for number, (name, source) in enumerate(sources.items()):
            files.put(source, name)
            kept.acknowledged(name, source)
            if number == 1 and what == "keeper":
                keeper = machine.keeper()
                assert keeper is not None
                keeper.kill()
            elif number == 1:
                machine.stop(signal.SIGKILL)
        assert kept.wrong(files) == []
    if machine.agent is None:
        machine.start()
    five.wait_for_links()
    read_and_heal(five, kept, 1)


@LONG
def test_everything_goes_out_at_once_and_comes_back(five: Site, kept: FileSet, tmp_path: Path) -> None:
    with five.machines[0].files() as files:
        kept.put(files, "just/before", 2 * MIB)
    for machine in five.machines:
        machine.stop(signal.SIGKILL)
    for machine in five.machines:
        machine.start()
    five.wait_for_links()
    with five.machines[4].files() as files:
        until(lambda: _refreshed(files).exists("just/before"), "the last one that was put is known")
        assert kept.wrong(files) == []
        files.get("just/before", tmp_path / "out")


@pytest.mark.skipif("WOS_NINE" not in os.environ, reason="nine machines take minutes: WOS_NINE=1")
@pytest.mark.timeout(900)
def test_nine_machines_of_which_as_many_are_wiped_as_was_promised(tmp_path: Path) -> None:
    kept = FileSet(tmp_path, 9)
    with site(9) as nine:
        with nine.machines[0].files() as files:
            for number, size in enumerate((1000, 30_000, 700_000, 3 * MIB, 12 * MIB, 12 * MIB)):
                kept.put(files, f"file {number}", size)
            until(lambda: whole(files) or _say(unsafe(files)), "what was put is whole", 120)
            survives = min(each.survives for each in files.status())
            print(f"{files.status()[0].code}, survives {survives}")
        for machine in nine.machines[1 : 1 + survives]:
            machine.stop(signal.SIGKILL)
        with nine.machines[0].files() as files:
            assert kept.wrong(files) == []
        for machine in nine.machines[1 : 1 + survives]:
            shutil.rmtree(machine.home.depot_folder)
            machine.start()
        nine.machines[8].stop()
        nine.machines[8].rot(8)
        nine.machines[8].start()
        nine.machines[7].sleep()
        try:
            with nine.machines[8].files() as files:
                assert kept.wrong(files) == []
        finally:
            nine.machines[7].wake()
        nine.wait_for_links()
        print(f"whole after {read_and_heal(nine, kept, 3, 300):.1f} s")


def _say(what: str) -> None:
    if what:
        print(f"    {time.monotonic():.0f} s: {what}", flush=True)


def _refreshed(files: Files) -> Files:
    files.refresh()
    return files
