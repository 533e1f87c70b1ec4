from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from worldos.drivers.gpu import driver

# pynvml finds its library by LD_LIBRARY_PATH, which counts only from the start of a process.
ASK = """
import json, msgspec, sys
from worldos.drivers.gpu import driver
from worldos.drivers.machine import Machine
machine = Machine(sys.argv[1])
cards = driver.scan(machine)
print(json.dumps([msgspec.to_builtins(cards), msgspec.to_builtins(driver.sample(machine))]))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build the stand-in for NVIDIA's library with")
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("fake_nvml.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-w", "-o", folder / "libnvidia-ml.so.1", source], check=True)
    return folder


def ask(library, root, **environ):
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(root)],
        env={**os.environ, "LD_LIBRARY_PATH": str(library), **environ},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidiactl").touch()
    return tmp_path


def test_each_card_is_a_resource_named_by_its_uuid(library, root):
    cards, _ = ask(library, root)
    assert [card["local"] for card in cards] == [f"GPU-{n:08x}-0000-0000-0000-000000000000" for n in (1, 2)]
    assert cards[0]["name"] == "NVIDIA Fake 1"
    assert (cards[0]["unit"], cards[0]["capacity"]) == ("milli", 1000)
    assert cards[0]["facts"] == {
        "vram": 24 << 30,
        "vram_free": 20 << 30,
        "driver": "550.54.15",
        "load_percent": 37,
        "compute_capability": 89,
    }


def test_what_a_card_does_not_say_is_left_out(library, root):
    cards, sample = ask(library, root)
    assert "load_percent" not in cards[1]["facts"]
    assert sample["facts"][cards[1]["local"]] == {"vram_free": 20 << 30}
    assert sample["facts"][cards[0]["local"]] == {"vram_free": 20 << 30, "load_percent": 37}


def test_a_driver_that_does_not_answer_is_no_card(library, root):
    assert ask(library, root, FAKE_NVML_BROKEN="1") == [[], {}]


def test_device_files_without_the_library_are_no_card(root, tmp_path_factory):
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine has NVIDIA's library")
    assert ask(tmp_path_factory.mktemp("empty"), root) == [[], {}]


def test_a_machine_without_cards_is_asked_in_no_time(captured):
    machine = captured("vm")
    start = time.perf_counter()
    assert driver.scan(machine) == []
    assert driver.sample(machine).facts == {}
    assert time.perf_counter() - start < 0.1


def test_a_lease_shows_its_workers_one_card_only(captured, leased):
    lane = driver.lane(captured("vm"), leased("GPU-1", "GPU", 1000, memory_bytes=10**9))
    assert lane.environ["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    assert (lane.workers, lane.memory_bytes, lane.driver) == (1, 10**9, "")
    both = msgspec.structs.replace(leased("GPU-1", "GPU", 2000), also=("GPU-2",))
    assert driver.lane(captured("laptop"), both).environ["CUDA_VISIBLE_DEVICES"] == "GPU-1,GPU-2"
    assert driver.lane(captured("board"), leased("GPU-1", "GPU", 1000, workers=3)).workers == 3
