"""Needs: how many workers stand behind one."""

from __future__ import annotations

import pytest

from worldos.model.need import Need, workers_of


@pytest.mark.parametrize(
    ("need", "workers"),
    [
        (Need(kind="CPU", amount=2000), 2),
        (Need(kind="CPU", amount=2999), 2),
        (Need(kind="CPU", amount=500), 1),
        (Need(kind="GPU", amount=3000), 3),
        (Need(kind="CPU", amount=4000, workers=1), 1),
        (Need(kind="Memory", amount=2_000_000_000), 1),
        (Need(kind="Storage", amount=1, workers=5), 1),
    ],
)
def test_there_is_one_worker_for_each_whole_core_and_one_for_what_is_no_core(need: Need, workers: int) -> None:
    assert workers_of(need) == workers
