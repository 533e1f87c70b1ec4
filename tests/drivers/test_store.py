from __future__ import annotations

import pytest

from worldos.drivers.machine import Machine
from worldos.drivers.store import (
    LENT_KEY,
    SPARE,
    SPARE_BYTES_MAX,
    Lent,
    Usage,
    driver,
    lent_bytes,
    usage,
    write_usage,
)
from worldos.errors import BadRequest

GB = 10**9


class Disk(Machine):
    """A machine whose one disk is as full as a test says."""

    def __init__(self, folder, total: int, free: int) -> None:
        super().__init__(folders=[str(folder)])
        self.now = (total, free)

    def space(self, folder: str) -> tuple[int, int]:
        return self.now


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "depot").mkdir()
    return tmp_path / "depot"


def lending(folder, size_bytes: int, *, total: int = 1000 * GB, free: int = 400 * GB, whom: str = "me") -> Disk:
    machine = Disk(folder, total, free)
    machine.remembered[LENT_KEY] = Lent(folder=str(folder), door="/run/depot.sock", size_bytes=size_bytes, whom=whom)
    return machine


def test_a_machine_that_lends_nothing_offers_nothing(folder):
    for machine in (Machine(), lending(folder, 0), lending(folder, SPARE, free=0)):
        assert driver.scan(machine) == []
    assert driver.sample(Machine()).free == {}


def test_what_the_owner_chose_is_offered_less_what_is_used(folder):
    machine = lending(folder, 50 * GB, whom="family")
    (store,) = driver.scan(machine)
    assert (store.kind, store.unit, store.capacity, store.free) == ("Store", "B", 50 * GB, 50 * GB)
    assert store.facts["for"] == "family"
    write_usage(str(folder), Usage(used_bytes=20 * GB))
    assert driver.sample(machine).free == {"depot": 30 * GB}
    assert driver.scan(machine)[0].free == 30 * GB


def test_a_disk_that_fills_up_by_others_leaves_less(folder):
    machine = lending(folder, 50 * GB, free=13 * GB)
    assert driver.sample(machine).free == {"depot": 3 * GB}  # ten are its owner's
    machine.now = (1000 * GB, 9 * GB)
    assert driver.sample(machine).free == {"depot": 0}


def test_without_a_choice_half_of_what_is_free_is_lent_in_coarse_steps():
    sizes = {lent_bytes(SPARE, 0, free) for free in range(400 * GB, 401 * GB, GB // 50)}
    assert len(sizes) <= 2  # others are told of each change
    assert all(180 * GB < size <= 201 * GB for size in sizes)
    assert lent_bytes(SPARE, 0, 10**15) <= SPARE_BYTES_MAX
    assert lent_bytes(SPARE, 0, 3) == 0
    assert lent_bytes(7, 0, 10**15) == 7


def test_what_is_kept_does_not_make_the_room_smaller():
    assert lent_bytes(SPARE, 0, 100 * GB) == lent_bytes(SPARE, 30 * GB, 70 * GB)


def test_a_lease_has_the_keepers_door_and_no_workers(folder, leased):
    lane = driver.lane(lending(folder, GB), leased("depot", "Store", 10))
    assert (lane.door, lane.workers, lane.folder, lane.driver) == ("/run/depot.sock", 0, "", "")
    for machine, local in ((Machine(), "depot"), (lending(folder, 0), "depot"), (lending(folder, GB), "vda")):
        with pytest.raises(BadRequest):
            driver.lane(machine, leased(local, "Store", 10))


@pytest.mark.parametrize("said", [b"", b"\xc1", b"\x91\xa1x"])
def test_a_usage_that_cannot_be_read_is_none(folder, said):
    (folder / "usage").write_bytes(said)
    assert usage(str(folder)) == Usage(used_bytes=0)
