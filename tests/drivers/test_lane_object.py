from __future__ import annotations

import pytest

from worldos.drivers.lane_object import Bytes, Command, LaneObject, SixVerbs
from worldos.drivers.memory_lane import MemoryLane
from worldos.drivers.network_lane import NetworkLane
from worldos.drivers.storage_lane import StorageLane
from worldos.errors import BadRequest


class Lamp(LaneObject):
    kind = "Lamp"

    def __init__(self):
        super().__init__()
        self.level = 0
        self.looks = 0
        self.commands = {"dim": Command(self.dim, (int,)), "show": Command(lambda: self.level)}
        self.conditions = {"warm": self.warm, "never": lambda: False}

    def dim(self, level):
        self.level = level
        self.emit("dimmed", {"level": level})

    def warm(self):
        self.looks += 1
        return self.looks >= 3

    def secret(self):
        raise AssertionError("nobody can call this")


def test_a_command_of_the_table_is_called_with_its_arguments():
    lamp = Lamp()
    lamp.command("dim", 7)
    assert lamp.command("show") == 7


@pytest.mark.parametrize("name", ["secret", "__init__", "commands", "", 5, None, ["dim"], b"dim"])
def test_nothing_but_the_table_can_be_called(name):
    with pytest.raises(BadRequest, match="no command"):
        Lamp().command(name)


@pytest.mark.parametrize("args", [(), (1, 2), ("1",), (1.0,), (True,), (None,)])
def test_arguments_of_another_number_or_type_are_refused(args):
    with pytest.raises(BadRequest):
        Lamp().command("dim", *args)


def test_events_go_where_the_worker_said():
    lamp, heard = Lamp(), []
    lamp.command("dim", 1)
    lamp.event(lambda topic, payload: heard.append((topic, payload)))
    lamp.command("dim", 2)
    assert heard == [("dimmed", {"level": 2})]


def test_a_wait_ends_when_the_condition_holds_or_the_time_is_over():
    lamp = Lamp()
    assert lamp.wait("warm", 10) is True
    assert lamp.looks == 3
    assert lamp.wait("never", 0.02) is False


@pytest.mark.parametrize(
    ("condition", "timeout_s"), [("bright", 1), (5, 1), ("warm", -1), ("warm", "1"), ("warm", 1e9)]
)
def test_a_wait_that_makes_no_sense_is_refused(condition, timeout_s):
    with pytest.raises(BadRequest):
        Lamp().wait(condition, timeout_s)


def test_settings_and_answers_that_nobody_asked_for_are_refused():
    lamp = Lamp()
    lamp.activate()
    lamp.rest()
    with pytest.raises(BadRequest, match="colour"):
        lamp.activate(colour="red")
    with pytest.raises(BadRequest):
        lamp.respond(1, "yes")


def test_all_our_lane_objects_have_the_six_verbs(tmp_path):
    for lane in (Lamp(), MemoryLane(1), NetworkLane(1), StorageLane(str(tmp_path / "f"), 1)):
        assert isinstance(lane, SixVerbs)


def test_bytes_of_any_form_pass_as_bytes():
    seen = []
    lane = LaneObject()
    lane.commands = {"put": Command(seen.append, (Bytes,))}
    for data in (b"a", bytearray(b"a"), memoryview(b"a")):
        lane.command("put", data)
    with pytest.raises(BadRequest):
        lane.command("put", "a")
    assert len(seen) == 3
