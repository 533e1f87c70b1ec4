"""What programs learned is kept in the home, and only what is that is taken in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, until

from worldos.errors import PeerBroke
from worldos.kernel.profile import Profiles, Ran, Took
from worldos.model.ids import NodeId
from worldos.sdk import connection as agent


@pytest.fixture(scope="module", autouse=True)
def _no_agent_is_left() -> Iterator[None]:
    yield
    agent.close()


def test_what_is_learned_lies_in_the_home_and_is_shown() -> None:
    connection = agent.connection()
    learned = Profiles()
    learned.function("f", "area")
    took = Took(2000, 1000, memory_bytes=5_000_000, read_bytes=300, written_bytes=4)
    learned.learn("f", Ran(node=connection.node(), took=took, in_bytes=70_000, out_bytes=9, away_us=700))
    connection.ask("profiles_learned", {"learned": learned.snapshot()})
    shown = connection.ask("profile_show")
    (row,) = shown["functions"]
    assert (row["function"], row["runs"], row["wall_us"], row["cpu_percent"], row["in_bytes"]) == (
        "area",
        1,
        2000,
        50,
        70_000,
    )
    assert (row["memory_bytes"], row["read_bytes"], row["written_bytes"]) == (5_000_000, 300, 4)
    assert [way["bytes_s"] for way in shown["ways"]] == [learned.ways[connection.node()].rate_bytes_s]
    home = Path(connection.ask("status")["home"])
    assert Profiles.restore((home / "profiles").read_bytes()).functions.keys() == {"f"}


@pytest.mark.parametrize("garbage", [b"", b"\xc1\xc1", Profiles().snapshot()[:-1]])
def test_garbage_is_refused_and_costs_nothing(garbage: bytes) -> None:
    connection = agent.connection()
    before = connection.ask("profiles")
    with pytest.raises(PeerBroke):
        connection.ask("profiles_learned", {"learned": garbage})
    assert connection.ask("profiles") == before


def test_a_node_that_is_no_name_does_not_break_what_is_shown() -> None:
    connection = agent.connection()
    strange = Profiles()
    strange.learn("g", Ran(node=NodeId("\x00" * 90), took=Took(1, 1), in_bytes=0, out_bytes=0))
    connection.ask("profiles_learned", {"learned": strange.snapshot()})
    assert connection.ask("profile_show")["functions"]


CHOOSES = """
import json, os
from worldos import use
from worldos.kernel.profile import Profiles, Ran, Took
from worldos.lanes import pack
from worldos.sdk.connection import connection

def train(data):
    return os.environ["WORLDOS_NODE"]

def test(data):
    return os.environ["WORLDOS_NODE"]

agent = connection()
nodes = {row["name"]: row["node"] for row in agent.ask("nodes")}
learned = Profiles()
for function, took in ((train, {"desk": 900_000, "attic": 90_000}), (test, {"desk": 90_000, "attic": 900_000})):
    for name, wall_us in took.items():
        known = Ran(node=nodes[name], took=Took(wall_us, wall_us, 20_000_000), in_bytes=100, out_bytes=10)
        learned.learn(pack.Functions().of(function).key, known)
agent.ask("profiles_learned", {"learned": learned.snapshot()})
with use("CPU", 1, for_=train) as trains, use("CPU", 1, for_=test) as tests:
    memory = trains.need.memory_bytes
    ran = [[cpu.submit(train, bytes(200_000)).result(60) for _ in range(5)] for cpu in (trains, tests)]
print(json.dumps({"nodes": nodes, "ran": ran, "memory": memory}))
"""


def test_the_machine_on_which_a_function_is_known_to_end_soonest_is_leased_and_its_way_is_learned(
    pair: tuple[RunningAgent, RunningAgent], tmp_path: Path
) -> None:
    desk, _ = pair
    file = tmp_path / "chooses.py"
    file.write_text(CHOOSES)
    environ = {**os.environ, "WORLDOS_HOME": str(desk.home.path)}
    run = subprocess.run(
        [sys.executable, str(file)], env=environ, capture_output=True, text=True, timeout=180, check=False
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    nodes = found["nodes"]
    assert found["ran"] == [[nodes["attic"]] * 5, [nodes["desk"]] * 5]
    assert found["memory"] == 57_000_000, "what it takes and a quarter more, and a worker"
    until(lambda: [way for way in desk.ask("profile_show")["ways"] if way["node"] == "attic"], "the way is learned")
    (way,) = (way for way in desk.ask("profile_show")["ways"] if way["node"] == "attic")
    assert way["bytes_s"] > 0
