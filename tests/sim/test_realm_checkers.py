"""Planted bugs of the hierarchy: each is a mistake that somebody could make, and the checkers must see every one of them.

As in test_checkers.py: a bug replaces one method of the real kernel, then seeds are run until a checker objects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from worldos.kernel.centers import Centers
from worldos.kernel.effects import Send
from worldos.kernel.raft.member import Member
from worldos.kernel.realms import bidding, tending, told
from worldos.model.limits import SECOND
from worldos.model.need import LeaseTerms
from worldos.model.realm import BidAnswer
from worldos.model.wire import LeaseGranted
from worldos.sim.realm_run import RealmSettings, run_realm_seed
from worldos.sim.world import World

SEEDS = 5
SMALL = RealmSettings(nodes=12, levels=3, seconds=6)


def first_objection(settings: RealmSettings = SMALL, seeds: int = SEEDS) -> str:
    for seed in range(seeds):
        outcome = run_realm_seed(seed, settings)
        if outcome.failure:
            return outcome.failure
    return ""


def changed(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, change: Callable[..., Any]) -> None:
    """Replace a method by one that gets the old one first."""
    old = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: change(old, *args, **kwargs))


def test_without_a_bug_nobody_objects() -> None:
    assert first_objection(seeds=3) == ""


def test_a_forgotten_fence_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest epoch heard of is believed, and not remembered."""

    def forgets(old, self, realm, epoch):
        believed = old(self, realm, epoch)
        if len(self.seen) > 1:
            self.seen[realm] = min(self.seen[realm], epoch, key=lambda each: each.number - 1)
            self.seen[realm] = type(epoch)(max(0, epoch.number - 1), epoch.provisional)
        return believed

    changed(monkeypatch, Centers, "see", forgets)
    assert "fences at" in first_objection()


def test_a_stale_epoch_that_is_accepted_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def takes_all(old, self, realm, epoch):
        old(self, realm, epoch)
        self.seen[realm] = epoch
        return True

    changed(monkeypatch, Centers, "see", takes_all)
    monkeypatch.setattr(Centers, "is_stale", lambda self, realm, epoch: False)
    assert "heard of" in first_objection()


def test_a_summary_that_is_not_sent_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is told nothing asks nobody below."""
    monkeypatch.setattr(tending, "_sum_up", lambda table, now_ns, reign, house: None)
    assert "has it" in first_objection()


def test_a_lease_that_a_center_grants_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A center that knows who has it free says yes in its place."""

    def grants(old, table, now_ns, peer, ask, house):
        effects = old(table, now_ns, peer, ask, house)
        for answer in [e.message for e in effects if type(e) is Send and type(e.message) is BidAnswer]:
            for found in [each for each in answer.candidates if each.contact.node != table.me][:1]:
                terms = LeaseTerms(
                    lease="made-up",
                    node=found.contact.node,
                    boot=found.offer.boot,
                    need=ask.needs[0],
                    resources=(found.offer.resources[0].id,),
                    ttl_ns=5 * SECOND,
                )
                effects.append(Send(node=ask.home.node, message=LeaseGranted(ask=1, terms=terms)))
        return effects

    changed(monkeypatch, bidding, "asked", grants)
    assert "grants what only" in first_objection()


def test_a_vote_that_is_told_before_it_is_on_the_disk_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def hurries(_old, self, number, node, message):
        self.say(node, message)

    changed(monkeypatch, Member, "say_after", hurries)
    objection = first_objection()
    assert "not on its disk" in objection or "its disk does not" in objection


def test_an_island_that_never_resigns_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_deaf(old, table, now_ns, peer, center, house):
        mine = table.reigns.get(center.realm)
        return [] if mine is not None and mine.epoch.provisional else old(table, now_ns, peer, center, house)

    changed(monkeypatch, told, "center_told", is_deaf)
    objection = first_objection()
    assert "not one tree" in objection or "heard of" in objection


def test_two_founders_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second device of a site founds the council once more."""

    def founds(old, self, machine):
        return msgspec.structs.replace(old(self, machine), founding=True)

    changed(monkeypatch, World, "_realms_of", founds)
    objection = first_objection()
    assert "both primary" in objection or "another entry" in objection or "both lead" in objection
