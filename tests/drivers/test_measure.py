from __future__ import annotations

import time

from worldos.drivers import measure


def test_speed_takes_the_time_it_was_given_and_repeats_itself():
    start = time.perf_counter()
    speeds = [measure.measure_speed(0.03) for _ in range(3)]
    assert time.perf_counter() - start < 3 * 0.03 + 2
    assert min(speeds) > 0
    assert max(speeds) < 5 * min(speeds)


def test_no_time_still_gives_a_speed():
    assert measure.measure_speed(0) > 0


def test_a_disk_has_a_speed_and_is_left_as_it_was(tmp_path):
    speed = measure.measure_disk(str(tmp_path))
    assert speed is not None
    assert speed.write_bytes_s > 0
    assert speed.sync_us > 0
    assert list(tmp_path.iterdir()) == []


def test_a_disk_with_little_room_is_not_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "DISK_FREE_BYTES_MIN", 1 << 62)
    assert measure.measure_disk(str(tmp_path)) is None
