"""The directory: the same in every order of merging, nothing lost, and a delete takes only what it had seen."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.store.writers import DEVICES, NAMES, Writers, file_of, picture, versions

from worldos.errors import BadRequest, NotThere, OverQuota
from worldos.store import directory as directory_module
from worldos.store.directory import Directory
from worldos.store.ops import Change, Folder, Move, Put, Remove

LAPTOP, PHONE = DEVICES[:2]
CALLED = {LAPTOP: "laptop", PHONE: "phone"}


class Two:
    """A laptop and a phone that write on their own until they meet."""

    def __init__(self) -> None:
        self.writers = Writers(Random(0), devices=2)
        self.laptop, self.phone = self.writers.directories
        self.laptop.names = self.phone.names = CALLED
        self.files = 0

    def put(self, number: int, name: str) -> bytes:
        """Put a new file; return its secret."""
        self.files += 1
        self.writers.write(number, self.writers.directories[number].put(name, file_of(self.files)))
        return file_of(self.files).write

    def remove(self, number: int, name: str) -> None:
        self.writers.write(number, self.writers.directories[number].remove(name, recursive=True))

    def move(self, number: int, source: str, target: str) -> None:
        self.writers.write(number, self.writers.directories[number].move(source, target))

    def meet(self) -> dict[str, bytes]:
        """Let each hear all of the other; return what both see: path to secret, empty for folders."""
        for device, seq, change in self.writers.entries():
            self.laptop.apply(device, seq, change)
        for device, seq, change in reversed(self.writers.entries()):
            self.phone.apply(device, seq, change)
        assert picture(self.laptop) == picture(self.phone)
        return seen(self.laptop)


def seen(directory: Directory) -> dict[str, bytes]:
    return {row.path: row.file.write if row.file is not None else b"" for row in directory.walk()}


@pytest.fixture
def two() -> Two:
    return Two()


def test_two_files_under_one_name_both_stay(two: Two) -> None:
    first, second = two.put(0, "note"), two.put(1, "note")
    assert two.meet() == {"note": second, "note (conflict from laptop)": first}
    assert [row.path for row in two.laptop.conflicts()] == ["note (conflict from laptop)"]
    assert two.laptop.get("note (conflict from laptop)") is not None


def test_a_conflict_ends_when_somebody_takes_one_away(two: Two) -> None:
    first, _ = two.put(0, "note"), two.put(1, "note")
    two.meet()
    two.remove(0, "note")
    assert two.meet() == {"note": first}
    assert not two.laptop.conflicts()


def test_a_conflict_can_be_given_a_name_of_its_own(two: Two) -> None:
    first, second = two.put(0, "note"), two.put(1, "note")
    two.meet()
    two.move(1, "note (conflict from laptop)", "old note")
    assert two.meet() == {"note": second, "old note": first}


def test_a_new_version_takes_the_place_of_the_one_it_saw(two: Two) -> None:
    two.put(0, "note")
    two.meet()
    second = two.put(1, "note")
    assert two.meet() == {"note": second}


def test_who_changes_a_file_that_another_removes_keeps_the_change(two: Two) -> None:
    two.put(0, "note")
    two.meet()
    two.remove(0, "note")
    changed = two.put(1, "note")
    assert two.meet() == {"note": changed}


def test_what_is_put_into_a_folder_that_another_removes_stays(two: Two) -> None:
    two.put(0, "trip/one")
    two.meet()
    two.remove(0, "trip")
    new = two.put(1, "trip/two")
    assert two.meet() == {"trip": b"", "trip/two": new}


def test_a_move_that_a_delete_had_not_seen_saves_the_file(two: Two) -> None:
    kept = two.put(0, "trip/one")
    two.meet()
    two.remove(0, "trip")
    two.move(1, "trip/one", "one")
    assert two.meet() == {"one": kept}


def test_of_two_moves_one_counts_and_the_file_is_in_one_place(two: Two) -> None:
    kept = two.put(0, "one")
    two.meet()
    two.move(0, "one", "here")
    two.move(1, "one", "there")
    assert two.meet() == {"there": kept}


def test_two_folders_moved_into_each_other_lose_nothing(two: Two) -> None:
    first, second = two.put(0, "a/one"), two.put(0, "b/two")
    two.meet()
    two.move(0, "a", "b/a")
    two.move(1, "b", "a/b")
    assert sorted(secret for secret in two.meet().values() if secret) == [first, second]


def test_a_delete_after_two_moves_takes_the_file_from_both_places(two: Two) -> None:
    two.put(0, "one")
    two.meet()
    two.move(0, "one", "here")
    two.move(1, "one", "there")
    two.meet()
    two.remove(0, "there")
    assert two.meet() == {}


def test_a_file_where_another_makes_a_folder_gets_out_of_its_way(two: Two) -> None:
    note, inside = two.put(0, "note"), two.put(1, "note/inside")
    assert two.meet() == {"note": b"", "note/inside": inside, "note (conflict from laptop)": note}


def test_a_folder_stays_when_its_last_file_goes(two: Two) -> None:
    two.put(0, "trip/one")
    two.remove(0, "trip/one")
    assert two.meet() == {"trip": b""}


def test_a_change_waits_for_what_its_author_had_seen(two: Two) -> None:
    two.put(0, "note")
    two.meet()
    two.remove(1, "note")
    late = Directory()
    assert late.apply(PHONE, 1, two.writers.logs[PHONE][0])
    assert picture(late) == []
    assert late.missing() == {LAPTOP: 1}
    assert late.heads() == {}
    assert late.apply(LAPTOP, 1, two.writers.logs[LAPTOP][0])
    assert picture(late) == []
    assert late.missing() == {}
    assert late.heads() == {LAPTOP: 1, PHONE: 1}
    assert not late.apply(LAPTOP, 1, two.writers.logs[LAPTOP][0])


def test_numbers_that_were_never_written_are_stepped_over() -> None:
    directory = Directory()
    directory.apply(LAPTOP, 7, Change(at_ns=1, after=3, ops=(Folder(path="b"),)))
    assert directory.missing() == {LAPTOP: 3}
    directory.apply(LAPTOP, 3, Change(at_ns=1, after=0, ops=(Folder(path="a"),)))
    assert [row.path for row in directory.list()] == ["a", "b"]
    with pytest.raises(BadRequest, match="after itself"):
        directory.apply(LAPTOP, 9, Change(at_ns=1, after=9))


def test_too_much_that_waits_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module, "CHANGES_WAITING_MAX", 2)
    directory = Directory()
    for seq in (9, 8):
        directory.apply(LAPTOP, seq, Change(at_ns=1, after=seq - 1))
    with pytest.raises(OverQuota, match="wait"):
        directory.apply(LAPTOP, 7, Change(at_ns=1, after=6))


def test_an_operation_on_what_nobody_knows_does_nothing() -> None:
    directory = Directory()
    stranger = Put(path="x", file=file_of(1), over=())
    gone = next(iter(versions(merged_of(stranger))))
    ops = (
        Remove(path="no/such", only=gone),
        Move(source="no", target="yes"),
        Move(source="a", target="a/b"),
        Remove(path="q"),
    )
    directory.apply(LAPTOP, 1, Change(at_ns=1, after=0, ops=ops))
    assert picture(directory) == []


def merged_of(*ops: Put) -> Directory:
    directory = Directory()
    directory.apply(LAPTOP, 1, Change(at_ns=1, after=0, ops=ops))
    return directory


def test_what_a_move_would_give_too_long_a_name_stays_where_it_is() -> None:
    directory = Directory()
    deep = "/".join(["d"] * 60)
    puts = (Put(path="a/x", file=file_of(1)), Put(path="a/b/c/d/e/f", file=file_of(2)))
    directory.apply(LAPTOP, 1, Change(at_ns=1, after=0, ops=(*puts, Move(source="a", target=deep))))
    assert sorted(row.path for row in directory.walk() if row.file is not None) == ["a/b/c/d/e/f", f"{deep}/x"]


def test_what_cannot_be_done_is_refused_before_it_is_written(two: Two) -> None:
    two.put(0, "trip/one")
    laptop = two.laptop
    with pytest.raises(BadRequest, match="is a folder"):
        laptop.put("trip", file_of(9))
    with pytest.raises(BadRequest, match="is a file, not a folder"):
        laptop.put("trip/one/two", file_of(9))
    with pytest.raises(BadRequest, match="not empty"):
        laptop.remove("trip")
    with pytest.raises(BadRequest, match="into itself"):
        laptop.move("trip", "trip/deeper")
    with pytest.raises(BadRequest, match="there already"):
        laptop.move("trip/one", "trip")
    with pytest.raises(BadRequest, match="is a file"):
        laptop.list("trip/one")
    with pytest.raises(BadRequest, match="top folder"):
        laptop.remove("/")
    with pytest.raises(NotThere, match="not there"):
        laptop.list("nowhere")
    with pytest.raises(NotThere, match="not there"):
        laptop.move("nowhere", "else")
    deep = "/".join(["d"] * 63)
    with pytest.raises(BadRequest, match="in each other"):
        laptop.move("trip", deep + "/trip")


def test_a_name_in_another_normal_form_is_the_same_name(two: Two) -> None:
    two.put(0, "Z\N{LATIN SMALL LETTER U WITH DIAERESIS}rich")
    second = two.put(0, "Zu\N{COMBINING DIAERESIS}rich")
    assert list(two.meet().values()) == [second]


def test_names_that_differ_in_case_are_two(two: Two) -> None:
    two.put(0, "Readme")
    two.put(0, "README")
    assert sorted(two.meet()) == ["README", "Readme"]


def test_a_hundred_thousand_files_in_one_folder_are_listed_in_order() -> None:
    directory = Directory()
    ops = tuple(Put(path=f"big/{number:06}", file=file_of(number)) for number in reversed(range(50_000)))
    for seq in (1, 2):
        moved = tuple(Put(path=op.path + "abc"[seq], file=op.file) for op in ops)
        directory.apply(LAPTOP, seq, Change(at_ns=1, after=seq - 1, ops=moved))
    listed = directory.list("big")
    assert len(listed) == 100_000
    assert [row.path for row in listed[:3]] == ["big/000000b", "big/000000c", "big/000001b"]
    assert listed == sorted(listed, key=lambda row: row.path)


def check_merges(seed: int, acts: int, devices: int = 3) -> None:
    """All orders of merging show the same, each version once, and none is lost that nobody took away knowingly."""
    writers = Writers(Random(seed), devices=devices)
    for _ in range(acts):
        writers.act()
    first, second = writers.merged(), writers.merged()
    assert first.heads() == {device: len(log) for device, log in writers.logs.items() if log}
    assert picture(first) == picture(second), f"seed {seed}: two orders of merging differ"
    for name in NAMES:
        assert first.history(name) == second.history(name)
    there = [row.id for row in picture(first) if row.file is not None]
    assert len(there) == len(set(there)), f"seed {seed}: one version is in two places"
    assert writers.made - writers.taken <= set(there), f"seed {seed}: a version is lost that nobody took away"
    if not writers.moves:
        assert not writers.taken & set(there), f"seed {seed}: what was taken away is there"
    for one in writers.directories:
        for entry in writers.entries():
            one.apply(*entry)
        assert picture(one) == picture(first), f"seed {seed}: a device sees something else"


@given(st.integers(0, 1 << 40), st.integers(1, 60), st.integers(2, 5))
def test_every_order_of_merging_gives_the_same_and_loses_nothing(seed: int, acts: int, devices: int) -> None:
    check_merges(seed, acts, devices)


class Devices(RuleBasedStateMachine):
    """Hypothesis chooses who does what, and looks for the shortest story that goes wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.writers = Writers(Random(1), devices=3)

    @rule(number=st.integers(0, 2), name=st.sampled_from(NAMES), secret=st.integers(1, 1 << 60))
    def put(self, number: int, name: str, secret: int) -> None:
        self._try(number, lambda d: d.put(name, file_of(secret)))

    @rule(number=st.integers(0, 2), name=st.sampled_from(NAMES))
    def remove(self, number: int, name: str) -> None:
        self._try(number, lambda d: d.remove(name, recursive=True))

    @rule(number=st.integers(0, 2), name=st.sampled_from(NAMES), other=st.sampled_from(NAMES))
    def move(self, number: int, name: str, other: str) -> None:
        self.writers.moves += 1
        self._try(number, lambda d: d.move(name, other))

    @rule(number=st.integers(0, 2), name=st.sampled_from(NAMES))
    def undelete(self, number: int, name: str) -> None:
        self._try(number, lambda d: d.undelete(name))

    @rule(teller=st.integers(0, 2), hearer=st.integers(0, 2))
    def tell(self, teller: int, hearer: int) -> None:
        self.writers.tell(teller, hearer)

    @invariant()
    def all_orders_agree(self) -> None:
        first, second = self.writers.merged(), self.writers.merged()
        assert picture(first) == picture(second)
        assert self.writers.made - self.writers.taken <= versions(first)

    def _try(self, number: int, make: object) -> None:
        try:
            ops = make(self.writers.directories[number])  # type: ignore[operator]
        except BadRequest:
            return
        self.writers.write(number, ops)


Devices.TestCase.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
TestDevices = Devices.TestCase
