"""A lease of an actuator goes through the same door as a guarded command."""

from __future__ import annotations

from pathlib import Path

import pytest

from worldos.drivers.lane_object import SixVerbs
from worldos.drivers.setpoint import FOLDER, write_envelope
from worldos.drivers.setpoint_lane import SetpointLane
from worldos.errors import BadRequest, NotAllowed
from worldos.kernel.guard.envelope import Limit


@pytest.fixture
def lane(tmp_path: Path) -> SetpointLane:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "heating.toml").write_text('name = "heating"\nstart_milli = 18000\n')
    write_envelope(str(tmp_path), (Limit(path=(FOLDER, "heating"), min_milli=5000, max_milli=24_000),))
    return SetpointLane(str(tmp_path), "heating")


def test_it_is_set_and_read(lane: SetpointLane) -> None:
    assert isinstance(lane, SixVerbs)
    assert lane.command("at") == 18_000
    assert lane.command("set", 20_000) == 20_000


def test_who_leases_it_does_not_get_it_out_of_the_envelope(lane: SetpointLane) -> None:
    with pytest.raises(NotAllowed):
        lane.command("set", 25_000)
    assert lane.command("at") == 18_000


@pytest.mark.parametrize("arguments", [("set",), ("set", "20000"), ("set", 2.5), ("set", True), ("open", 1)])
def test_what_is_no_command_is_refused(lane: SetpointLane, arguments: tuple[object, ...]) -> None:
    with pytest.raises(BadRequest):
        lane.command(*arguments)
