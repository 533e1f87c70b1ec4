"""Actuators: one door, and behind it the owner's envelope."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

import pytest

from worldos.drivers.driver import Driver, Leased
from worldos.drivers.machine import Machine
from worldos.drivers.setpoint import (
    FOLDER,
    LANE,
    SetpointDriver,
    drive,
    names,
    read_about,
    read_envelope,
    where,
    write_envelope,
)
from worldos.errors import BadRequest, CorruptFile, NotAllowed
from worldos.kernel.guard.envelope import Limit
from worldos.model.ids import LeaseId
from worldos.model.need import Need
from worldos.model.rights import ACTUATOR

LIMIT = Limit(path=(FOLDER, "heating"), min_milli=5000, max_milli=24_000)


@pytest.fixture
def home(tmp_path: Path) -> str:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "heating.toml").write_text('name = "heating, hall"\nunit = "C"\nstart_milli = 18000\n')
    write_envelope(str(tmp_path), (LIMIT,))
    return str(tmp_path)


def at(home: str) -> int:
    return where(home, "heating", read_about(home, "heating")).value_milli


def test_it_is_at_its_start_before_it_was_ever_set(home: str) -> None:
    assert at(home) == 18_000


def test_within_the_envelope_it_goes_where_it_is_put(home: str) -> None:
    drive(home, "heating", "set", 21_500)
    assert at(home) == 21_500


@pytest.mark.parametrize("value", [4999, 24_001, 10**12, -(10**12)])
def test_outside_the_envelope_it_stays_where_it_is(home: str, value: int) -> None:
    with pytest.raises(NotAllowed, match="owner"):
        drive(home, "heating", "set", value)
    assert at(home) == 18_000


def test_what_no_limit_names_is_not_driven(home: str) -> None:
    (Path(home) / FOLDER / "door.toml").write_text('name = "door"\n')
    with pytest.raises(NotAllowed, match="nobody"):
        drive(home, "door", "set", 0)


def test_another_verb_than_the_owner_named_is_refused(home: str) -> None:
    with pytest.raises(NotAllowed):
        drive(home, "heating", "open", 20_000)


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b"\xff"])
def test_with_a_damaged_envelope_nothing_is_driven(home: str, damage: bytes) -> None:
    (Path(home) / "envelope").write_bytes(damage)
    assert read_envelope(home) == ()
    with pytest.raises(NotAllowed):
        drive(home, "heating", "set", 20_000)


def test_it_goes_no_quicker_than_its_owner_lets_it(home: str) -> None:
    write_envelope(home, (Limit(path=LIMIT.path, min_milli=0, max_milli=24_000, slew_milli_per_s=1),))
    drive(home, "heating", "set", 18_000)
    with pytest.raises(NotAllowed, match="further"):
        drive(home, "heating", "set", 23_000)
    assert at(home) == 18_000


def test_a_program_of_the_owner_drives_the_real_thing_and_one_that_fails_sets_nothing(home: str) -> None:
    about = Path(home) / FOLDER / "heating.toml"
    seen = Path(home) / "seen"
    about.write_text(
        f'name = "h"\nrun = ["{sys.executable}", "-c", "import sys; open(r\'{seen}\', \'w\').write(sys.argv[1])"]\n'
    )
    drive(home, "heating", "set", 20_000)
    assert seen.read_text() == "20000"
    about.write_text('name = "h"\nrun = ["false"]\n')
    with pytest.raises(NotAllowed, match="ended with 1"):
        drive(home, "heating", "set", 21_000)
    assert at(home) == 20_000


@pytest.mark.parametrize("name", ["../heating", "", "HEATING", "a/b", "nothing"])
def test_a_name_that_is_no_actuators_is_refused(home: str, name: str) -> None:
    with pytest.raises(BadRequest):
        drive(home, name, "set", 20_000)


@pytest.mark.parametrize("text", ["", "name = 3", 'name = "a"\nelse = 1', "\x00"])
def test_what_an_owner_wrote_wrongly_is_left_out_of_the_offer_and_named_when_driven(home: str, text: str) -> None:
    (Path(home) / FOLDER / "door.toml").write_text(text)
    assert "door" in names(home)
    assert [found.local for found in SetpointDriver().scan(Machine(folders=[home]))] == ["heating"]
    with pytest.raises(CorruptFile):
        read_about(home, "door")


def test_the_driver_offers_each_as_a_whole_to_its_owner_alone(home: str) -> None:
    driver, machine = SetpointDriver(), Machine(folders=[home])
    assert isinstance(driver, Driver)
    (found,) = driver.scan(machine)
    assert (found.kind, found.local, found.capacity) == (ACTUATOR, "heating", 1)
    assert found.facts == {"at_milli": 18_000, "for": "me"}
    drive(home, "heating", "set", 19_000)
    assert driver.sample(machine).facts["heating"]["at_milli"] == 19_000
    needs = driver.lane(machine, Leased(lease=LeaseId("l"), local="heating", need=Need(kind=ACTUATOR, amount=1)))
    assert (needs.driver, needs.arguments) == (LANE, {"home": str(Path(home).resolve()), "local": "heating"})


def _push(home: str, begin: int) -> None:
    for value in range(begin, begin + 200):
        drive(home, "heating", "set", value)


def test_two_that_drive_at_once_leave_a_whole_value(home: str) -> None:
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_push, args=(home, begin)) for begin in (10_000, 20_000)]
    for other in others:
        other.start()
    for other in others:
        other.join(30)
        assert other.exitcode == 0
    assert at(home) in {10_199, 20_199}
