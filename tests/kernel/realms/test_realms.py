"""Realms, told as stories of a few nodes: a site founds its council, joins a realm, finds what it lacks, and survives cuts."""

from __future__ import annotations

import msgspec
import pytest
from tests.kernel.realms.village import Village

from worldos.kernel.realms import Realms
from worldos.model.local import UseGranted, UseRefused
from worldos.model.realm import RealmId
from worldos.node import Node


def test_the_first_device_founds_the_council_and_all_know_the_center() -> None:
    village = Village(home=3)
    village.run(3)
    assert village.primary("home0", "home1", "home2") == "home0"
    center = village.believed("home2")
    assert center is not None
    assert (center.epoch.number, center.epoch.provisional, center.path) == (1, False, "home")


def test_a_council_grows_to_three_by_itself() -> None:
    village = Village(home=3)
    village.run(25)
    seats = [len(node.realms.seats) for node in village.nodes.values()]
    assert seats == [1, 1, 1]
    config = village.nodes["home0"].realms.seats[village.site("home0")].raft.log.config
    assert len(config.voters) == 3


def test_a_snapshot_of_a_node_with_realms_is_the_node() -> None:
    village = Village(home=2)
    village.run(3)
    for node in village.nodes.values():
        data = msgspec.msgpack.encode(node)
        again = msgspec.msgpack.decode(data, type=Node)
        assert msgspec.msgpack.encode(again) == data
        assert type(again.realms) is Realms


@pytest.fixture(scope="module")
def two_sites() -> Village:
    """Two accounts under one realm; only the office lends."""
    village = Village(home=1, office=1)
    village.run(2)
    acme = village.found("home0", "acme")
    assert village.join("home0", "home0", acme) == ""
    assert village.join("home0", "office0", acme) == ""
    village.run(5)
    assert village.lend("office0") == ""
    village.run(3)
    return village


def test_sites_below_one_realm_know_their_way_from_the_top(two_sites: Village) -> None:
    for site in ("home", "office"):
        center = two_sites.believed(f"{site}0")
        assert center is not None
        assert (center.path, center.lineage[0]) == (f"acme/{site}", RealmId("acme"))


def test_what_a_site_does_not_have_comes_from_another(two_sites: Village) -> None:
    answer = two_sites.use("home0", realm="acme/office")
    assert isinstance(answer, UseGranted)
    assert {two_sites.names[lease.node] for lease in answer.leases} == {"office0"}


def test_more_cores_than_any_site_has_are_spread_over_both(two_sites: Village) -> None:
    two_sites.scan("home0", cores=2)
    answer = two_sites.use("home0", cores=3)
    assert isinstance(answer, UseGranted)
    assert {two_sites.names[lease.node] for lease in answer.leases} == {"home0", "office0"}


def test_who_does_not_lend_is_asked_in_vain_and_it_is_said_so(two_sites: Village) -> None:
    answer = two_sites.use("office0", realm="acme/home")
    assert isinstance(answer, UseRefused)
    assert "this node is not in acme/home" in answer.reason


def test_a_second_realm_of_one_name_is_refused(two_sites: Village) -> None:
    village = Village(home=1, twin=1)
    village.run(2)
    acme = village.found("home0", "acme")
    assert village.join("home0", "home0", acme) == ""
    village.nodes["twin0"].realms.centers.known[village.site("twin0")] = msgspec.structs.replace(
        village.believed("twin0"), name="home"
    )
    assert "the name home is taken" in village.join("home0", "twin0", acme)
