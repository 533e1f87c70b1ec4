"""What a center tells others of devices that its account put out: once for each, with its proof, and only as the center."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.agent.solo import Solo

from worldos.agent.revoking import tell_revoked
from worldos.kernel.events import KeyLogOffered, StatementsOffered
from worldos.model.statements import Topic
from worldos.sim.machine import device_key
from worldos.trust.keylog import remove_device
from worldos.trust.revocation import DeviceRevoked, check_proof, read_revocation
from worldos.trust.statements import sign_statement


@pytest.fixture
def agent() -> Any:
    """The center of a site with two devices, of which the second was put out."""
    solo = Solo("home", 1)
    key = device_key(1)
    other = next(device for device in solo.node.keylog.members().active if device.node != key.node_id)
    entry = remove_device(solo.node.keylog, key, other.node)
    solo.feed(KeyLogOffered(now_ns=solo.now_ns, entries=((entry.body, entry.signature),)))
    stated: list[bytes] = []

    def state(topic: Topic, body: bytes) -> None:
        stated.append(body)
        solo.feed(StatementsOffered(now_ns=solo.now_ns, statements=(sign_statement(key, topic, body),)))

    return SimpleNamespace(node=solo.node, state=state, stated=stated, other=other.node)


def test_a_device_that_was_put_out_is_told_once_with_its_proof(agent: Any) -> None:
    tell_revoked(agent)
    tell_revoked(agent)
    (body,) = agent.stated
    said = read_revocation(body)
    assert isinstance(said, DeviceRevoked)
    assert said.device == agent.other
    check_proof(said)


def test_who_is_not_the_center_tells_nothing(agent: Any) -> None:
    agent.node.realms.reigns.clear()
    tell_revoked(agent)
    assert not agent.stated
