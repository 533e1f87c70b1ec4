"""Every order has its line in the table, and no line is without its order."""

from __future__ import annotations

from worldos.agent.orders.orders import Orders
from worldos.agent.orders.rights import ME, RIGHTS, Right
from worldos.model.ids import NodeId
from worldos.model.rights import Impact, Op

ORDERS = {name.removeprefix("order_") for name in dir(Orders) if name.startswith("order_")}


def test_no_order_is_missing_in_the_table() -> None:
    assert sorted(ORDERS - RIGHTS.keys()) == []


def test_no_line_of_the_table_is_without_its_order() -> None:
    assert sorted(RIGHTS.keys() - ORDERS) == []


def test_a_missing_order_would_be_seen() -> None:
    assert "status" in ORDERS - (RIGHTS.keys() - {"status"})


def test_a_path_begins_at_the_account_and_names_this_node_where_it_is_meant() -> None:
    right = Right(Op.ADMIN, Impact.COSTLY, ("node", ME))
    assert right.path("acct", NodeId("n1")) == ("acct", "node", "n1")


def test_only_questions_have_the_class_of_reading() -> None:
    assert {right.op for right in RIGHTS.values() if right.impact is Impact.READ} <= {Op.READ, Op.AUDIT}
