from __future__ import annotations

import pytest

from worldos.drivers.machine import Machine
from worldos.drivers.storage import clear, driver, measure
from worldos.errors import BadRequest


def disks(machine):
    return {disk.local: disk for disk in driver.scan(machine)}


def test_a_laptop_shows_its_disks_once_and_no_boot_or_loop(captured):
    found = disks(captured("laptop", ("/home/ada/.local/share/worldos",)))
    assert list(found) == ["sda1", "vgubuntu-root"]
    assert found["vgubuntu-root"].facts == {"filesystem": "ext4", "mount": "/", "rotational": False}
    assert found["sda1"].facts["rotational"] is True
    assert found["sda1"].facts["mount"] == "/media/ada/BACKUP DISK"


def test_only_the_disk_that_holds_our_folder_can_be_leased(captured):
    found = disks(captured("laptop", ("/home/ada/.local/share/worldos",)))
    assert {local: disk.leasable for local, disk in found.items()} == {"sda1": False, "vgubuntu-root": True}


def test_two_folders_make_two_disks_leasable(captured):
    found = disks(captured("laptop", ("/home/ada", "/media/ada/BACKUP DISK/worldos")))
    assert all(disk.leasable for disk in found.values())


def test_a_part_of_each_disk_is_kept_for_its_owner(captured):
    machine = captured("laptop")
    machine.calls["space"]["/"] = [100_000_000_000, 6_000_000_000]
    assert disks(machine)["vgubuntu-root"].free == 1_000_000_000
    machine.calls["space"]["/"] = [100_000_000_000, 4_000_000_000]
    assert driver.sample(machine).free["vgubuntu-root"] == 0


def test_a_container_shows_its_overlay_and_its_volume(captured):
    found = disks(captured("container", ("/data/worldos",)))
    assert {local: disk.leasable for local, disk in found.items()} == {"root": False, "sdb1": True}


def test_a_home_in_memory_is_offered_because_we_live_there(captured):
    machine = captured("container", ("/dev/shm/worldos",))
    machine.write("/proc/self/mounts", "overlay / overlay rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\n")
    machine.calls["space"]["/dev/shm"] = [10**9, 10**9]
    found = disks(machine)
    assert found["dev-shm"].leasable


def test_a_lease_gets_a_folder_of_its_own_and_a_quota(captured, leased):
    machine = captured("laptop", ("/home/ada/w",))
    driver.scan(machine)
    lane = driver.lane(machine, leased("vgubuntu-root", "Storage", 10**10))
    assert lane.folder == "/home/ada/w/leases/abc-1-2"
    assert lane.arguments == {"folder": lane.folder, "quota_bytes": 10**10}


def test_a_disk_without_our_folder_cannot_be_leased(captured, leased):
    machine = captured("laptop", ("/home/ada/w",))
    with pytest.raises(BadRequest, match="sda1"):
        driver.lane(machine, leased("sda1", "Storage", 1))


def test_what_an_earlier_life_left_behind_is_removed(tmp_path):
    left = tmp_path / "leases" / "abc-1-1" / "deep"
    left.mkdir(parents=True)
    (left / "file").write_text("x")
    (tmp_path / "journal").write_text("kept")
    assert clear(Machine(folders=[str(tmp_path)])) == 1
    assert list((tmp_path / "leases").iterdir()) == []
    assert (tmp_path / "journal").read_text() == "kept"


def test_the_real_machine_keeps_our_files_on_one_disk(tmp_path):
    machine = Machine(folders=[str(tmp_path)])
    ours = [disk for disk in driver.scan(machine) if disk.leasable]
    assert len(ours) == 1
    assert 0 <= ours[0].free < ours[0].capacity


def test_measured_speed_is_among_the_facts_of_the_next_sample(tmp_path):
    machine = Machine(folders=[str(tmp_path)])
    [ours] = [disk.local for disk in driver.scan(machine) if disk.leasable]
    assert driver.sample(machine).facts == {}
    measure(machine)
    facts = driver.sample(machine).facts[ours]
    assert facts["write_bytes_s"] > 0
    assert facts["sync_us"] > 0
    assert list(tmp_path.iterdir()) == []


def test_a_disk_whose_folder_is_gone_has_no_speed(captured):
    machine = captured("laptop", ("/home/nobody/at/all",))
    driver.scan(machine)
    measure(machine)
    assert driver.sample(machine).facts == {}
