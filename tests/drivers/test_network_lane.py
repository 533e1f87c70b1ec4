from __future__ import annotations

import random
import time

import pytest

from worldos.drivers import network_lane
from worldos.drivers.network_lane import NetworkLane, pieces, send_all
from worldos.errors import BadRequest, OverQuota

MEGABIT = 1_000_000


def test_data_arrives_in_order_and_whole():
    lane = NetworkLane(1000 * MEGABIT)
    data = random.Random(1).randbytes(300_000)
    assert send_all(lane.command, data, 1000 * MEGABIT) == len(data)
    got = b""
    while part := lane.command("receive", 70_001):
        got += part
    assert got == data
    assert lane.command("usage")["waiting_bytes"] == 0


@pytest.mark.parametrize("rate", [2 * MEGABIT, 40 * MEGABIT])
def test_no_more_passes_than_leased_and_nearly_all_of_it(rate):
    lane = NetworkLane(rate)
    lane.activate(keep=False)
    data = bytes(rate // 8 // 4)  # a quarter of a second
    start = time.perf_counter()
    send_all(lane.command, data, rate)
    took_s = time.perf_counter() - start
    assert len(data) * 8 / took_s <= rate
    assert took_s < 0.25 * 8, "a busy machine may be late, never early"
    assert lane.command("usage")["mean_bits_s"] <= rate
    assert lane.command("usage")["waiting_bytes"] == 0


def test_what_nobody_receives_is_bounded(monkeypatch):
    monkeypatch.setattr(network_lane, "WAITING_BYTES_MAX", 10)
    lane = NetworkLane(1000 * MEGABIT)
    lane.command("send", b"12345678")
    with pytest.raises(OverQuota, match="8 bytes wait"):
        lane.command("send", b"abc")
    assert lane.command("receive", 5) == b"12345"
    lane.command("send", b"abc")
    assert lane.command("receive", 10) == b"678abc"
    lane.command("send", b"left")
    lane.rest()
    assert lane.command("receive", 10) == b""


@pytest.mark.parametrize(
    ("rate", "name", "args"),
    [
        (1000 * MEGABIT, "send", (bytes(network_lane.PIECE_BYTES_MAX + 1),)),
        (8, "send", (bytes(31),)),
        (8, "send", ("text",)),
        (8, "receive", (-1,)),
        (8, "receive", (network_lane.WAITING_BYTES_MAX + 1,)),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(rate, name, args):
    lane, start = NetworkLane(rate), time.perf_counter()
    with pytest.raises(BadRequest):
        lane.command(name, *args)
    assert time.perf_counter() - start < 1


def test_settings_are_checked():
    lane = NetworkLane(8)
    with pytest.raises(BadRequest):
        lane.activate(keep="no")
    with pytest.raises(BadRequest):
        lane.activate(speed=5)
    with pytest.raises(BadRequest):
        NetworkLane(0)


@pytest.mark.parametrize("rate", [1, 1000, MEGABIT, 10**12])
def test_pieces_are_the_data_and_each_passes_soon(rate):
    data = bytes(range(256)) * 40
    cut = list(pieces(data, rate))
    assert b"".join(cut) == data
    assert all(len(piece) * 8 <= max(8, rate * 0.05) for piece in cut)
