"""Settings: what is written reads back, and what a person wrote wrongly is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.config import Settings, parse_listen, read_settings, write_settings
from worldos.errors import BadRequest
from worldos.home import Home

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
choices = st.builds(
    Settings,
    name=words,
    place=words,
    listen=words,
    discover=st.booleans(),
    lend_percent=st.integers(0, 100),
    prices_uwos=st.dictionaries(words, st.integers(0, 2**40), max_size=3),
)


@given(settings=choices)
def test_what_is_written_reads_back(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = Home(tmp_path_factory.mktemp("home"))
    write_settings(home, settings)
    assert read_settings(home) == settings


def test_without_a_file_there_are_the_defaults(tmp_path: Path) -> None:
    assert read_settings(Home(tmp_path)) == Settings()


def test_the_file_is_for_its_owner_alone_and_says_only_what_was_chosen(tmp_path: Path) -> None:
    write_settings(Home(tmp_path), Settings(place="office"))
    file = Home(tmp_path).config_file
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().splitlines()[1:] == ['place = "office"']


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("place = ", "not TOML"),
        ("plaice = 'home'", "plaice"),
        ("lend_percent = 'all'", "lend_percent"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(text: str, named: str, tmp_path: Path) -> None:
    Home(tmp_path).config_file.write_text(text)
    with pytest.raises(BadRequest, match=named):
        read_settings(Home(tmp_path))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    Home(tmp_path).config_file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadRequest, match="not text"):
        read_settings(Home(tmp_path))


@pytest.mark.parametrize(
    ("text", "address"),
    [("0.0.0.0:7370", ("0.0.0.0", 7370)), ("[::1]:80", ("::1", 80)), ("7371", ("0.0.0.0", 7371)), ("pi:0", ("pi", 0))],
)
def test_an_address_to_listen_at_is_read(text: str, address: tuple[str, int]) -> None:
    assert parse_listen(text) == address


@pytest.mark.parametrize("text", ["", "pi", "pi:", ":70000", "pi:http", "pi:-1", ":80", "1.2.3.4:65536"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="not an address"):
        parse_listen(text)
