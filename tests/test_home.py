"""Where a home lies, and that everything in it has one place."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from worldos.errors import BadRequest
from worldos.home import SOCKET_PATH_BYTES_MAX, Home, default_home


def test_the_home_is_the_one_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLDOS_HOME", str(tmp_path))
    assert default_home() == Home(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLDOS_HOME", "here")
    assert default_home().path == tmp_path / "here"


@pytest.mark.skipif(sys.platform == "darwin", reason="the data folder of Linux")
def test_without_a_name_it_is_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLDOS_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_home().path == tmp_path / "worldos"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_home().path == tmp_path / ".local" / "share" / "worldos"


def test_each_thing_has_a_place_of_its_own() -> None:
    home = Home(Path("/h"))
    places = [home.config_file, home.key_file, home.keylog_file, home.state_file, home.journal_folder]
    places += [home.lock_file, home.log_file, home.socket_file]
    assert len(set(places)) == len(places)
    assert all(place.is_relative_to("/h") for place in places)


def test_a_long_path_gets_a_short_folder_for_its_sockets() -> None:
    long = Home(Path("/h" * SOCKET_PATH_BYTES_MAX))
    assert len(os.fsencode(long.socket_file)) <= SOCKET_PATH_BYTES_MAX
    assert long.socket_file == Home(long.path).socket_file
    assert long.socket_file != Home(long.path / "other").socket_file


def test_a_user_without_a_home_folder_is_told_to_name_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLDOS_HOME", "~nobody-of-this-name/wos")
    with pytest.raises(BadRequest, match="no home folder") as caught:
        default_home()
    assert "WORLDOS_HOME" in caught.value.hint
