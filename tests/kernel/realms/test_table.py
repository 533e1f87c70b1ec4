"""The table: it is woken when something is due, and a site without a realm above it looks no further."""

from __future__ import annotations

from tests.kernel.realms.village import Village

from worldos.model.limits import NEVER_NS


def test_it_names_a_moment_and_nothing_is_late() -> None:
    village = Village(home=2)
    for _ in range(40):
        village.run(0.1)
        for node in village.nodes.values():
            assert village.now_ns < node.realms.due_ns < NEVER_NS


def test_without_a_superior_nobody_is_asked() -> None:
    village = Village(home=1)
    village.run(2)
    assert not village.nodes["home0"].realms.looks_further
