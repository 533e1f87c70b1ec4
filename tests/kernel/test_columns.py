"""Columns say of each row what facts and figures say of its resource."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.offers import offer
from tests.kernel.worlds import WHERES, worlds
from tests.model.test_where import conditions

from worldos.kernel import score
from worldos.kernel.columns import Columns, Words
from worldos.kernel.question import clamp, facts_of, memory_of
from worldos.model.need import Condition
from worldos.model.offer import Offer
from worldos.model.where import holds, parse_where


def columns_of(offers: list[Offer]) -> tuple[Columns, list[tuple[Offer, int]]]:
    columns = Columns(Words(), Words())
    told = [
        (told, item, memory_of(told), slot)
        for slot, told in enumerate(offers)
        for item in told.resources
        if item.kind == "CPU"
    ]
    columns.write(columns.rows_for(len(told)), told)
    return columns, [(told, told.resources.index(item)) for told, item, _, _ in told]


@given(worlds, st.one_of(conditions, st.sampled_from(WHERES).map(parse_where)))
def test_a_condition_holds_for_a_row_as_for_its_facts(offers: list[Offer], condition: Condition) -> None:
    columns, rows = columns_of(offers)
    found = columns.holds(condition, slice(0, columns.count)).tolist()
    assert found == [holds(condition, facts_of(told, told.resources[at])) for told, at in rows]


@given(worlds)
def test_figures_of_a_row_are_those_of_its_resource(offers: list[Offer]) -> None:
    columns, rows = columns_of(offers)
    found = list(zip(*(column.tolist() for column in columns.figures(slice(0, columns.count))), strict=True))
    assert found == [
        score.figures_of("CPU", clamp(item.capacity), clamp(item.free), told.facts, item.facts)
        for told, at in rows
        for item in [told.resources[at]]
    ]


def test_rows_that_are_given_up_are_used_again_and_forget_what_they_held() -> None:
    columns, _ = columns_of([offer(f"n{number}", arch="arm64") for number in range(5)])
    arm = parse_where("arch == arm64")
    assert columns.holds(arm, slice(0, 5)).all()
    columns.give_up([1, 3])
    told = offer("new", arch="x86_64")
    (row,) = columns.rows_for(1)
    assert row in (1, 3)
    columns.write([row], [(told, told.resources[0], None, 9)])
    assert not columns.holds(arm, np.array([row]))[0]
    assert columns.truths["usable"][:5].sum() == 4


def test_columns_grow_and_keep_what_they_hold() -> None:
    columns, _ = columns_of([offer("first", speed_mips=77)])
    columns.holds(parse_where("speed_mips == 77"), slice(0, 1))
    told = offer("more")
    rows = columns.rows_for(1000)
    columns.write(rows, [(told, told.resources[0], None, 1)] * 1000)
    assert columns.holds(parse_where("speed_mips == 77"), slice(0, columns.count)).tolist() == [True] + [False] * 1000
    assert (columns.rtt_us[:1001] == score.RTT_US_DEFAULT).all()
