"""How things stand is what the stores answer now."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from tests.files.depots import Site, files_of

from worldos.files.caring import STANDING, Ailing, CareTold
from worldos.home import Home
from worldos.store import keys

MIB = 1 << 20


def test_a_lost_store_is_seen_as_a_debt_and_one_loss_less(five: Site, tmp_path: Path) -> None:
    with files_of(five, tmp_path / "home") as files:
        files.put(os.urandom(MIB), "big")
        before = files.status("big")[0]
    assert (before.devices, before.survives, before.debt) == (5, 3, 0)
    five.depots[4].end()
    with files_of(five, tmp_path / "home") as files:
        after = files.status("big")[0]
        assert (after.devices, after.survives) == (4, 2)
        assert after.debt > 0
        assert after.below_policy
        assert "machine 4" not in after.nodes
        rows = {row.name: row.linked for row in files.storage().stores}
        assert rows["machine 4"] is False
        assert sum(rows.values()) == 4


def test_what_is_in_the_directory_itself_is_on_every_device(five: Site, tmp_path: Path) -> None:
    with files_of(five, tmp_path / "home") as files:
        files.put(b"small", "small")
        standing = files.status("small")[0]
        assert (standing.code, standing.survives) == ("1-of-5", 4)


def test_what_lies_in_one_pack_is_counted_once(five: Site, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(10):
        (source / f"n{number}").write_bytes(os.urandom(20_000))
    with files_of(five, tmp_path / "home") as files:
        files.put(source, "packed")
        usage = files.usage("packed")
        assert (usage.files, usage.folders, usage.plain_bytes) == (10, 0, 200_000)
        assert usage.stored_bytes < 4 * usage.plain_bytes
        assert len({tuple(each.nodes) for each in files.status("packed")}) == 1
        assert sum(files.data_at("packed").values()) == usage.stored_bytes
        assert set(files.data_at("packed")) == {depot.node for depot in five.depots}


def test_a_link_takes_nothing_and_an_empty_account_neither(five: Site, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "link").symlink_to("elsewhere")
    with files_of(five, tmp_path / "home") as files:
        assert files.usage().files == 0
        assert files.status() == []
        files.put(source, "folder")
        assert files.status() == []
        assert files.usage().stored_bytes == 0


def test_what_the_carer_mends_is_said(five: Site, tmp_path: Path) -> None:
    with files_of(five, tmp_path / "home") as files:
        files.put(os.urandom(MIB), "big")
        files.put(os.urandom(MIB), "other")
        locator = keys.locator_of(keys.verify_of(keys.read_of(files.ref("big").write)))
        ailing = Ailing(locator=locator, k=2, n=5, missing=1, asleep=0, survives=2, repairing=True)
        told = CareTold(files=2, ailing=(ailing,), repaired=0, lost=(), passes=1)
        place = Home(tmp_path / "home").depot_folder / STANDING
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(msgspec.msgpack.encode(told))
        assert {each.name: each.repairing for each in files.status()} == {"big": True, "other": False}
