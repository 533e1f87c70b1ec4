"""History: everything comes back for 30 days, and what is forgotten was seen to go by all."""

from __future__ import annotations

from random import Random

import pytest
from tests.store.writers import DEVICES, Writers, file_of, picture

from worldos.errors import BadRequest, NotThere
from worldos.store.directory import Directory
from worldos.store.limits import DAY_NS
from worldos.store.ops import FileRef
from worldos.store.retention import Aging, version_of

LAPTOP, PHONE = DEVICES[:2]
BEGIN_NS = 1_700_000_000 * 1_000_000_000


@pytest.fixture
def writers() -> Writers:
    return Writers(Random(0), devices=2, now_ns=BEGIN_NS)


def put(writers: Writers, number: int, name: str, secret: int) -> None:
    writers.write(number, writers.directories[number].put(name, file_of(secret)))


def remove(writers: Writers, number: int, name: str) -> None:
    writers.write(number, writers.directories[number].remove(name, recursive=True))


def meet(writers: Writers) -> None:
    """Let both hear of each other and say so."""
    for _ in range(2):
        for number, device in enumerate(DEVICES[:2]):
            for entry in writers.entries():
                writers.directories[number].apply(*entry)
            if writers.directories[number].owes_ack(device):
                writers.write(number, ())


def days_pass(directory: Directory, days: int, active: tuple[bytes, ...] = (LAPTOP, PHONE)) -> list[FileRef]:
    """Look at the clock once a day; return what was forgotten."""
    looked = directory.aging.looked_ns or BEGIN_NS
    return [file for day in range(days + 1) for file in directory.forget(looked + day * DAY_NS, active)]


def secrets(directory: Directory) -> list[int]:
    return [row.file.size_bytes for row in directory.walk() if row.file is not None]


def test_all_versions_of_a_name_are_told_with_device_and_time(writers: Writers) -> None:
    put(writers, 0, "note", 1)
    meet(writers)
    put(writers, 1, "note", 2)
    remove(writers, 1, "note")
    second, first = writers.directories[1].history("note")
    assert (second.file, second.device, second.current, second.removed) == (file_of(2), PHONE, False, True)
    assert (first.file, first.device, first.current, first.removed) == (file_of(1), LAPTOP, False, False)
    assert BEGIN_NS < first.at_ns < second.at_ns == first.ended_ns < second.ended_ns
    assert second.ended_by == PHONE
    assert first.version == version_of(first.id) != second.version
    assert len(first.version) == 8


def test_what_was_moved_says_where_it_went(writers: Writers) -> None:
    put(writers, 0, "note", 1)
    writers.write(0, writers.directories[0].move("note", "kept/note"))
    (old,) = writers.directories[0].history("note")
    (new,) = writers.directories[0].history("kept/note")
    assert (old.moved_to, old.removed, old.current) == ("kept/note", False, False)
    assert new.current
    assert new.version == old.version


def test_any_version_comes_back(writers: Writers) -> None:
    laptop = writers.directories[0]
    for secret in (1, 2, 3):
        put(writers, 0, "note", secret)
    third, second, first = laptop.history("note")
    assert [version.file.size_bytes for version in (third, second, first)] == [3, 2, 1]
    with pytest.raises(BadRequest, match="is there"):
        laptop.undelete("note")
    writers.write(0, laptop.undelete("note", first.version[:6].upper()))
    assert secrets(laptop) == [1]
    remove(writers, 0, "note")
    writers.write(0, laptop.undelete("note"))
    assert secrets(laptop) == [1]
    with pytest.raises(NotThere, match="brought back"):
        laptop.undelete("note", "zzzz")


def test_a_folder_comes_back_with_all_that_went_with_it(writers: Writers) -> None:
    laptop = writers.directories[0]
    for number, name in enumerate(["trip/a", "trip/b", "trip/deep/c"], 1):
        put(writers, 0, name, number)
    remove(writers, 0, "trip/a")
    remove(writers, 0, "trip")
    put(writers, 0, "trip/b", 9)
    writers.write(0, laptop.undelete("trip"))
    assert {row.path: row.file.size_bytes for row in laptop.walk() if row.file} == {"trip/b": 9, "trip/deep/c": 3}
    with pytest.raises(NotThere):
        laptop.undelete("nothing")


def test_after_30_days_that_all_have_seen_it_is_forgotten(writers: Writers) -> None:
    put(writers, 0, "trip/note", 1)
    remove(writers, 0, "trip")
    meet(writers)
    laptop = writers.directories[0]
    assert laptop.dead_caps() == {file_of(1).write}
    assert laptop.live_caps() == set()
    assert laptop.gone() == laptop.kept() == {file_of(1)}
    assert days_pass(laptop, 29) == []
    assert laptop.history("trip/note")
    assert days_pass(laptop, 3) == [file_of(1)]
    assert laptop.history("trip/note") == []
    assert laptop.dead_caps() == set()
    assert not laptop.tree.root.spots
    assert not laptop.tree.ended


def test_a_device_that_has_not_said_that_it_saw_keeps_the_history(writers: Writers) -> None:
    put(writers, 0, "note", 1)
    remove(writers, 0, "note")
    laptop, phone = writers.directories
    assert days_pass(laptop, 400) == []
    for entry in writers.entries():
        phone.apply(*entry)
    assert phone.owes_ack(PHONE)
    writers.write(1, ())
    assert not phone.owes_ack(PHONE)
    for entry in writers.entries():
        laptop.apply(*entry)
    assert days_pass(laptop, 32) == [file_of(1)]


def test_who_is_not_active_is_not_waited_for(writers: Writers) -> None:
    put(writers, 0, "note", 1)
    remove(writers, 0, "note")
    assert days_pass(writers.directories[0], 32, active=(LAPTOP,)) == [file_of(1)]


def test_a_clock_that_jumps_forgets_nothing(writers: Writers) -> None:
    put(writers, 0, "note", 1)
    remove(writers, 0, "note")
    meet(writers)
    laptop = writers.directories[0]
    for now_ns in (BEGIN_NS, BEGIN_NS + 4000 * DAY_NS, BEGIN_NS - 4000 * DAY_NS, BEGIN_NS + 9000 * DAY_NS):
        assert laptop.forget(now_ns, (LAPTOP, PHONE)) == ()
    aging = Aging()
    aging.look(5)
    aging.look(1)
    assert aging.aged_ns == 0


def test_a_secret_that_another_name_still_needs_is_not_given_up(writers: Writers) -> None:
    put(writers, 0, "note", 1)
    put(writers, 0, "copy", 1)
    remove(writers, 0, "note")
    meet(writers)
    assert days_pass(writers.directories[0], 40) == []
    assert writers.directories[0].history("note") == []


def test_what_was_moved_stays_where_it_is_and_costs_no_more_than_any_file(writers: Writers) -> None:
    put(writers, 0, "a/note", 1)
    writers.write(0, writers.directories[0].move("a", "b"))
    meet(writers)
    laptop = writers.directories[0]
    before = picture(laptop)
    days_pass(laptop, 40)
    assert picture(laptop) == before
    assert laptop.history("a/note") == []
    found = laptop.tree.at("b/note")
    assert found is not None
    assert getattr(found, "steps", 0) is None
    remove(writers, 0, "b/note")
    assert secrets(laptop) == []


@pytest.mark.parametrize("seed", range(40))
def test_who_forgets_sees_what_all_see(seed: int) -> None:
    """Forgetting changes the history alone: whatever is written afterwards looks the same to who forgot and who did not."""
    writers = Writers(Random(seed), devices=2, now_ns=BEGIN_NS)
    for _ in range(30):
        writers.act()
    meet(writers)
    days_pass(writers.directories[0], 40)
    for _ in range(30):
        writers.act()
    meet(writers)
    assert picture(writers.directories[0]) == picture(writers.directories[1]) == picture(writers.merged())
