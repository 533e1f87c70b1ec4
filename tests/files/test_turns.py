"""Programs of one home see each change of the others, however short after their own it came."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from tests.files.depots import Site, files_of

from worldos.files.turns import Told, Turns

LOG = bytes(range(32))


def test_each_change_is_told_and_the_highest_number_stays(tmp_path: Path) -> None:
    one, two = Turns(tmp_path / "lock", LOG), Turns(tmp_path / "lock", LOG)
    assert two.told() == Told(0, 0)
    with one.taken():
        assert one.tell() == Told(1, 0)
        assert one.tell(7) == Told(2, 7) == two.told()
    with two.taken():
        assert two.tell(5) == Told(3, 7) == one.told()
    other = Turns(tmp_path / "lock", bytes(32))
    assert other.told() == Told(3, 0), "the numbers of another log say nothing"
    for each in (one, two, other):
        each.close()


def test_a_turn_is_one_programs_alone(tmp_path: Path) -> None:
    one, two = Turns(tmp_path / "lock", LOG), Turns(tmp_path / "lock", LOG)
    said: list[str] = []

    def second() -> None:
        with two.taken():
            said.append("second")

    thread = threading.Thread(target=second)
    with one.taken():
        thread.start()
        thread.join(0.05)
        said.append("first")
    thread.join(15)
    assert said == ["first", "second"]
    one.close()
    two.close()


def test_what_another_program_wrote_within_a_tick_of_the_files_clock_is_seen(five: Site, tmp_path: Path) -> None:
    """Seen as an acknowledged file that was gone: its number had been given again."""
    lock = tmp_path / "home" / "files" / "lock"
    with files_of(five, tmp_path / "home") as one, files_of(five, tmp_path / "home") as two:
        for number in range(5):
            one.put(b"1", f"one{number}")
            at_ns = lock.stat().st_mtime_ns
            two.put(b"2", f"two{number}")
            os.utime(lock, ns=(at_ns, at_ns))
        names = {f"{who}{number}" for who in ("one", "two") for number in range(5)}
        assert {each.name for each in one.list()} == names == {each.name for each in two.list()}


def test_what_another_program_kept_without_the_store_here_is_looked_for_elsewhere(five: Site, tmp_path: Path) -> None:
    without = Site.there(five.folder, len(five.depots))
    without.depots[0].elsewhere = False
    with files_of(five, tmp_path / "home") as one, files_of(without, tmp_path / "home") as two:
        one.put(b"1", "one")
        two.put(b"2", "two")
        assert one.read("two") == b"2"
        one.put(b"3", "three")
        assert {each.name for each in one.list()} == {"one", "two", "three"}
