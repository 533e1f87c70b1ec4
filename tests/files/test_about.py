"""What people are told."""

from __future__ import annotations

from worldos.files.about import Standing


def test_a_code_reads_as_people_say_it() -> None:
    assert Standing(name="x", k=3, n=6, devices=6, survives=3).code == "3-of-6"
