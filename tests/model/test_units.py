"""Amounts as people write them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import BadRequest
from worldos.model import units
from worldos.model.units import parse_amount, parse_bytes, parse_duration_ns, show, show_bytes, show_duration_ns


@pytest.mark.parametrize(
    ("kind", "text", "amount"),
    [
        ("CPU", "2", 2000),
        ("CPU", "2 cores", 2000),
        ("CPU", 2.0, 2000),
        ("CPU", 2, 2000),
        ("CPU", "500m", 500),
        ("CPU", "0.1 core", 100),
        ("CPU", 0.1 + 0.2, 300),
        ("CPU", 1 / 3, 333),
        ("GPU", "1", 1000),
        ("GPU", "2 GPUs", 2000),
        ("GPU", 0.5, 500),
        ("Memory", "10GB", 10**10),
        ("Memory", "2GiB", 2**31),
        ("Memory", "512MB", 512 * 10**6),
        ("Memory", "1.5 GB", 1_500_000_000),
        ("Memory", "10gb", 10**10),
        ("Memory", "10G", 10**10),
        ("Memory", 4096, 4096),
        ("Storage", "1_000 bytes", 1000),
        ("Storage", "3.5TiB", 7 * 2**39),
        ("Network", "100Mbps", 10**8),
        ("Network", "1Gbps", 10**9),
        ("Network", "10 Mbit/s", 10**7),
        ("Network", "12 MB/s", 96 * 10**6),
        ("Network", 5, 5),
        ("Camera", "1", 1),
        ("Lathe", "3 pieces", 3),
    ],
)
def test_an_amount_is_what_a_person_means(kind: str, text: str | float, amount: int) -> None:
    assert parse_amount(kind, text) == amount


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("Memory", "10 GBB", "did you mean 'GB'"),
        ("Storage", "10 Gb", "did you mean 'GB'"),
        ("CPU", "2 coers", "did you mean 'cores'"),
        ("CPU", "2 COERS", "did you mean 'cores'"),
        ("Memory", "2 parsecs", "unknown unit 'parsecs'"),
        ("CPU", float("nan"), "finite"),
        ("CPU", float("inf"), "finite"),
        ("CPU", "-1", "more than zero"),
        ("CPU", -1, "more than zero"),
        ("CPU", -0.5, "more than zero"),
        ("CPU", 0, "more than zero"),
        ("CPU", "0 cores", "more than zero"),
        ("CPU", 1e-9, "too small"),
        ("CPU", "0.0001", "finer than"),
        ("Memory", "0.5", "finer than"),
        ("Memory", "99999999999EB", "more than World OS can count"),
        ("CPU", 10**400, "more than World OS can count"),
        ("CPU", 1e300, "more than World OS can count"),
        ("CPU", "", "begin with a number"),
        ("CPU", "two", "begin with a number"),
        ("CPU", "1" * 100_000, "too long"),
        ("CPU", "\u0662", "begin with a number"),
        ("CPU", True, "is not an amount"),
        ("CPU", None, "is not an amount"),
        ("CPU", [2], "is not an amount"),
    ],
)
def test_an_impossible_amount_is_refused_with_what_would_be_understood(kind: str, text: object, says: str) -> None:
    with pytest.raises(BadRequest, match=says) as caught:
        parse_amount(kind, text)  # type: ignore[arg-type]
    assert caught.value.hint.startswith("say for example")
    assert len(str(caught.value)) < 300


@given(st.decimals("0.001", "100000", places=3))
def test_text_is_read_exactly(number: Decimal) -> None:
    assert parse_amount("CPU", f"{number:f}") == int(number * 1000)


@given(st.text(max_size=80))
def test_any_text_gives_an_amount_or_bad_request(text: str) -> None:
    for kind in ("CPU", "Memory", "Network", "Camera"):
        try:
            assert 0 < parse_amount(kind, text) <= units.AMOUNT_MAX
        except BadRequest as refused:
            assert refused.hint  # noqa: PT017 - both ends are fine, and a refusal must say how to go on


def test_times_and_sizes_are_read() -> None:
    assert parse_duration_ns("10s") == 10 * 10**9
    assert parse_duration_ns("5 min") == 300 * 10**9
    assert parse_duration_ns("7d") == 7 * 86_400 * 10**9
    assert parse_duration_ns("1.5 hours") == 5400 * 10**9
    assert parse_duration_ns(2) == 2 * 10**9
    assert parse_duration_ns(0.25) == 250_000_000
    assert parse_bytes("64KiB") == 65_536
    with pytest.raises(BadRequest, match="did you mean 'min'"):
        parse_duration_ns("5 mn")


@pytest.mark.parametrize(
    ("kind", "amount", "said"),
    [
        ("CPU", 2000, "2 cores"),
        ("CPU", 1000, "1 core"),
        ("CPU", 1050, "1.05 cores"),
        ("CPU", 10_000, "10 cores"),
        ("GPU", 1000, "1 GPU"),
        ("Memory", 10**10, "10.0 GB"),
        ("Memory", 999_960_000, "1.0 GB"),
        ("Memory", 1, "1 byte"),
        ("Storage", 2 * 10**21, "2000.0 EB"),
        ("Network", 10**8, "100 Mbps"),
        ("Network", 1_500_000_000, "1.5 Gbps"),
        ("Network", 12, "12 bps"),
        ("Camera", 1, "1 piece"),
        ("Camera", 3, "3 pieces"),
    ],
)
def test_an_amount_is_said_for_people(kind: str, amount: int, said: str) -> None:
    assert show(kind, amount) == said


@given(st.integers(1, 10**9))
def test_cores_are_said_so_that_they_read_back(milli: int) -> None:
    assert parse_amount("CPU", show("CPU", milli)) == milli


def test_times_are_said_for_people() -> None:
    assert show_duration_ns(1_500_000_000) == "1.5 s"
    assert show_duration_ns(600 * 10**9) == "10 min"
    assert show_duration_ns(250_000) == "250 us"
    assert show_bytes(0) == "0 bytes"
