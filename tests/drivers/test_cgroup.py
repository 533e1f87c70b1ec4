from __future__ import annotations

from worldos.drivers import cgroup


def test_a_quota_of_version_2_bounds_the_processors(captured):
    machine = captured("container")
    group = cgroup.find(machine, "cpu")
    assert group is not None
    assert group.version == 2
    assert cgroup.cpu_limit_milli(machine, group) == 2500


def test_a_path_of_the_host_that_we_cannot_see_leads_to_the_root_of_our_view(captured):
    machine = captured("container")
    assert cgroup.find(machine, "memory").folders == (
        "/sys/fs/cgroup/docker/4be1b6f0",
        "/sys/fs/cgroup/docker",
        "/sys/fs/cgroup",
    )


def test_file_pages_that_can_be_dropped_count_as_free(captured):
    machine = captured("container")
    limit, free = cgroup.memory_limit(machine, cgroup.find(machine, "memory"))
    assert limit == 2 * 1024**3
    assert free == 1024**3 + 536_870_912


def test_the_tightest_group_on_the_way_up_counts(captured):
    machine = captured("container")
    machine.write("/sys/fs/cgroup/docker/cpu.max", "150000 100000\n")
    machine.write("/sys/fs/cgroup/docker/4be1b6f0/cpu.max", "max 100000\n")
    assert cgroup.cpu_limit_milli(machine, cgroup.find(machine, "cpu")) == 1500


def test_version_1_is_read_too(captured):
    machine = captured("vm")
    group = cgroup.find(machine, "memory")
    assert group.version == 1
    assert cgroup.memory_limit(machine, group) is None
    machine.write("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "1000000\n")
    machine.write("/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "400000\n")
    machine.write("/sys/fs/cgroup/memory/job/memory.stat", "total_inactive_file 100000\n")
    assert cgroup.memory_limit(machine, group) == (1_000_000, 700_000)
    machine.write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n")
    assert cgroup.cpu_limit_milli(machine, cgroup.find(machine, "cpu")) == 500


def test_no_controller_is_no_limit(captured):
    machine = captured("board")
    assert cgroup.find(machine, "memory") is None
    assert cgroup.memory_limit(machine, None) is None
    assert cgroup.cpu_limit_milli(machine, None) is None


def test_a_controller_of_version_1_beside_an_empty_version_2_is_found(captured):
    assert cgroup.find(captured("vm"), "cpu").version == 1


def test_garbage_in_control_files_is_no_limit(captured):
    machine = captured("container")
    machine.write("/sys/fs/cgroup/cpu.max", "a b\n")
    machine.write("/sys/fs/cgroup/memory.max", "")
    assert cgroup.cpu_limit_milli(machine, cgroup.find(machine, "cpu")) is None
    assert cgroup.memory_limit(machine, cgroup.find(machine, "memory")) is None
