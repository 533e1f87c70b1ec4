"""Epochs as a table: who knows them, which are over, and how many are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.agent.company import Group

from worldos.kernel.epochs import EPOCHS_KEPT
from worldos.model.statements import Topic
from worldos.sim.machine import device_key
from worldos.trust.epochs import NUMBER_MAX, tell_epoch
from worldos.trust.hybrid import HybridKey
from worldos.trust.statements import sign_statement

PUBLIC = HybridKey(b"\1" * 32).public


@pytest.fixture
def group(tmp_path: Path) -> Group:
    return Group(tmp_path, 3)


def tell(group: Group, signer: int, number: int, key: int, to: tuple[int, ...]) -> None:
    node = group.devices[0].node
    for body in tell_epoch(number, bytes([key]) * 32, [(device_key(n).node_id, PUBLIC) for n in to]):
        node.statements.offer(1, (sign_statement(device_key(signer), Topic.EPOCH, body),), node)


def numbers(group: Group) -> list[int]:
    node = group.devices[0].node
    return [epoch.number for epoch in node.epochs.usable(node.is_member)]


def test_the_greatest_number_is_first_and_equal_ones_go_by_their_id(group: Group) -> None:
    for number, key in ((1, 1), (3, 2), (3, 3), (2, 4)):
        tell(group, 0, number, key, (0, 1))
    assert numbers(group) == [3, 3, 2, 1]
    first, second, *_ = group.devices[0].node.epochs.usable(lambda _: True)
    assert first.id > second.id
    assert group.devices[0].node.epochs.next_number() == 4


def test_an_epoch_is_over_when_one_who_knows_it_is_put_out(group: Group) -> None:
    tell(group, 0, 1, 1, (0, 1))
    tell(group, 2, 2, 2, (0, 1))  # told by the third device, so known to it
    tell(group, 0, 3, 3, (0, 1, 2))
    group.revoke(group.devices[2], at=group.devices[0])
    assert numbers(group) == [1]


def test_a_stranger_and_a_removed_device_tell_of_nothing(group: Group) -> None:
    tell(group, 9, 1, 1, (0,))
    group.revoke(group.devices[2], at=group.devices[0])
    tell(group, 2, 1, 2, (0,))
    assert numbers(group) == []


def test_a_number_that_nothing_can_be_above_is_passed_over(group: Group) -> None:
    tell(group, 0, NUMBER_MAX - 1, 1, (0,))
    tell(group, 0, 5, 2, (0,))
    assert group.devices[0].node.epochs.next_number() == 6


def test_only_the_newest_are_kept(group: Group) -> None:
    for number in range(1, EPOCHS_KEPT + 10):
        tell(group, 0, number, number, (0,))
    assert len(numbers(group)) == EPOCHS_KEPT == len(group.devices[0].node.statements.of(Topic.EPOCH))
    assert min(numbers(group)) == 10
    tell(group, 0, 3, 3, (0,))
    assert min(numbers(group)) == 10
