"""Notices outlive the agent, are bounded, and a damaged line costs only itself."""

from __future__ import annotations

from pathlib import Path

from worldos.agent import notices
from worldos.agent.notices import FILE_NAME, Notices, read
from worldos.kernel.effects import Notice


def happened(number: int) -> Notice:
    return Notice(name="lease", fields={"number": number})


def test_the_next_life_knows_what_the_last_one_saw(tmp_path: Path) -> None:
    first = Notices(tmp_path)
    for number in range(3):
        first.add(number, happened(number))
    first.close()
    second = Notices(tmp_path)
    second.add(3, happened(3))
    assert [line.fields["number"] for line in second.last(10)] == [0, 1, 2, 3]
    assert [line.at_ns for line in read(tmp_path, 2)] == [2, 3]


def test_a_node_without_a_home_keeps_them_in_memory() -> None:
    kept = Notices(None)
    kept.add(1, happened(1))
    assert [line.name for line in kept.last(5)] == ["lease"]


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b'{"at_ns":1,"name":"a"}\n\xff\xfe\n{"at_ns":2,"na')
    kept = Notices(tmp_path)
    kept.add(3, Notice(name="c", fields={}))
    assert [line.name for line in read(tmp_path, 10)] == ["a", "c"]


def test_the_file_is_bounded_and_the_older_half_stays_a_while(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(notices, "FILE_BYTES_MAX", 2000)
    kept = Notices(tmp_path)
    for number in range(500):
        kept.add(number, happened(number))
    sizes = [file.stat().st_size for file in tmp_path.iterdir()]
    assert len(sizes) <= 2
    assert sum(sizes) < 2 * 2000 + 200
    numbers = [line.at_ns for line in read(tmp_path, 1000)]
    assert numbers == list(range(numbers[0], 500))


def test_a_home_that_cannot_be_written_loses_nothing_in_memory(tmp_path: Path) -> None:
    kept = Notices(tmp_path / "gone")
    kept.add(1, happened(1))
    assert len(kept.last(1)) == 1
    assert read(tmp_path / "gone", 5) == []
