"""Conditions on facts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import BadRequest
from worldos.model.limits import WHERE_CHARS_MAX, WHERE_DEPTH_MAX
from worldos.model.need import All, AnyOf, Compare, Condition, Not
from worldos.model.where import (
    OPERATORS,
    check,
    facts_in,
    hint_for,
    holds,
    join,
    parse_where,
    parts_of,
    show_where,
)

LAPTOP = {
    "arch": "arm64",
    "memory": 16 * 10**9,
    "battery": True,
    "cores": 8,
    "os": "linux",
    "tags": "neon, fp16 aes",
    "huge": 2**70,
}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("arch == 'arm64' and memory >= 8GB and not battery", False),
        ("arch == 'arm64' and memory >= 8GB and battery", True),
        ("arch == arm64", True),
        ('arch == "arm64"', True),
        ("arch != 'x86_64'", True),
        ("memory > 16GB", False),
        ("memory >= 16GB", True),
        ("memory >= 16GiB", False),
        ("cores in (2, 4, 8)", True),
        ("arch in (x86_64, riscv64)", False),
        ("os in 'linux darwin'", True),
        ("tags has neon", True),
        ("tags has fp1", False),
        ("cores == 8 or nonsense", True),
        ("(cores == 9 or battery) and arch == arm64", True),
        ("cores == 9 or battery and arch == x86_64", False),
        ("battery == true", True),
        ("battery == false", False),
        ("not not battery", True),
        ("cores", False),
        ("cores > -1", True),
    ],
)
def test_a_condition_holds_as_it_reads(text: str, answer: bool) -> None:
    assert holds(parse_where(text), LAPTOP) is answer


def test_a_missing_fact_fails_every_comparison_and_passes_its_negation() -> None:
    for op in OPERATORS:
        assert not holds(Compare("missing", op, 1), LAPTOP)
    assert holds(parse_where("not missing"), LAPTOP)
    assert not holds(parse_where("missing == false"), LAPTOP)
    assert not holds(parse_where("missing != 3"), LAPTOP)


def test_a_comparison_of_different_types_is_false() -> None:
    for text in ("cores == '8'", "arch == 1", "battery == 1", "cores == true", "arch != 1", "cores has '8'"):
        assert not holds(parse_where(text), LAPTOP), text
    assert not holds(Compare("huge", ">", 1), LAPTOP)
    assert not holds(Compare("cores", "<", 2**70), LAPTOP)


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("", 1, "empty"),
        ("arch ==", 8, "expected a value"),
        ("(arch == a", 11, "expected '\\)'"),
        ("memory >= 8GBB", 11, "did you mean 'GB'"),
        ("a && b", 3, "write 'and'"),
        ("a || b", 3, "write 'or'"),
        ("a = 3", 3, "write '=='"),
        ("!a", 1, "write 'not'"),
        ("arch == 'x", 9, "not closed"),
        ("a b", 3, "join conditions"),
        ("and a", 1, "expected a fact"),
        ("2 <= cores", 1, "expected a fact"),
        ("a in (1", 8, "expected ',' or '\\)'"),
        ("cores == 1.5", 10, "finer than"),
        ("a == $", 6, "did not expect"),
        ("(" * 40 + "a" + ")" * 40, WHERE_DEPTH_MAX + 1, "may nest"),
        ("not " * 40 + "a", 4 * WHERE_DEPTH_MAX + 1, "may nest"),
    ],
)
def test_an_error_points_at_the_column(text: str, column: int, says: str) -> None:
    with pytest.raises(BadRequest, match=says) as caught:
        parse_where(text)
    _, line, caret = str(caught.value).split("\n")
    assert f"(column {column})" in str(caught.value)
    assert (line, caret) == (f"  {text}", f"  {' ' * (column - 1)}^")
    assert "memory" in caught.value.hint


def test_a_condition_is_bounded() -> None:
    with pytest.raises(BadRequest, match="512 characters"):
        parse_where("a or " * 200 + "a")
    with pytest.raises(BadRequest, match="256 comparisons"):
        check(AnyOf(tuple(Compare("a", "==", 1) for _ in range(300))))
    deep: Condition = Compare("a", "==", 1)
    for _ in range(5000):
        deep = Not(deep)
    for bad in (
        deep,
        All(()),
        Compare("a", "~", 1),
        Compare("not a name", "==", 1),
        Compare("a", "==", 2**80),
        Compare("a", "==", "\x1b[2J"),
    ):
        with pytest.raises(BadRequest):
            check(bad)


facts = st.from_regex(r"[a-z_][a-z0-9_.-]{0,8}", fullmatch=True).filter(
    lambda name: name not in {"and", "or", "not", "in", "has", "true", "false"}
)
values = st.one_of(
    st.booleans(),
    st.integers(-(2**62) + 1, 2**62 - 1),
    st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF).filter(str.isprintable), max_size=6),
    st.sampled_from([8 * 10**9, 2**31, 0]),
)
comparisons = st.builds(
    Compare, st.one_of(facts, st.sampled_from(["memory", "free"])), st.sampled_from(OPERATORS), values
)
conditions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: join(All, parts)),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: join(AnyOf, parts)),
    ),
    max_leaves=8,
)


@given(conditions)
def test_what_is_shown_reads_back_the_same(condition: Condition) -> None:
    said = show_where(condition)
    if len(said) <= WHERE_CHARS_MAX:
        assert parse_where(said) == condition


@given(st.one_of(st.text(max_size=60), st.text("abnotrd()'<>=!, 19GB", max_size=60)))
def test_any_text_gives_a_condition_or_bad_request(text: str) -> None:
    try:
        condition = parse_where(text)
    except BadRequest:
        return
    assert parse_where(show_where(condition)) == condition


@given(conditions, st.dictionaries(facts, values, max_size=6))
def test_a_condition_holds_exactly_when_all_of_its_parts_hold(condition: Condition, world: dict[str, object]) -> None:
    assert holds(condition, world) == all(holds(part, world) for part in parts_of(condition))  # type: ignore[arg-type]
    assert holds(Not(condition), world) != holds(condition, world)  # type: ignore[arg-type]


def test_parts_and_facts_of_a_condition() -> None:
    condition = parse_where("arch == 'arm64' and (memory >= 8GB or swap) and not battery")
    assert [show_where(part) for part in parts_of(condition)] == [
        "arch == 'arm64'",
        "memory >= 8GB or swap",
        "not battery",
    ]
    assert parts_of(None) == ()
    assert facts_in(condition) == ("arch", "memory", "swap", "battery")


def test_an_unknown_fact_gets_a_hint_and_no_error() -> None:
    assert hint_for(parse_where("memory >= 1GB")) == ""
    assert "did you mean 'memory'" in hint_for(parse_where("memry >= 1GB"))
    assert hint_for(parse_where("lidar_hz > 3"), known=["lidar_hz"]) == ""
