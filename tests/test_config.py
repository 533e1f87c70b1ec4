"""The choices of a node: written as TOML, read back the same, and named where they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.config import Settings, parse_listen, read_settings, write_settings
from worldos.errors import BadRequest, DiskFull, NotAllowed
from worldos.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_without_a_file_the_defaults_hold(home: Home) -> None:
    assert read_settings(home) == Settings()


text = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20)


@given(
    settings=st.builds(
        Settings,
        name=text,
        place=text,
        relay=st.booleans(),
        not_on_battery=st.booleans(),
        prices_uwos=st.dictionaries(text, st.integers(0, 2**40), max_size=3),
    )
)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> None:
    home = Home(tmp_path_factory.mktemp("home", numbered=True))
    write_settings(home, settings)
    assert read_settings(home) == settings
    assert home.config_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"name = ", "is not TOML"),
        (b"\xff\xfe\x00", "is not text"),
        (b"nmae = 'desk'", "nmae"),
        (b"relay = 'all'", "relay"),
        (b"name = 3", "name"),
    ],
)
def test_a_wrong_choice_is_named_and_the_file_stays(home: Home, data: bytes, said: str) -> None:
    home.config_file.write_bytes(data)
    with pytest.raises(BadRequest, match=said) as caught:
        read_settings(home)
    assert "mend or delete" in caught.value.hint
    assert home.config_file.read_bytes() == data


def test_a_file_that_cannot_be_read_or_written_is_named(home: Home) -> None:
    home.config_file.mkdir()
    with pytest.raises(NotAllowed, match=r"config\.toml cannot be read"):
        read_settings(home)
    with pytest.raises(DiskFull, match=r"config\.toml cannot be written"):
        write_settings(home, Settings(name="desk"))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("7370", ("", 7370)),
        ("0.0.0.0:7370", ("", 7370)),
        ("[::]:7370", ("", 7370)),
        ("desk.lan:0", ("desk.lan", 0)),
    ],
)
def test_an_address_to_listen_at_is_read(text: str, address: tuple[str, int]) -> None:
    assert parse_listen(text) == address


@pytest.mark.parametrize(
    "text", ["", ":", "host", ":7370", "host:", "host:70000", "host:-1", "host:7x", "host:²", "[::]"]
)
def test_what_is_no_address_is_refused_with_how_to_write_it(text: str) -> None:
    with pytest.raises(BadRequest, match="not an address") as caught:
        parse_listen(text)
    assert "7370" in caught.value.hint
