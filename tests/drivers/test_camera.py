from __future__ import annotations

import pytest

from worldos.drivers.camera import driver
from worldos.errors import BadRequest


def test_a_laptops_camera_is_one_and_named_by_its_port(captured):
    [camera] = driver.scan(captured("laptop"))
    assert camera.local == "1-5:1.0"
    assert camera.name == "Integrated_Webcam_HD: Integrate"
    assert camera.facts == {"device": "/dev/video0"}
    assert not camera.leasable


def test_codecs_and_image_processors_of_a_board_are_no_cameras(captured):
    assert [camera.name for camera in driver.scan(captured("board"))] == ["unicam-image"]


def test_a_machine_without_cameras_has_none(captured, leased):
    machine = captured("vm")
    assert driver.scan(machine) == []
    with pytest.raises(BadRequest):
        driver.lane(machine, leased("video0", "Camera", 1))
