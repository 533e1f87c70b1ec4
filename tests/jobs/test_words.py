"""What people write about jobs is understood, or refused with what would be."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import BadRequest
from worldos.jobs.words import new_job_id, parse_array, parse_budget, parse_deadline, parse_task, show_array
from worldos.model.work import Span

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("text", "spans", "together"),
    [
        ("1-100", (Span(1, 100),), 0),
        ("7", (Span(7, 7),), 0),
        ("1,5,9", (Span(1, 1), Span(5, 5), Span(9, 9)), 0),
        ("0-9:3", (Span(0, 0), Span(3, 3), Span(6, 6), Span(9, 9)), 0),
        ("1-100%8", (Span(1, 100),), 8),
        ("9, 1-3 ,2-5", (Span(1, 5), Span(9, 9)), 0),
        ("0-999999", (Span(0, 999_999),), 0),
    ],
)
def test_an_array_is_written_as_slurm_writes_it(text: str, spans: tuple[Span, ...], together: int) -> None:
    assert parse_array(text) == (spans, together)


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "1-", "-5", "5-1", "1-100%", "1-100%0", "1-100%x", "1--5", "0-9:0", "1-1000000000", "0-1000000"),
        *("1-99999999999999999999", "0-999999:2", "٣", "1;2", "1-2-3", "1" * 20_000),
    ],
)
def test_an_array_that_cannot_be_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_array(text)
    assert refused.value.hint
    assert len(str(refused.value)) < 200


@given(st.sets(st.integers(0, 300), min_size=1, max_size=60))
def test_any_set_of_indices_can_be_named(indices: set[int]) -> None:
    spans, _ = parse_array(",".join(map(str, sorted(indices, key=lambda index: index * 7919 % 1000))))
    assert {index for span in spans for index in range(span.first, span.last + 1)} == indices
    assert all(one.last + 1 < other.first for one, other in itertools.pairwise(spans))
    assert parse_array(show_array(spans)) == (spans, 0)


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("08:00", datetime(2026, 11, 23, 7, 0, tzinfo=UTC)),
        ("10:31", datetime(2026, 11, 22, 9, 31, tzinfo=UTC)),
        ("in 2h", datetime(2026, 11, 22, 11, 30, tzinfo=UTC)),
        ("2026-11-23 08:00", datetime(2026, 11, 23, 7, 0, tzinfo=UTC)),
        ("2026-11-23T08:00:00+00:00", datetime(2026, 11, 23, 8, 0, tzinfo=UTC)),
    ],
)
def test_a_deadline_is_a_time_to_come(text: str, due: datetime) -> None:
    assert parse_deadline(text, NOW) == int(due.timestamp())


@pytest.mark.parametrize("text", ["", "soon", "25:00", "8", "2020-01-01", "2026-11-22 10:29", "in -2h", "in two days"])
def test_a_deadline_that_cannot_be_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_deadline(text, NOW)
    assert refused.value.hint


def test_a_budget_is_in_woscoin() -> None:
    assert parse_budget("5") == 5_000_000
    assert parse_budget(0.25) == 250_000
    for text in ("", "0", "-1", "nan", "inf", "five", "1e300"):
        with pytest.raises(BadRequest):
            parse_budget(text)


def test_a_task_has_a_name() -> None:
    assert parse_task("k3f9x2abcd") == ("k3f9x2abcd", None)
    assert parse_task("k3f9x2abcd.17") == ("k3f9x2abcd", 17)
    for text in ("a.", "a.x", "a.-1", "a." + "9" * 40):
        with pytest.raises(BadRequest):
            parse_task(text)


def test_no_two_jobs_are_named_alike() -> None:
    names = {new_job_id() for _ in range(1000)}
    assert len(names) == 1000
    assert all(name[0].isalpha() and len(name) == 10 for name in names)
