"""The directory over its logs: nothing that was acknowledged goes, whoever dies when."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.files.depots import Site, all_there, files_of, site

from worldos.errors import BadRequest, Unreachable, WorldError
from worldos.files import logs

ROOT = Path(__file__).parents[2]
KILLED = """
import sys
from pathlib import Path
from tests.files.depots import Site, files_of
site = Site.there(Path(sys.argv[1]), int(sys.argv[2]))
with files_of(site, Path(sys.argv[3])) as files:
    number = int(sys.argv[4])
    while True:
        number += 1
        data = b"%d" % number if number % 3 else bytes([number % 256]) * 300_000
        files.put(data, f"n{number}")
        print(number, flush=True)
"""


@pytest.mark.slow
def test_a_writer_that_is_killed_loses_nothing_that_it_was_told_is_kept(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    with site(4, own_process=True) as made:
        for turn in range(4):
            start = str(max(acknowledged, default=0) + 1000 * turn)
            command = [sys.executable, "-c", KILLED, str(made.folder), "4", str(tmp_path / "home"), start]
            writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
            assert writer.stdout is not None
            acknowledged += [int(writer.stdout.readline()) for _ in range(5 + turn)]
            time.sleep(random.Random(turn).random() / 50)  # any moment will do
            writer.kill()
            acknowledged += [int(line) for line in writer.stdout.read().split() if line.strip().isdigit()]
            writer.stdout.close()
            writer.wait()
        with files_of(made, tmp_path / "home") as files, files_of(made, tmp_path / "other", 1) as other:
            other.refresh()
            for number in acknowledged:
                expected = b"%d" % number if number % 3 else bytes([number % 256]) * 300_000
                assert files.read(f"n{number}") == expected
                assert other.read(f"n{number}") == expected
            files.put(b"after", "after")
            other.refresh()
            assert other.read("after") == b"after"


def test_a_lost_home_and_depot_come_back_from_the_others(five: Site, tmp_path: Path) -> None:
    with files_of(five, tmp_path / "home") as files:
        for number in range(10):
            files.put(b"%d" % number, f"n{number}")
    five.depots[0].end()
    with files_of(five, tmp_path / "again") as files:
        assert len(files.list()) == 10
        files.put(b"more", "more")
    with files_of(five, tmp_path / "again") as files:
        assert files.read("more") == b"more"


def test_the_copy_in_the_home_is_only_a_copy(five: Site, tmp_path: Path) -> None:
    with files_of(five, tmp_path / "home") as files:
        files.session.catalog.change_many(
            [(lambda directory, n=n: directory.folder(f"f{n}"), f"f{n}") for n in range(400)]  # type: ignore[misc]
        )
    copy = tmp_path / "home" / "files" / "directory"
    whole = copy.read_bytes()
    for damaged in (whole[:100], whole[:-1] + b"x", b"", os.urandom(1000)):
        copy.write_bytes(damaged)
        with files_of(five, tmp_path / "home") as files:
            assert len(files.list()) == 400


def test_changes_of_many_threads_share_entries(five: Site, tmp_path: Path) -> None:
    with files_of(five, tmp_path / "home") as files:
        before = _last(files)
        threads = [threading.Thread(target=files.put, args=(b"x", f"n{number}")) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(files.list()) == 40
        assert _last(files) - before < 40


def _last(files: object) -> int:
    with files.session.catalog.look() as directory:  # type: ignore[attr-defined]
        return sum(directory.heads().values())


def test_one_wish_that_cannot_be_does_not_hurt_the_others(five: Site, tmp_path: Path) -> None:
    with files_of(five, tmp_path / "home") as files:
        files.put(b"x", "a")
        catalog = files.session.catalog
        with pytest.raises(BadRequest):
            catalog.change_many(
                [
                    (lambda directory: directory.folder("good"), "good"),
                    (lambda directory: directory.folder("a"), "a/b"),
                    (lambda directory: directory.remove("nothing"), "nothing"),
                ]
            )
        assert files.exists("good")


def test_what_left_without_our_store_is_sent_again_first(
    five: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with files_of(five, tmp_path / "home", 0) as files:
        files.put(b"1", "one")
    five.depots[0].end()
    with files_of(five, tmp_path / "home", 0) as files:
        sent = logs.append

        def die_after(*arguments: object, **words: object) -> int:
            sent(*arguments, **words)  # type: ignore[arg-type]
            raise Unreachable("the line broke just then")

        monkeypatch.setattr("worldos.files.logs.append", die_after)
        with pytest.raises(WorldError):
            files.put(b"2", "two")
        assert (tmp_path / "home" / "files" / "unsent").exists()
        monkeypatch.undo()
    five.depots[0].start()
    with files_of(five, tmp_path / "home", 0) as files:
        files.put(b"3", "three")
        assert [each.name for each in files.list()] == ["one", "three", "two"]
    with files_of(five, tmp_path / "other", 1) as other:
        assert [each.name for each in other.list()] == ["one", "three", "two"]


def test_all_stores_stopped_is_an_error_and_not_a_hang(tmp_path: Path) -> None:
    with site(2, own_process=True) as made, files_of(made, tmp_path / "home") as files:
        files.put(b"x", "x")
        for depot in made.depots:
            depot.end(signal.SIGKILL)
        with pytest.raises(Unreachable):
            files.put(b"y", "y")


@pytest.mark.slow
def test_our_own_store_asleep_holds_up_nothing_for_long_and_forks_nothing(tmp_path: Path) -> None:
    with site(3, own_process=True) as made:
        with files_of(made, tmp_path / "home") as files:
            files.put(b"1", "one")
            made.depots[0].tell(signal.SIGSTOP)
            files.put(b"2", "two")
            files.put(b"3", "three")
            made.depots[0].tell(signal.SIGCONT)
            files.put(b"4", "four")
            assert len(files.list()) == 4
        with files_of(made, tmp_path / "other", 1) as other:
            other.refresh()
            assert sorted(each.name for each in other.list()) == ["four", "one", "three", "two"]


def test_an_interruption_while_an_entry_is_sent_forks_nothing(
    five: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with files_of(five, tmp_path / "home") as files:
        files.put(b"1", "one")
        sent = logs.append

        def interrupted(*arguments: object, **words: object) -> int:
            sent(*arguments, **words)  # type: ignore[arg-type]
            raise KeyboardInterrupt

        monkeypatch.setattr("worldos.files.logs.append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            files.put(b"2", "two")
        monkeypatch.undo()
        files.put(b"3", "three")
        names = [each.name for each in files.list()]
        assert names == ["one", "three", "two"]
    with files_of(five, tmp_path / "other", 1) as other:
        assert [each.name for each in other.list()] == names


def test_what_no_store_took_is_not_done_later_behind_ones_back(five: Site, tmp_path: Path) -> None:
    with files_of(five, tmp_path / "home") as files:
        files.put(b"1", "one")
        for depot in five.depots:
            depot.end()
        files.session.stores.refresh(at_once=True)
        with pytest.raises(Unreachable):
            files.put(b"2", "two")
        for depot in five.depots:
            depot.start()
        all_there(five, files)
        files.put(b"3", "three")
        assert [each.name for each in files.list()] == ["one", "three"]
