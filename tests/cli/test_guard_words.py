"""What people type for guarded commands."""

from pathlib import Path

import pytest

from worldos.cli.guard_words import action_of, after, appliers, milli, percent, person, waves_of
from worldos.errors import BadRequest

DIGEST = "ab" * 32


def read(file: Path) -> bytes:
    return f"roll of {file}".encode()


@pytest.mark.parametrize(
    ("words", "action"),
    [
        ("config relay false", ["config", "relay", "false"]),
        ("policy lend kin", ["policy", "lend", "kin"]),
        ("drive heating 21.5", ["drive", ["actuators", "heating"], "set", 21_500]),
        ("drive grid/breaker -1", ["drive", ["grid", "breaker"], "set", -1000]),
        (f"update 9.1 {DIGEST} wos1code", ["update", "9.1", bytes.fromhex(DIGEST), "wos1code"]),
        ("drain", ["drain"]),
        ("stop acme/office", ["stop", ["acme", "office"]]),
        ("revoke carl", ["revoke", "carl"]),
        ("roll file", ["roll", b"roll of file"]),
        ("resume", ["resume"]),
    ],
)
def test_each_command_is_written_as_its_help_says(words: str, action: list[object]) -> None:
    assert action_of(words.split(), read) == action


@pytest.mark.parametrize("words", ["explode", "config relay", "drain now", "drive heating", "drive heating warm"])
def test_what_is_written_otherwise_is_refused_with_a_hint(words: str) -> None:
    with pytest.raises(BadRequest) as refused:
        action_of(words.split(), read)
    assert refused.value.hint


@pytest.mark.parametrize("digest", ["", "ab", "zz" * 32, "ab" * 33])
def test_a_digest_that_is_none_is_refused(digest: str) -> None:
    with pytest.raises(BadRequest):
        action_of(["update", "9", digest, "code"], read)


def test_a_person_is_a_machine_its_owner_and_perhaps_an_institution() -> None:
    assert person("desk=anna", "") == {"who": "desk", "owner": "anna", "institution": "", "human": False}
    assert person("desk=anna/acme!", "") == {"who": "desk", "owner": "anna", "institution": "acme", "human": True}
    for text in ("desk", "=anna", "desk=", "", "desk=/acme"):
        with pytest.raises(BadRequest):
            person(text, "MACHINE=OWNER")


def test_waves_are_parts_of_all() -> None:
    assert waves_of("10%, 50%,100%") == [100_000, 500_000, 1_000_000]
    assert waves_of("0.01,100") == [100, 1_000_000]
    assert waves_of("") == []
    for text in ("many", "101%", "-1", "nan"):
        with pytest.raises(BadRequest):
            waves_of(text)
    assert percent(100) == "0.01 %"


@pytest.mark.parametrize(("text", "value"), [("21.5", 21_500), ("-0.001", -1), ("0", 0), ("1e3", 1_000_000)])
def test_an_amount_is_whole_thousandths(text: str, value: int) -> None:
    assert milli(text) == value


@pytest.mark.parametrize("text", ["", "warm", "0.0001", "nan", "inf", "1,5"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        milli(text)


def test_times_are_seconds_and_how_to_install_is_said() -> None:
    assert after("10m") == 600
    assert any("/x/worldos.whl" in line for line in appliers("/x/worldos.whl"))
