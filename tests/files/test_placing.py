"""Room for shares: leased of the kernel's matcher, held by the session, given back at its end."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from tests.agent.agents import running_pair, until

from worldos.files.files import Files
from worldos.files.placing import Placing
from worldos.files.session import Agent
from worldos.files.stores import Stores

MIB = 1 << 20


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_room_is_leased_on_each_machine_once_and_given_back() -> None:
    with tempfile.TemporaryDirectory(prefix="wos-p-") as folder, running_pair(Path(folder)) as (desk, attic):
        agent = Agent(desk.home)
        stores = Stores(agent.stores)
        until(lambda: _linked(stores) == 2, "both stores are there", 20)
        placing = Placing(agent.connection, stores)

        def leased() -> list[int]:
            return [
                sum(lease["amount"] for lease in each.ask("leases")["granted"] if lease["kind"] == "Store")
                for each in (desk, attic)
            ]

        def both_leased() -> bool:
            places = {store.at.node for store in placing.places(4, MIB)}
            assert len(places) == 2, "as many stores as there are, each once"
            return all(leased())

        until(both_leased, "both have granted", 20)
        before = leased()
        placing.places(4, MIB)
        assert leased() == before, "what is held serves the next put"
        placing.places(4, 10_000 * MIB)
        assert len(placing.places(2, MIB)) == 2
        placing.close()
        until(lambda: leased() == [0, 0], "all is given back", 20)
        agent.close()
        stores.close()
        with Files.open(attic.home) as files:
            files.put(bytes(range(256)) * 40, "a")
            assert files.status("a")[0].devices == 2


def _linked(stores: Stores) -> int:
    stores.refresh(at_once=True)
    return len(stores.reachable())
