"""What a node says to its site, by cause."""

from __future__ import annotations

import numpy as np
import pytest

from worldos.planet import simulated
from worldos.planet.site import Load, Pace, return_of_one, site_traffic
from worldos.planet.sizes import sizes


def test_a_node_alone_says_nothing() -> None:
    assert site_traffic(np.array([1.0]), sizes()).total("wire") == pytest.approx(0)


def test_probes_cost_the_same_in_every_site_and_offers_grow_with_it() -> None:
    traffic = site_traffic(np.array([5.0, 50.0, 200.0]), sizes())
    assert len(set(traffic.payload["probes"])) == 1
    assert traffic.payload["offers"][2] == pytest.approx(traffic.payload["offers"][0] * 199 / 4)


def test_a_slower_pace_costs_less_and_a_node_never_tells_its_offer_more_often_than_it_may() -> None:
    nodes = np.array([50.0])
    slow = site_traffic(nodes, sizes(), pace=Pace(probe_s=1.0, link_s=10.0, refresh_s=200.0))
    assert slow.total("wire")[0] < site_traffic(nodes, sizes()).total("wire")[0] / 5
    restless = site_traffic(nodes, sizes(), load=Load(offer_changes=1000.0))
    assert restless.messages["offers"][0] == pytest.approx(49 * 10)


def test_a_crash_and_a_return_cost_about_what_the_simulator_counts() -> None:
    nodes, down_s = 10, 20
    seen = simulated.watch_return(nodes, 3 * down_s)
    model = return_of_one(np.array([float(nodes)]), sizes(simulated=True), down_s=down_s)
    assert model.total("messages")[0] == pytest.approx(sum(seen.messages.values()) * nodes, rel=0.2)
    assert model.total("payload")[0] == pytest.approx(sum(seen.payload.values()) * nodes, rel=0.3)
    assert seen.messages["peers"] * nodes == pytest.approx((nodes - 1) ** 2)
