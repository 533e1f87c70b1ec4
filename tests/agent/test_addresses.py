"""Where this machine can be dialled, as it knows it itself."""

from __future__ import annotations

import pytest

from worldos.agent.addresses import ADDRESSES_MAX, is_loopback, reachable_addresses
from worldos.fabric.tcp import parse_address


@pytest.mark.parametrize(
    ("host", "only_here"),
    [("localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("desk.lan", False)],
)
def test_a_loopback_is_known_by_its_address(host: str, only_here: bool) -> None:
    assert is_loopback(host) is only_here


def test_an_address_that_was_named_is_the_one() -> None:
    assert reachable_addresses("10.1.2.3", 7370) == ("10.1.2.3:7370",)
    assert reachable_addresses("fd00::1", 7370) == ("[fd00::1]:7370",)


def test_all_addresses_means_those_others_can_dial() -> None:
    found = reachable_addresses("", 7370)
    assert 0 < len(found) <= ADDRESSES_MAX
    hosts = [parse_address(address) for address in found]
    assert all(port == 7370 for _, port in hosts)
    assert found == ("127.0.0.1:7370",) or not any(is_loopback(host) for host, _ in hosts)
