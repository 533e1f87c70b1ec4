"""A person asks the keeper for a scrub, a repair, to give a device up: through the files that they share."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from tests.files.carers import Carer, carers
from tests.files.depots import files_of, site
from tests.files.test_caring import whole, wipe

from worldos.errors import NoAgent
from worldos.files.attending import Attending, ask_keeper, care_standing, scrub_now
from worldos.files.caring import CareTold
from worldos.home import Home


@contextmanager
def attended(carer: Carer) -> Iterator[Path]:
    """Let the keeper's loop run in a thread, as in its process."""
    loop = Attending(carer.depot.folder, carer.watch, carer.caring, carer.scrubbing)
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            loop.step(carer.now_ns)
            ended.wait(0.01)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield carer.depot.folder
    finally:
        ended.set()
        thread.join()


def answering(carer: Carer) -> int:
    """Count the stores that answer it now; links that broke are opened anew."""
    carer.look_anew()
    return len(carer.watch.reachable())


def test_a_repair_that_is_asked_for_is_done_at_once_and_said(tmp_path: Path) -> None:
    with site(7) as seven, files_of(seven, tmp_path / "home") as files, carers(seven) as made:
        files.put(os.urandom(200_000), "file")
        made[0].until(lambda: whole(files))
        wipe(seven.depots[3])
        wipe(seven.depots[4])
        made[0].until(lambda: answering(made[0]) == 7)
        with attended(made[0]) as folder:
            told = ask_keeper(folder, "repair", None)
        assert (told.looked, told.missing) == (1, 0)
        made[0].until(lambda: whole(files))


def test_a_scrub_that_is_asked_for_reads_all_that_lies_here(tmp_path: Path) -> None:
    with site(5) as five, files_of(five, tmp_path / "home") as files, carers(five) as made:
        files.put(os.urandom(200_000), "file")
        with attended(made[0]) as folder:
            told = ask_keeper(folder, "scrub", lambda at, of: None)
        assert told.checked > 0
        assert told.bad == 0


def test_what_the_carer_found_can_be_read_and_what_sleeps_is_not_missing(tmp_path: Path) -> None:
    with site(5) as five, files_of(five, tmp_path / "home") as files, carers(five) as made:
        files.put(os.urandom(200_000), "file")
        made[0].until(lambda: whole(files))
        made[0].run_pass()
        five.depots[2].end()
        for _ in range(3):
            made[0].step(60)
        told = msgspec.msgpack.decode((five.depots[0].folder / "standing").read_bytes(), type=CareTold)
        assert told.files == 1
        assert [(each.missing, each.asleep > 0, each.survives) for each in told.ailing] == [(0, True, 3)]
    assert care_standing(Home(tmp_path / "nowhere")) is None


def test_garbage_in_the_folder_is_no_request(tmp_path: Path) -> None:
    with site(1) as one, carers(one) as made:
        (one.depots[0].folder / "asked").write_bytes(b"\xc1 garbage")
        loop = Attending(one.depots[0].folder, made[0].watch, made[0].caring, made[0].scrubbing)
        assert loop.step(made[0].now_ns) > made[0].now_ns


def test_without_an_agent_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoAgent):
        scrub_now(Home(tmp_path))
    with pytest.raises(NoAgent):
        ask_keeper(tmp_path / "nothing", "repair", None)
