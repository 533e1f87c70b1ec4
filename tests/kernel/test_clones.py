"""Clones: one key that lives twice is seen by its own words and its own links, and by nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.agent.company import SECOND, Device, Group

from worldos.errors import NotAllowed, PeerBroke
from worldos.kernel.clones import LIVES_KEPT, read_device, tell_device
from worldos.kernel.events import PeerLinked
from worldos.model.statements import Topic
from worldos.trust.hybrid import HybridKey
from worldos.trust.statements import sign_statement

PUBLIC = HybridKey(b"\1" * 32).public


@pytest.fixture
def group(tmp_path: Path) -> Group:
    return Group(tmp_path, 3).whole()


def twin(group: Group, of: Device, boot: int) -> Device:
    """A copy of a device's disk, brought up somewhere else."""
    copy = Device(group, of.number, boot, of.home.path)
    topics = [
        topic for topic in Topic if topic is not Topic.DEVICE or boot > of.node.boot
    ]  # of a running one: its memory
    kept = tuple(s for topic in topics for s in of.node.statements.of(topic).values())
    copy.node.statements.restore(group.now_ns, kept, copy.node)
    return copy


def hears(device: Device, other: Device) -> None:
    """Whatever one has said of its lives reaches a device by way of others."""
    for statement in other.node.statements.of(Topic.DEVICE).values():
        device.node.statements.offer(device.group.now_ns, (statement,), device.node)


def test_lives_that_follow_each_other_are_no_clones_and_only_the_last_ones_are_kept(group: Group) -> None:
    laptop, phone, _ = group.devices
    for boot in range(2, LIVES_KEPT + 4):
        laptop.again(boot).begin()
        group.link(laptop, phone)
    assert not any(device.node.clones.cloned for device in group.devices)
    own = [s for s in phone.node.statements.of(Topic.DEVICE).values() if s.signer == laptop.id]
    assert len(own) == LIVES_KEPT
    assert phone.node.clones.public_of(laptop.id) == laptop.company.keys.hybrid.public


def test_a_life_that_is_heard_of_late_is_no_clone(group: Group) -> None:
    laptop, phone, _ = group.devices
    early = sign_statement(laptop.key, Topic.DEVICE, tell_device(5, b"\5" * 16, PUBLIC))
    late = sign_statement(laptop.key, Topic.DEVICE, tell_device(3, b"\3" * 16, PUBLIC))
    for statement in (early, late):
        phone.node.statements.offer(group.now_ns, (statement,), phone.node)
    assert not phone.node.clones.cloned


def test_two_disks_with_one_key_are_both_cut_off_and_both_stop(group: Group) -> None:
    laptop, phone, _ = group.devices
    copy = twin(group, laptop, boot=2).begin()
    laptop.again(boot=2).begin()
    hears(phone, copy)
    hears(phone, laptop)
    assert phone.node.clones.cloned == {laptop.id: "it lived twice at one time"}
    assert "device cloned" in [n.name for n in phone.notices] or phone.node.clones.proofs[laptop.id]
    for device in (laptop, copy):  # each hears of the other, by the phone
        hears(device, phone)
        assert not device.company.step()
        assert device.stopped == "it lived twice at one time"
        with pytest.raises(NotAllowed, match="lives twice"):
            device.again(boot=3).begin()


def test_a_clone_that_links_is_told_why_and_not_linked(group: Group) -> None:
    laptop, phone, _ = group.devices
    copy = twin(group, laptop, boot=2).begin()
    laptop.again(boot=2).begin()
    hears(phone, copy)
    hears(phone, laptop)
    phone.node.paths.pop(laptop.id, None)
    group.linked.add(frozenset({laptop.id, phone.id}))
    effects = phone.node.handle(PeerLinked(now_ns=group.now_ns, node=laptop.id, boot=2))
    assert [type(effect).__name__ for effect in effects][:2] == ["Send", "Forget"]
    assert laptop.id not in phone.node.paths


def test_a_snapshot_that_comes_back_is_told_of_its_own_future_and_stops(group: Group) -> None:
    laptop, phone, _ = group.devices
    snapshot = twin(group, laptop, boot=2)
    for boot in range(2, 9):
        laptop.again(boot).begin()
        group.link(laptop, phone)
    group.devices[0] = snapshot.begin()  # in place of the laptop, as life 2
    group.cut_all()
    group.link(snapshot, phone)
    assert laptop.id in phone.node.clones.doubted, "asked to come again"
    assert frozenset({snapshot.id, phone.id}) not in group.linked
    assert snapshot.node.clones.cloned[snapshot.id] == "a later life of it is known"
    assert not snapshot.company.step()


def test_a_snapshot_that_will_not_hear_is_cut_off_when_it_comes_again(group: Group) -> None:
    laptop, phone, _ = group.devices
    laptop.again(boot=7).begin()
    group.link(laptop, phone)
    for _ in range(3):
        group.now_ns += SECOND
        phone.node.handle(PeerLinked(now_ns=group.now_ns, node=laptop.id, boot=3))
    assert phone.node.clones.cloned == {laptop.id: "it came back as an older life"}


def test_one_late_link_of_an_older_life_is_no_proof(group: Group) -> None:
    laptop, phone, _ = group.devices
    laptop.again(boot=7).begin()
    group.link(laptop, phone)
    phone.node.handle(PeerLinked(now_ns=group.now_ns, node=laptop.id, boot=6))
    group.link(laptop, phone)
    group.now_ns += 100 * SECOND
    phone.node.handle(PeerLinked(now_ns=group.now_ns, node=laptop.id, boot=6))
    assert not phone.node.clones.cloned


def test_what_a_clone_says_is_not_heard(group: Group) -> None:
    laptop, phone, _ = group.devices
    phone.node.clones.cloned[laptop.id] = "shown elsewhere"
    before = len(phone.node.sessions.table)
    laptop.company.sessions.start("from a clone")
    assert len(phone.node.sessions.table) == before
    assert phone.node.clones.public_of(laptop.id) is None, "and nothing is sealed to it"


def test_two_words_of_one_writer_at_one_place_are_proof(group: Group) -> None:
    laptop, phone, _ = group.devices
    name = laptop.company.sessions.start("thesis").id
    copy = twin(group, laptop, boot=1)
    copy.company.sessions._begun |= laptop.company.sessions._begun
    group.cut_all()
    laptop.company.sessions.say(name, "one thing")
    copy.company.sessions.say(name, "another")
    for device in (laptop, copy):
        for statement in device.node.statements.of(Topic.SESSION).values():
            phone.node.statements.offer(group.now_ns, (statement,), phone.node)
    assert phone.node.clones.cloned == {laptop.id: "it wrote twice at one place"}


def test_nobody_is_cloned_by_the_word_of_another(group: Group) -> None:
    laptop, phone, tablet = group.devices
    forged = sign_statement(tablet.key, Topic.DEVICE, tell_device(1, b"\7" * 16, PUBLIC))
    phone.node.statements.offer(group.now_ns, (forged,), phone.node)
    assert laptop.id not in phone.node.clones.cloned
    assert tablet.id in phone.node.clones.cloned, "it can only speak against itself"
    stranger = Device(group, 9, 1, group.folder / "d9")
    said = sign_statement(stranger.key, Topic.DEVICE, tell_device(1, b"\7" * 16, PUBLIC))
    phone.node.statements.offer(group.now_ns, (said,), phone.node)
    assert stranger.id not in phone.node.clones.lives


def test_only_the_one_right_form_is_read() -> None:
    body = tell_device(1, bytes(16), PUBLIC)
    assert read_device(body).boot == 1
    for wrong in (
        b"",
        body[:-1],
        body + b"\0",
        tell_device(0, bytes(16), PUBLIC),
        tell_device(1 << 60, bytes(16), PUBLIC),
        tell_device(1, bytes(15), PUBLIC),
        tell_device(1, bytes(16), PUBLIC[:-1]),
        tell_device(1, bytes(16), b"\xff" * len(PUBLIC)),
    ):
        with pytest.raises(PeerBroke):
            read_device(wrong)
