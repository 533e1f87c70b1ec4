from __future__ import annotations

from worldos.drivers.cpu import driver, load_percent


def test_a_laptop_shows_its_model_and_instruction_sets(captured):
    [cpu] = driver.scan(captured("laptop"))
    assert cpu.name.startswith("11th Gen Intel(R) Core(TM) i5-1135G7")
    assert (cpu.unit, cpu.capacity, cpu.free) == ("milli", 8000, 8000)
    assert cpu.tags == ("aes", "avx", "avx2", "avx512", "avx512_vnni", "fma", "sha", "sse4_2")
    assert cpu.facts["avx2"] is True
    assert cpu.facts["frequency_mhz"] == 4200


def test_an_arm_board_is_named_by_core_and_board(captured):
    [cpu] = driver.scan(captured("board"))
    assert cpu.name == "Cortex-A72 (Raspberry Pi 4 Model B Rev 1.4)"
    assert cpu.tags == ("neon",)
    assert cpu.facts["neon"] is True
    assert "avx2" not in cpu.facts


def test_a_container_offers_its_quota_and_not_the_machine(captured):
    [cpu] = driver.scan(captured("container"))
    assert cpu.capacity == 2500


def test_a_virtual_machine_says_what_its_processor_is(captured):
    [cpu] = driver.scan(captured("vm"))
    assert (cpu.name, cpu.capacity, cpu.facts["frequency_mhz"]) == ("AMD EPYC", 2000, 2445)


def test_load_is_the_busy_share_since_the_sample_before(captured):
    machine = captured("laptop")
    assert load_percent(machine) == 5
    machine.write("/proc/stat", "cpu  4050 0 1025 94025 1000 0 0 0 0 0\n")
    assert load_percent(machine) == 75


def test_two_samples_at_once_say_the_same(captured):
    machine = captured("laptop")
    assert [load_percent(machine) for _ in range(3)] == [5, 5, 5]


def test_a_machine_that_says_nothing_has_no_load(captured):
    machine = captured("container")
    assert load_percent(machine) == 0
    machine.write("/proc/stat", "garbage\n")
    assert load_percent(machine) == 0


def test_a_lease_gets_one_worker_per_whole_core(captured, leased):
    machine = captured("laptop")
    lane = driver.lane(machine, leased("0", "CPU", 2500, memory_bytes=10**9))
    assert (lane.workers, lane.memory_bytes, lane.driver) == (2, 10**9, "")
    assert lane.environ["OMP_NUM_THREADS"] == "1"
    assert driver.lane(machine, leased("0", "CPU", 100)).workers == 1
    wide = driver.lane(machine, leased("0", "CPU", 8000, workers=2))
    assert (wide.workers, wide.environ["OMP_NUM_THREADS"]) == (2, "4")


def test_the_real_machine_has_a_processor(real):
    [cpu] = driver.scan(real)
    assert 0 < cpu.capacity <= 1000 * real.cpus()
    assert 0 <= driver.sample(real).node["load_percent"] <= 100
