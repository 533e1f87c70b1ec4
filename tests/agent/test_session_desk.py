"""Sessions among real nodes: written on one device, gone on with on the next, and shut to who was put out."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.agent.company import Device, Group

from worldos.agent.session_desk import TEXT_BYTES_MAX, OpRow
from worldos.errors import BadRequest, NotAllowed
from worldos.kernel.events import StatementsOffered
from worldos.model.statements import Topic
from worldos.trust.statements import statement_id


@pytest.fixture
def group(tmp_path: Path) -> Group:
    return Group(tmp_path, 3).whole()


def texts(device: Device, name: str = "thesis") -> list[str]:
    desk = device.company.sessions
    return [op.text for op in desk.ops(desk.find(name)) if op.kind in {"say", "sealed"}]


def begun(device: Device, *words: str) -> str:
    name = device.company.sessions.start("thesis").id
    for word in words:
        device.company.sessions.say(name, word)
    return name


def test_what_is_written_on_one_device_is_read_on_all(group: Group) -> None:
    laptop, phone, _ = group.devices
    name = begun(laptop, "one", "two")
    assert texts(phone) == ["one", "two"]
    row = phone.company.sessions.row(name)
    assert (row.name, row.writer, row.here, row.readable, row.seq) == ("thesis", laptop.id, False, True, 3)


def test_nobody_else_can_read_it_on_the_way_or_on_a_disk(group: Group) -> None:
    laptop, phone, _ = group.devices
    begun(laptop, "a secret nobody shall see")
    for statement in phone.node.statements.of(Topic.SESSION).values():
        assert b"secret" not in statement.body
        assert b"thesis" not in statement.body


def test_one_device_writes_and_another_takes_over(group: Group) -> None:
    laptop, phone, _ = group.devices
    name = begun(laptop, "on the laptop")
    with pytest.raises(NotAllowed, match="n0 writes in this session"):
        phone.company.sessions.say(name, "too early")
    assert phone.company.sessions.take_over(name).here
    phone.company.sessions.say(name, "on the phone")
    with pytest.raises(NotAllowed, match="n1 writes"):
        laptop.company.sessions.say(name, "too late")
    assert texts(laptop) == ["on the laptop", "on the phone"]


def test_a_session_is_handed_to_a_device_that_goes_on_by_itself(group: Group) -> None:
    laptop, phone, _ = group.devices
    name = begun(laptop, "mine")
    laptop.company.sessions.hand(name, phone.id)
    group.step()
    assert laptop.company.sessions.row(name).writer == phone.id
    assert phone.company.sessions.say(name, "and mine") > 0


def test_what_a_cut_off_device_wrote_meanwhile_stands_aside_on_all(group: Group) -> None:
    laptop, phone, tablet = group.devices
    name = begun(laptop, "both know this")
    group.cut_all()
    laptop.company.sessions.say(name, "alone on the laptop")
    group.link(phone, tablet)
    phone.company.sessions.take_over(name)
    phone.company.sessions.say(name, "on the phone")
    group.link_all()
    group.step(12)
    for device in group.devices:
        assert texts(device) == ["both know this", "on the phone"]
        assert [row.text for row in device.company.sessions.aside(name)] == ["alone on the laptop"]
    with pytest.raises(NotAllowed, match="n1 writes"):
        laptop.company.sessions.say(name, "again")


def test_two_devices_that_take_over_apart_agree_on_one(group: Group) -> None:
    laptop, phone, tablet = group.devices
    name = begun(laptop, "start")
    group.cut_all()
    for device in (phone, tablet):
        device.company.sessions.take_over(name)
        for word in "abc":
            device.company.sessions.say(name, f"{word} on {device.number}")
    group.link_all()
    group.step(12)
    rows = {device.company.sessions.row(name).writer for device in group.devices}
    assert len(rows) == 1
    assert all(texts(device) == texts(laptop) for device in group.devices)
    assert all(device.company.sessions.row(name).aside == 4 for device in group.devices)


def test_a_device_that_was_put_out_reads_nothing_of_what_comes_after(group: Group) -> None:
    laptop, phone, thief = group.devices
    name = begun(laptop, "before")
    assert texts(thief) == ["before"]
    group.revoke(thief, at=laptop)
    group.step()
    laptop.company.sessions.say(name, "after")
    assert texts(phone) == ["before", "after"]
    for statement in laptop.node.statements.of(Topic.SESSION).values():  # somebody carries all of it to the thief
        thief.node.sessions.judge(group.now_ns, statement, thief.node)
        thief.node.statements.table[Topic.SESSION].setdefault(statement_id(statement), statement)
    for statement in laptop.node.statements.of(Topic.EPOCH).values():
        thief.node.epochs.judge(group.now_ns, statement, thief.node)
    read: list[OpRow] = thief.company.sessions.ops(name)
    assert [row.text for row in read if row.kind == "say"] == ["before"]
    assert [row.kind for row in read][-1] == "sealed"


def test_what_a_thief_wrote_after_the_removal_is_no_part_of_the_session(group: Group) -> None:
    laptop, phone, thief = group.devices
    name = begun(laptop, "mine")
    group.cut_all()
    group.revoke(thief, at=laptop)
    group.link(laptop, phone)
    thief.company.sessions.take_over(name)
    thief.company.sessions.say(name, "the thief's")
    for statement in thief.node.statements.of(Topic.SESSION).values():
        phone.feed(StatementsOffered(now_ns=group.now_ns, statements=(statement,)))
    group.deliver()
    for device in (laptop, phone):
        assert device.company.sessions.row(name).writer == laptop.id
        assert texts(device) == ["mine"]


def test_the_last_words_of_a_stolen_writer_are_nobodys_but_those_built_on_stay(group: Group) -> None:
    laptop, phone, thief = group.devices
    name = thief.company.sessions.start("thesis").id
    thief.company.sessions.say(name, "seen by the phone")
    phone.company.sessions.take_over(name)
    thief.company.sessions.take_over(name)
    thief.company.sessions.say(name, "built on by nobody")
    group.revoke(thief, at=laptop)
    group.step()
    for device in (laptop, phone):
        assert texts(device) == ["seen by the phone"]
        assert device.company.sessions.row(name).writer == phone.id


def test_after_a_restart_a_writer_goes_on_in_a_reign_of_its_new_life(group: Group) -> None:
    laptop, phone, _ = group.devices
    name = begun(laptop, "first life")
    laptop.again(boot=2).begin()
    for other in group.devices[1:]:
        group.link(laptop, other)
    laptop.company.sessions.say(name, "second life")
    assert texts(phone) == ["first life", "second life"]
    assert phone.company.sessions.row(name).fence == 2


def test_a_session_that_ended_is_written_in_by_nobody(group: Group) -> None:
    laptop, phone, _ = group.devices
    name = begun(laptop)
    assert not phone.company.sessions.end(name).open
    for device in (laptop, phone):
        assert not device.company.sessions.row(name).open
        for wrong in (device.company.sessions.take_over, device.company.sessions.end):
            with pytest.raises(BadRequest, match="has ended"):
                wrong(name)
    assert laptop.company.sessions.start("thesis").id != name, "its name is free again"


def test_names_are_found_and_bad_ones_refused(group: Group) -> None:
    desk = group.devices[0].company.sessions
    first = desk.start("thesis")
    assert desk.find(first.id[:4]) == desk.find("thesis") == desk.find(first.id) == first.id
    for wrong in ("", " ", "x" * 65, "tab\tbed"):
        with pytest.raises(BadRequest):
            desk.start(wrong)
    with pytest.raises(BadRequest, match="already"):
        desk.start("thesis")
    for unknown in ("nothing", "", first.id[:3]):
        with pytest.raises(BadRequest, match="there is no session"):
            desk.find(unknown)
    with pytest.raises(BadRequest, match="at most"):
        desk.say(first.id, "x" * (TEXT_BYTES_MAX + 1))
