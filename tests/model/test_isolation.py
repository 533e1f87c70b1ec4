"""Classes of isolation have an order."""

from __future__ import annotations

from worldos.model.isolation import Isolation, stricter


def test_the_stricter_of_two_counts_and_empty_is_the_least() -> None:
    assert stricter("", "") is Isolation.PROCESS
    assert stricter("sandbox", "") is Isolation.SANDBOX
    assert stricter("sandbox", "wasm") is stricter("wasm", "process") is Isolation.WASM
