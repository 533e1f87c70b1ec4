"""The writer: what is acknowledged is synced and indexed; a failed write costs its own group, not the store."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from worldos.depot import packs as packs_module
from worldos.depot.block_store import BlockStore
from worldos.depot.writer import Ticket
from worldos.errors import DiskFull, Unreachable

ROOT = Path(__file__).parent.parent.parent


def name(number: int) -> bytes:
    return number.to_bytes(32, "big")


def opened(folder: Path) -> BlockStore:
    return BlockStore(folder, capacity_bytes=1 << 34)


def test_a_ticket_is_done_with_its_last_frame_or_its_first_error() -> None:
    assert Ticket(0).done.done()
    ticket = Ticket(2)
    ticket.one_done()
    assert not ticket.done.done()
    ticket.one_done()
    assert ticket.done.result() is None
    ticket = Ticket(2)
    ticket.fail(DiskFull())
    ticket.fail(Unreachable())
    ticket.one_done()
    ticket.one_done()
    assert isinstance(ticket.done.exception(), DiskFull)


def test_what_waits_while_the_disk_syncs_goes_with_the_next_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = []
    holding, go_on = threading.Event(), threading.Event()

    def slow(descriptor: int) -> None:
        syncs.append(descriptor)
        holding.set()
        assert go_on.wait(20)
        os.fdatasync(descriptor)

    with opened(tmp_path) as store:
        monkeypatch.setattr(packs_module, "_sync", slow)
        first = store.put_soon(name(0), b"x")
        assert holding.wait(20)
        others = [store.put_soon(name(number), b"x") for number in range(1, 200)]
        assert not any(future.done() for future in [first, *others])
        assert store.have([name(0)]) == [-1]
        go_on.set()
        for future in [first, *others]:
            future.result(60)
        assert len(syncs) == 2
        assert store.have([name(number) for number in range(200)]) == [1] * 200


def test_a_sync_that_fails_is_said_and_nothing_of_its_group_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: int) -> None:
        raise OSError(errno.EIO, "the disk does not answer")

    with opened(tmp_path) as store:
        store.put(name(1), b"before")
        with monkeypatch.context() as broken:
            broken.setattr(packs_module, "_sync", failing)
            with pytest.raises(DiskFull):
                store.put(name(2), b"lost")
        assert store.have([name(1), name(2)]) == [6, -1]
        store.put(name(2), b"again")  # in a new pack: what the disk holds of the old one is unknown
        assert store.get(name(2)) == b"again"
        assert len(list((tmp_path / "packs").iterdir())) == 2
    with opened(tmp_path) as store:
        assert [bytes(store.get(name(number))) for number in (1, 2)] == [b"before", b"again"]


def test_a_closed_depot_takes_nothing_more(tmp_path: Path) -> None:
    store = opened(tmp_path)
    waiting = [store.put_soon(name(number), bytes(10_000)) for number in range(50)]
    store.close()
    assert all(future.result(0) is None for future in waiting)
    with pytest.raises(Unreachable):
        store._writer.submit([])


def test_a_full_disk_is_said_clearly_and_a_drop_makes_room() -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root can mount a small disk")
    program = ["unshare", "-m", "--propagation", "private", sys.executable, "-m", "tests.depot.full_disk"]
    done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=ROOT, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
