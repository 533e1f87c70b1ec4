"""What jobs keep in the realm's files, with a real agent's files."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent

from worldos.errors import NotThere
from worldos.jobs.shelf import FOLDER, Shelf, parcel_path
from worldos.model.need import Need
from worldos.model.work import JobSpec

NEED = Need(kind="CPU", amount=1000)


def test_a_file_is_kept_fetched_once_and_dropped(agent: RunningAgent, tmp_path: Path) -> None:
    shelf = Shelf(agent.home, tmp_path)
    try:
        shelf.put(b"parcel" * 1000, parcel_path("abcd1"))
        spec = JobSpec(argv=("true",), need=NEED, parcel_file=parcel_path("abcd1"))
        assert "abcd1" in shelf.jobs()
        for _ in range(2):
            parcel = shelf.parcel("abcd1", spec)
            assert parcel is not None
            assert b"".join(parcel) == b"parcel" * 1000
        assert (tmp_path / "abcd1.parcel").exists()
        shelf.forget("abcd1")
        assert list(tmp_path.iterdir()) == []
        assert b"".join(shelf.pieces(parcel_path("abcd1"))) == b"parcel" * 1000
        shelf.remove(f"/{FOLDER}/abcd1")
        shelf.remove(f"/{FOLDER}/abcd1")
        with pytest.raises(NotThere):
            list(shelf.pieces(parcel_path("abcd1")))
    finally:
        shelf.close()


def test_what_nobody_knows_any_more_is_swept_out(agent: RunningAgent, tmp_path: Path) -> None:
    shelf = Shelf(agent.home, tmp_path)
    try:
        for job in ("known1", "gone01"):
            shelf.put(b"x", parcel_path(job))
        assert shelf.sweep(lambda job: job == "known1", before_ns=0) == [], "it may be about to be submitted"
        found = shelf.sweep(lambda job: job != "gone01", before_ns=time.time_ns() + 10**9)
        assert found == ["gone01"]
        assert "known1" in shelf.jobs()
    finally:
        shelf.close()


def test_what_travels_in_the_job_needs_no_files(tmp_path: Path) -> None:
    from worldos.home import Home  # noqa: PLC0415

    shelf = Shelf(Home(tmp_path / "nobody"), tmp_path)
    parcel = shelf.parcel("abcd2", JobSpec(argv=("true",), need=NEED, parcel=b"small"))
    assert parcel is not None
    assert list(parcel) == [b"small"]
    assert shelf.parcel("abcd2", JobSpec(argv=("true",), need=NEED)) is None
