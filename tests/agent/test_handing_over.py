"""Handing a machine over, as the devices of one account tell each other of it (with real agents: tests/cli/test_transfer.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.agent.company import Device, Group

from worldos.agent.handing_over import about
from worldos.kernel.clones import tell_hand_over
from worldos.model.statements import Topic
from worldos.trust.hybrid import HybridKey, seal_hybrid


@pytest.fixture
def group(tmp_path: Path) -> Group:
    return Group(tmp_path, 3).whole()


def handed(
    group: Group, by: Device, device: Device, ticket: bytes = b"wos-ticket", to: HybridKey | None = None
) -> None:
    public = to.public if to is not None else device.company.keys.hybrid.public
    by.state(Topic.DEVICE, tell_hand_over(device.key.public, seal_hybrid(public, ticket, about=about(device.id))))
    group.step()


def grown(group: Group) -> Device:
    """The device that the words admitted; those that it admitted are young."""
    members = group.devices[0].node.keylog.members()
    assert [device.young for device in members.devices].count(False) == 1
    return next(device for device in group.devices if not members.get(device.id).young)  # type: ignore[union-attr]


def test_a_device_hears_once_whose_it_is_from_now_on(group: Group) -> None:
    owner = grown(group)
    goes, stays = [device for device in group.devices if device is not owner]
    handed(group, owner, goes)
    group.step(3)
    assert goes.tickets == ["wos-ticket"]
    assert stays.tickets == owner.tickets == []
    assert not any(b"wos-ticket" in statement.body for statement in stays.node.statements.of(Topic.DEVICE).values())
    handed(group, owner, goes, b"another")
    assert goes.tickets == ["wos-ticket", "another"]
    assert sum(said.topic is Topic.DEVICE for said in goes.node.statements.of(Topic.DEVICE).values()) == 4, (
        "the last counts"
    )


def test_nobody_is_handed_over_by_a_young_device_by_itself_or_by_a_stranger(group: Group) -> None:
    owner = grown(group)
    one, other = [device for device in group.devices if device is not owner]
    handed(group, one, other)
    handed(group, one, owner)
    handed(group, owner, owner)
    stranger = Device(group, 9, 1, group.folder / "d9")
    stranger.state(Topic.DEVICE, tell_hand_over(one.key.public, bytes(64)))
    for statement in stranger.node.statements.of(Topic.DEVICE).values():
        one.node.statements.offer(group.now_ns, (statement,), one.node)
    group.step()
    assert all(device.tickets == [] for device in group.devices)
    assert all(not device.node.clones.handed for device in group.devices)


def test_what_is_sealed_to_another_key_is_passed_over(group: Group) -> None:
    owner = grown(group)
    goes = next(device for device in group.devices if device is not owner)
    handed(group, owner, goes, to=HybridKey(b"\5" * 32))
    assert goes.tickets == []


def test_a_word_of_a_device_that_was_put_out_meanwhile_is_not_followed(group: Group) -> None:
    owner = grown(group)
    goes, stays = [device for device in group.devices if device is not owner]
    group.cut_all()
    handed(group, owner, stays)
    group.revoke(owner, at=goes)
    for statement in owner.node.statements.of(Topic.DEVICE).values():
        goes.node.statements.offer(group.now_ns, (statement,), goes.node)
    group.step()
    assert goes.tickets == []
