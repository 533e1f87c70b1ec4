"""Resources: the kinds that World OS brings, and a fact that keeps one to its owner."""

from __future__ import annotations

import pytest

from worldos.model.resource import Fact, Kind, kept_to_owner
from worldos.model.units import parse_amount, show


@pytest.mark.parametrize("kind", [Kind.MEMORY, Kind.STORAGE, Kind.STORE])
def test_what_is_counted_in_bytes_is_read_and_shown_as_bytes(kind: Kind) -> None:
    assert parse_amount(kind, "10GB") == 10 * 1000**3
    assert show(kind, 10 * 1000**3) == "10.0 GB"


@pytest.mark.parametrize(("facts", "kept"), [({"for": "me"}, True), ({"for": "others"}, False), ({}, False)])
def test_a_resource_is_kept_to_its_owner_where_it_says_so(facts: dict[str, Fact], kept: bool) -> None:
    assert kept_to_owner(facts) is kept
