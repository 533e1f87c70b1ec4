"""Paths are compared label by label, and each kind has its class."""

from __future__ import annotations

import pytest

from worldos.model.rights import Impact, Op, covers, impact_of_kind, op_of_kind, resource_path, shown


def test_a_right_covers_itself_and_what_is_below_it() -> None:
    assert covers(("a",), ("a",))
    assert covers(("a",), ("a", "node", "n"))
    assert covers((), ("a",))


@pytest.mark.parametrize("path", [("a", "no"), ("a",), ("b", "node", "n"), ("a", "node", "n2")])
def test_a_right_covers_nothing_beside_or_above_it(path: tuple[str, ...]) -> None:
    assert not covers(("a", "node", "n"), path)


def test_the_beginning_of_a_label_is_no_label() -> None:
    assert not covers(("a", "node", "n"), ("a", "node", "n1"))


def test_dots_lead_nowhere() -> None:
    assert not covers(("a", "grid"), ("a", "cpu", "..", "..", "grid"))


def test_a_resource_is_found_below_its_node_and_kind() -> None:
    assert resource_path("acct", "node1", "Storage", "ab12/storage/home/x") == (
        "acct",
        "node",
        "node1",
        "Storage",
        "home",
        "x",
    )
    assert resource_path("acct", "node1", "CPU", "ab12/cpu/0") == ("acct", "node", "node1", "CPU", "0")
    assert resource_path("acct", "node1", "CPU", "") == ("acct", "node", "node1", "CPU")


def test_what_moves_something_is_physical_and_all_else_can_be_given_back() -> None:
    assert impact_of_kind("Actuator") is Impact.PHYSICAL
    assert op_of_kind("Actuator") is Op.DRIVE
    assert op_of_kind("Camera") is Op.LEASE
    assert impact_of_kind("CPU") is impact_of_kind("Camera") is Impact.REVERSIBLE


def test_a_path_is_shown_with_slashes() -> None:
    assert shown(("a", "b")) == "a/b"
