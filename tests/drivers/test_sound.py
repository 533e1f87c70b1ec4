from __future__ import annotations

import pytest

from worldos.drivers.sound import driver
from worldos.errors import BadRequest


def test_cards_say_whether_they_record_and_play(captured):
    cards = {card.local: card for card in driver.scan(captured("laptop"))}
    assert cards["PCH"].facts == {"capture": True, "playback": True}
    assert cards["Webcam"].facts == {"capture": True, "playback": False}
    assert cards["Webcam"].name == "Integrated_Webcam_HD"
    assert not cards["PCH"].leasable


def test_a_board_plays_only(captured):
    [card] = driver.scan(captured("board"))
    assert card.tags == ("playback",)


def test_a_machine_without_sound_has_none(captured, leased):
    machine = captured("vm")
    assert driver.scan(machine) == []
    machine.write("/proc/asound/cards", "--- no soundcards ---\n")
    assert driver.scan(machine) == []
    with pytest.raises(BadRequest):
        driver.lane(machine, leased("PCH", "Sound", 1))
