"""Ray: what is installed and started for which words."""

from __future__ import annotations

import importlib.metadata
import json
import sys
import types

import pytest

from worldos.engines import ray
from worldos.engines.plan import Seat
from worldos.errors import BadRequest

SEATS = tuple(
    Seat(index=i, node=f"n{i}", address=f"10.0.0.{i + 1}", milli_cpu=2000, gpus=i, ports=(7800, 7801, 7802))
    for i in range(2)
)


def test_both_ends_have_the_version_of_this_program() -> None:
    version = importlib.metadata.version("ray")
    assert ray.engine.software({}).requirements[0] == f"ray[client]=={version}"
    assert ray.engine.software({"dashboard": True}).requirements[0] == f"ray[client,default]=={version}"


def test_a_head_runs_on_the_first_seat_and_a_node_on_each_other() -> None:
    plan = ray.engine.plan(SEATS, {})
    (head,), (node,) = plan[0], plan[1]
    assert "--head" in head.argv
    assert head.listens == (7801,)
    assert node.argv[node.argv.index("--address") + 1] == "10.0.0.1:7800"
    assert node.argv[node.argv.index("--num-gpus") + 1] == "1"
    assert node.listens == ()
    assert {each.env["RAY_AUTH_MODE"] for each in (head, node)} == {"disabled"}


def test_the_command_and_what_stands_in_for_it_say_the_same() -> None:
    for (process,) in ray.engine.plan(SEATS, {}).values():
        settings = json.loads(process.argv[3])
        told, words = settings["parameters"], process.argv[process.argv.index("--") + 1 :]
        assert words[:2] == ("start", "--block")
        assert settings["head"] == ("--head" in words)
        assert settings["client_port"] == (7801 if settings["head"] else 0)
        assert told.get("gcs_address") == (None if settings["head"] else "10.0.0.1:7800")
        for name in ("node_ip_address", "num_cpus", "num_gpus", "object_store_memory", "temp_dir"):
            assert words[words.index("--" + name.replace("_", "-")) + 1] == str(told[name])


def test_it_never_runs_without_a_private_network() -> None:
    assert not ray.engine.loopback


def test_the_memory_of_a_lease_is_shared_by_objects_and_work() -> None:
    seat = Seat(index=0, node="n", address="10.0.0.1", milli_cpu=1000, memory_bytes=1000 << 20, ports=(1, 2, 3))
    (head,) = ray.engine.plan((seat,), {})[0]
    told = {word: int(head.argv[head.argv.index(word) + 1]) for word in ("--memory", "--object-store-memory")}
    assert sum(told.values()) == 1000 << 20
    assert told["--object-store-memory"] == 300 << 20


def test_a_program_has_one_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    running = types.ModuleType("ray")
    running.is_initialized = lambda: True  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", running)
    with pytest.raises(BadRequest, match="initialised in this program already"):
        ray.engine.check({})


def test_a_program_without_ray_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "installed", lambda _name: "")
    with pytest.raises(BadRequest, match="has no Ray"):
        ray.engine.software({})
