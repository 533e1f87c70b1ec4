"""What people write becomes exactly one need, or a sentence that says what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest

from worldos.errors import BadRequest
from worldos.model import limits
from worldos.model.need import Compare, Objective
from worldos.sdk.needs import kind_named, parse_need, ttl_of, unknown_kind


def test_a_number_of_cores_is_counted_in_thousandths() -> None:
    assert parse_need("CPU", 2.5).amount == 2500
    assert parse_need("cpu").amount == 1000
    assert parse_need("CPU", "500m").kind == "CPU"


def test_memory_and_network_are_read_with_their_units() -> None:
    assert parse_need("Memory", "2GB").amount == 2 * 10**9
    assert parse_need("network", "100Mbps", to="pi").amount == 10**8


def test_each_word_reaches_its_place() -> None:
    wanted = parse_need(
        "CPU", 2, memory="1GiB", where="cores >= 4", near="me", objective="cheapest", budget=0.5, apart=True
    )
    assert wanted.memory_bytes == 1 << 30
    assert wanted.where == Compare("cores", ">=", 4)
    assert wanted.near == "me"
    assert wanted.objective is Objective.CHEAPEST
    assert wanted.budget_uwos_hour == 500_000
    assert wanted.apart
    assert parse_need("GPU", isolation="sandbox").isolation == "sandbox"


def test_an_unknown_kind_names_the_near_miss_and_those_there_are() -> None:
    with pytest.raises(BadRequest, match="did you mean 'CPU'") as caught:
        parse_need("CPUs")
    assert "Memory" in caught.value.hint
    with pytest.raises(BadRequest, match="did you mean 'Storage'"):
        parse_need("storge", "1GB")


def test_the_kind_of_a_foreign_driver_passes_to_the_agent() -> None:
    assert kind_named("Drone") == "Drone"
    assert parse_need("Drone", 2).amount == 2
    assert "Drone" in unknown_kind("Dron", ["CPU", "Drone"]).hint


@pytest.mark.parametrize(
    ("words", "options", "said"),
    [
        (("",), {}, "not a kind"),
        ((7,), {}, "a kind is a word"),
        (("CPU", 0), {}, "more than zero"),
        (("CPU", -1), {}, "more than zero"),
        (("CPU", float("nan")), {}, "finite"),
        (("CPU", True), {}, "not an amount"),
        (("Memory", "2 giraffes"), {}, "unknown unit"),
        (("Memory",), {}, "how much Memory"),
        (("Memory", "1GB"), {"memory": "1GB"}, "comes with a CPU"),
        (("CPU",), {"to": "pi"}, "far end of a Network"),
        (("CPU",), {"objective": "quickest"}, "unknown"),
        (("CPU",), {"where": "cores >"}, "expected a value"),
        (("CPU",), {"near": ""}, "not the name"),
        (("CPU",), {"budget": -1}, "WOSCoin"),
        (("CPU",), {"isolation": "moat"}, "no isolation"),
        (("Memory", "1GB"), {"isolation": "sandbox"}, "comes with a CPU"),
        (("CPU",), {"budget": float("nan")}, "WOSCoin"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(words: tuple[Any, ...], options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said) as caught:
        parse_need(*words, **options)
    assert caught.value.hint


def test_a_ttl_stays_in_its_bounds() -> None:
    assert ttl_of(None) == limits.LEASE_TTL_DEFAULT_NS
    assert ttl_of("1 min") == 60 * limits.SECOND
    for wrong in (1, "25h"):
        with pytest.raises(BadRequest, match="out of bounds"):
            ttl_of(wrong)
