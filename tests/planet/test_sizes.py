"""Sizes are those of the real messages."""

from __future__ import annotations

from worldos.model import wire
from worldos.model.limits import SECOND
from worldos.planet import said
from worldos.planet.sizes import AROUND_BYTES, on_wire, sizes
from worldos.sim.world import World


def test_the_simulators_offers_have_the_size_that_is_counted_with() -> None:
    world = World(1, 3, drift=False)
    world.run_until(world.now_ns + 2 * SECOND)
    node = world.machines[0].node
    assert node is not None
    assert node.registry.told is not None
    told = len(wire.encode(wire.OfferTold(offer=node.registry.told)))
    assert abs(told - sizes(simulated=True).offer) < 0.03 * told


def test_every_message_passes_the_door_for_peers() -> None:
    for message in (
        *(said.register(level) for level in range(5)),
        *(said.registered(level) for level in range(5)),
        *(said.center_told(level) for level in range(6)),
        said.heartbeat(),
        said.heartbeat_answer(),
        said.summary_told(),
        said.bid_ask(),
        said.bid_answer(),
        said.guest_told(),
    ):
        assert wire.decode(wire.encode(message)) == message


def test_a_summary_stays_within_a_few_hundred_bytes() -> None:
    assert sizes().summary_told < 1000


def test_the_layers_below_cost_a_hundred_bytes() -> None:
    assert on_wire(0) == AROUND_BYTES == 100
