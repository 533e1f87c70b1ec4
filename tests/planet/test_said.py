"""The messages that stand for all: as full as real ones."""

from __future__ import annotations

from worldos.model.realm import Level
from worldos.planet import said
from worldos.trust.certs import root_certificate


def test_contacts_carry_real_certificates() -> None:
    contact = said.contact(3)
    assert contact.root_cert == root_certificate(said.key(3))
    assert contact.node == said.key(3).node_id


def test_a_realm_lower_down_has_the_longer_path() -> None:
    paths = [said.center(level).path for level in range(6)]
    assert sorted(paths, key=len, reverse=True) == paths
    assert said.center(Level.PLANET).path == "earth"


def test_a_real_machine_offers_more_than_a_simulated_one() -> None:
    assert len(said.offer(said.node_id(1), 9).facts) > len(said.offer(said.node_id(1), 2).facts)
