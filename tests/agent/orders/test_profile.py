"""What programs learned is kept in the home, and only what is that is taken in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from worldos.errors import PeerBroke
from worldos.kernel.profile import Profiles, Ran
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
    learned.learn(
        "f", Ran(node=connection.node(), wall_us=2000, cpu_us=1000, in_bytes=70_000, out_bytes=9, away_us=700)
    )
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
    strange.learn("g", Ran(node=NodeId("\x00" * 90), wall_us=1, cpu_us=1, in_bytes=0, out_bytes=0))
    connection.ask("profiles_learned", {"learned": strange.snapshot()})
    assert connection.ask("profile_show")["functions"]
