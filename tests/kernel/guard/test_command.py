"""Commands are exact bytes: one encoding, one id, and everything that bounds them inside."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.guard.fleet import a_command, a_roll

from worldos.errors import PeerBroke
from worldos.kernel.guard.command import (
    Action,
    Command,
    Drain,
    Drive,
    Resume,
    Revoke,
    SetConfig,
    SetPolicy,
    SetRoll,
    Stop,
    Update,
    class_of,
    command_id,
    encode_command,
    haste,
    narrows,
    read_command,
    too_far_ahead,
)
from worldos.kernel.guard.limits import AHEAD_S_MAX, COMMAND_BODY_BYTES_MAX
from worldos.kernel.guard.roll import roll_id
from worldos.kernel.guard.waves import rank
from worldos.model.realm import Level
from worldos.model.rights import Impact

HOME = a_roll(Level.HOME, ["node0", "node1"], ["ada"])
PLANET = a_roll(Level.PLANET, approvers=["ada"], population=1_000_000)
GOLDEN_ID = "bqgjjrqsgawx3oltod7hlj73iincqvprrzv4wkprfnkc3e35unia"
GOLDEN_ROLL_ID = "jo2kjydro5zudo7j2qms2zi5ts6ad2labmqf3kmmhehnc2pu53ca"
GOLDEN_RANK = 17336163469960193231
ACTIONS: list[Action] = [
    SetConfig(key="a", value="b"),
    SetPolicy(key="lend", value="kin"),
    Update(version="1.2", digest=bytes(32), cap="wos1"),
    Drive(path=("acme", "node", "CPU"), verb="set", value_milli=-1),
    Drain(),
    Revoke(who="somebody"),
    Stop(path=("acme",)),
    SetRoll(roll=b"roll"),
    Resume(),
]


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: type(action).__name__)
def test_a_command_is_read_as_it_was_written(action: Action) -> None:
    command = a_command(HOME, action, cls=Impact.IRREVERSIBLE)
    assert read_command(encode_command(command)) == command


@pytest.mark.parametrize("version", ["", "../../x", "-r", "1\n2", "1/2", "x" * 65])
def test_a_version_is_nothing_but_a_part_of_a_files_name(version: str) -> None:
    action = Update(version=version, digest=bytes(32), cap="")
    with pytest.raises(PeerBroke):
        encode_command(a_command(HOME, action, cls=Impact.IRREVERSIBLE))


def test_any_other_byte_is_another_command() -> None:
    ids = {command_id(encode_command(a_command(HOME, note=str(number)))) for number in range(50)}
    assert len(ids) == 50
    assert all(len(each) == 52 for each in ids)


@given(st.binary(max_size=300))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(PeerBroke):
        read_command(data)


@given(st.integers(0, 400), st.integers(1, 255))
def test_bytes_that_were_changed_are_refused_or_another_command(at: int, by: int) -> None:
    body = encode_command(a_command(HOME, note="n" * 60))
    at %= len(body)
    changed = body[:at] + bytes([body[at] ^ by]) + body[at + 1 :]
    try:
        command = read_command(changed)
    except PeerBroke:
        return
    assert encode_command(command) == changed
    assert command_id(changed) != command_id(body)


def test_a_second_encoding_of_the_same_is_refused() -> None:
    body = encode_command(a_command(HOME))
    with pytest.raises(PeerBroke):
        read_command(body + b"\x00")
    longer = body.replace(b"\xa5realm", b"\xd9\x05realm", 1)
    assert longer != body
    assert msgspec.msgpack.decode(longer, type=Command) == read_command(body)
    with pytest.raises(PeerBroke, match="one right encoding"):
        read_command(longer)
    with pytest.raises(PeerBroke, match="at most"):
        read_command(bytes(COMMAND_BODY_BYTES_MAX + 1))


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"waves_ppm": (10, 1000)}, "end with all"),
        ({"waves_ppm": (1000, 10, 1_000_000)}, "waves grow"),
        ({"cls": Impact.READ}, "least class"),
        ({"expires_s": 5, "not_before_s": 5}, "ends after it begins"),
        ({"expires_s": 10**10}, "within"),
        ({"soak_s": 80 * 86400}, "before its last wave"),
        ({"to": ("b", "a"), "blast": 2}, "once, in order"),
        ({"to": ("a", "b"), "blast": 1}, "more nodes than"),
    ],
)
def test_a_command_whose_parts_do_not_fit_is_refused(more: dict[str, object], why: str) -> None:
    with pytest.raises(PeerBroke, match=why):
        encode_command(a_command(HOME, **more))


@pytest.mark.parametrize("label", ["..", ".", "a/b", "", "gr\u0456d", "a\0", " a", "a" * 65])
def test_a_path_has_plain_labels(label: str) -> None:
    with pytest.raises(PeerBroke):
        encode_command(a_command(HOME, Drive(path=("home", label), verb="set"), cls=Impact.PHYSICAL))


def test_whoever_proposes_does_not_choose_how_dangerous_it_is() -> None:
    for action in ACTIONS:
        least = class_of(action)
        assert least >= Impact.REVERSIBLE
        with pytest.raises(PeerBroke):
            encode_command(a_command(HOME, action, cls=Impact(least - 1)))


def test_only_what_takes_away_narrows() -> None:
    assert [type(action) for action in ACTIONS if narrows(action)] == [Drain, Revoke, Stop]


def test_haste_is_what_goes_faster_than_the_level() -> None:
    whole = PLANET
    assert haste(a_command(whole)) == ""
    assert "waves" in haste(a_command(whole, waves_ppm=(1_000_000,)))
    assert "of a million" in haste(a_command(whole, waves_ppm=(10, 1000, 10_000, 500_000, 500_000, 1_000_000)))
    assert "between waves" in haste(a_command(whole, soak_s=60))
    slower = (5, 10, 1000, 10_000, 100_000, 500_000, 1_000_000)
    assert haste(a_command(whole, waves_ppm=slower, soak_s=5 * 86400)) == ""


def test_what_is_planned_for_next_year_is_too_far_ahead() -> None:
    command = a_command(HOME)
    assert not too_far_ahead(command, command.not_before_s - AHEAD_S_MAX)
    assert too_far_ahead(command, command.not_before_s - AHEAD_S_MAX - 1)


def test_the_bytes_of_a_command_stay_what_they_are() -> None:
    """Approvals are over these bytes: a change of them is a new version of the format."""
    command = a_command(HOME, Drive(path=("home", "heater"), verb="set", value_milli=-5), cls=Impact.PHYSICAL)
    body = encode_command(command)
    assert command_id(body) == GOLDEN_ID
    assert msgspec.msgpack.decode(body)[5] == ["drive", ["home", "heater"], "set", -5]
    assert roll_id(HOME) == GOLDEN_ROLL_ID
    assert rank(GOLDEN_ID, bytes(32), "node") == GOLDEN_RANK
