"""Which node a person means."""

import pytest
from tests.test_node import node_of

from worldos.agent.orders.named import name_of, named_node
from worldos.errors import BadRequest
from worldos.sim.machine import device_key

IDS = [device_key(number).node_id for number in range(4)]


def test_a_device_is_found_by_name_by_id_and_by_the_beginning_of_it() -> None:
    node = node_of()
    device = node.keylog.members().active[0]
    for text in (device.name, device.node, device.node[:8]):
        assert named_node(node, text) == device.node
    assert name_of(node, device.node) == device.name


def test_an_id_of_somebody_unknown_is_taken_as_it_is() -> None:
    node = node_of()
    assert named_node(node, IDS[3]) == IDS[3]
    assert name_of(node, IDS[3]) == IDS[3][:12]


@pytest.mark.parametrize("text", ["", "abc", "nobody", "../..", IDS[3][:51], "-" * 52])
def test_what_means_nobody_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="no machine"):
        named_node(node_of(), text)
