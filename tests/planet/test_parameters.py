"""Parameters as a file."""

from __future__ import annotations

from worldos.planet import parameters


def test_the_machine_is_named_by_its_kind_only() -> None:
    kept = parameters.load()
    assert "core" in kept.machine
    assert all(ns >= 0 for ns in kept.cpu_ns.values())
