"""A tree out of rows: in order, every row once, whatever the rows say of each other."""

from __future__ import annotations

from tests.tui.realms import EARTH, row

from worldos.tui.branches import cells, forest, lines, state


def drawn(rows: list[dict]) -> list[str]:
    return [guides + row["name"] for guides, row in lines(forest(rows))]


def test_realms_stand_below_their_parents_by_name() -> None:
    assert drawn(EARTH) == [
        "earth",
        "├── acme",
        "│   ├── berlin",
        "│   ├── oslo",
        "│   └── paris",
        "└── beta",
    ]
    assert drawn(EARTH[::-1]) == drawn(EARTH)


def test_a_parent_that_is_not_known_leaves_its_child_at_the_top() -> None:
    assert drawn([row("home", "somewhere"), row("office", "acme"), row("acme", "", 2)]) == [
        "acme",
        "└── office",
        "home",
    ]


def test_realms_that_name_each_other_are_drawn_once() -> None:
    assert sorted(line.strip("└─ ") for line in drawn([row("a", "b"), row("b", "a"), row("c", "c")])) == ["a", "b", "c"]


def test_nothing_is_drawn_as_nothing() -> None:
    assert drawn([]) == []


def test_what_is_said_of_a_realm_is_for_people() -> None:
    acme, oslo, beta = (next(row for row in EARTH if row["name"] == name) for name in ("acme", "oslo", "beta"))
    assert cells(acme) == ("enterprise", "acme-desk", "7", "led", "120", "4.5", "8.0 GB")
    assert (state(oslo), state(beta)) == ("island", "not seen")
    assert cells(beta) == ("enterprise", "", "", "not seen", "", "", "")
