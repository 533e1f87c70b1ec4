from __future__ import annotations

import sys
from importlib import metadata

import pytest

from worldos.drivers.installed import EntryPoint, entry_points


@pytest.mark.parametrize("group", ["worldos.drivers", "console_scripts", "pytest11", "hypothesis", "no such group"])
def test_it_finds_what_importlib_finds(group):
    ours = {(point.name, point.value) for point in entry_points(group)}
    assert ours == {(point.name, point.value) for point in metadata.entry_points(group=group)}


def test_something_is_found_at_all():
    assert len(entry_points("worldos.drivers")) >= 9


def package(folder, name, text):
    info = folder / name
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.partition('-')[0]}\nVersion: 1\n")
    info.joinpath("entry_points.txt").write_bytes(text if isinstance(text, bytes) else text.encode())


def test_comments_sections_and_blanks_are_read_as_importlib_reads_them(tmp_path, monkeypatch):
    package(
        tmp_path,
        "kettle-1.0.dist-info",
        "# a comment\n\n[other]\nx = y:z\n[ drivers ]\n\n[drivers]\n a  =  b.c : d \nflat = module\n[end]\nq = r:s\n",
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    expected = [(point.name, point.value) for point in metadata.entry_points(group="drivers")]
    assert sorted(entry_points("drivers")) == sorted(EntryPoint(*pair) for pair in expected)


def test_of_two_versions_the_first_on_the_path_counts(tmp_path, monkeypatch):
    package(tmp_path / "one", "my_kettle-2.dist-info", "[drivers]\na = new:driver\n")
    package(tmp_path / "two", "My.Kettle-1.dist-info", "[drivers]\na = old:driver\nb = old:other\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "absent"), str(tmp_path / "one"), str(tmp_path / "two")])
    assert entry_points("drivers") == [EntryPoint("a", "new:driver")]


def test_metadata_that_is_no_text_is_passed_over(tmp_path, monkeypatch):
    package(tmp_path, "bad-1.dist-info", b"[drivers]\n\xff = x:y\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert entry_points("drivers") == []


def test_an_entry_point_leads_to_its_object():
    assert EntryPoint("x", "worldos.drivers.installed:EntryPoint.load").load() is EntryPoint.load
    assert EntryPoint("x", "worldos.drivers.installed").load().EntryPoint is EntryPoint
    assert EntryPoint("x", "worldos.drivers.installed:EntryPoint [extra]").load() is EntryPoint
    with pytest.raises(AttributeError):
        EntryPoint("x", "worldos.drivers.installed:absent").load()
