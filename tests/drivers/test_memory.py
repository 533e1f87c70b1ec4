from __future__ import annotations

import psutil

from worldos.drivers.memory import RESERVE_BYTES_MAX, driver


def test_free_is_what_is_available_less_the_owners_reserve(captured):
    [memory] = driver.scan(captured("laptop"))
    assert memory.capacity == 16_119_292 * 1024
    assert memory.free == 9_265_148 * 1024 - RESERVE_BYTES_MAX


def test_a_small_board_keeps_a_twentieth(captured):
    [memory] = driver.scan(captured("board"))
    assert memory.free == 3_417_520 * 1024 - 3_884_360 * 1024 // 20


def test_the_limit_of_a_container_counts_and_not_the_machine(captured):
    machine = captured("container")
    [memory] = driver.scan(machine)
    assert memory.capacity == 2 * 1024**3
    assert memory.free == 1024**3 + 536_870_912 - memory.capacity // 20
    machine.write("/sys/fs/cgroup/memory.current", str(2 * 1024**3))
    assert driver.sample(machine).free["0"] == 536_870_912 - memory.capacity // 20


def test_a_full_machine_has_nothing_free_and_never_less(captured):
    machine = captured("laptop")
    machine.write("/proc/meminfo", "MemTotal: 1000000 kB\nMemAvailable: 10 kB\n")
    assert driver.scan(machine)[0].free == 0


def test_a_machine_that_says_nothing_offers_no_memory(captured):
    machine = captured("laptop")
    machine.write("/proc/meminfo", "MemTotal: many kB\n")
    assert driver.scan(machine) == []


def test_a_lease_is_a_place_for_as_many_bytes(captured, leased):
    lane = driver.lane(captured("laptop"), leased("0", "Memory", 2 * 10**9))
    assert lane.driver == "worldos.drivers.memory_lane:MemoryLane"
    assert lane.arguments == {"limit_bytes": 2 * 10**9}


def test_the_real_machine_agrees_with_psutil(real):
    [memory] = driver.scan(real)
    assert 0 < memory.capacity <= psutil.virtual_memory().total
    assert memory.free < memory.capacity
