"""A scheduler is biased by one point, breaks ties by id or order of arrival, grinds nonces, or leaves offers and decisions out.

Run on the chooser that every node runs (kernel/decisions.py) and on planted ones: 3 000 permuted worlds for the fair one (20 000
with TRUST_LONG=1), each planted bias from 20 seeds. Grinding on the real lots; what is left out on real logs on disk.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec
import pytest
from tests.agent.log_site import Site
from tests.kernel.offers import cpu, offer, view

from worldos.agent import auditing
from worldos.agent.decision_shelf import open_shelf
from worldos.kernel.decisions import Answered, Chosen, decide
from worldos.model.ids import LeaseId, ResourceId, UseId
from worldos.model.need import Need
from worldos.sim.neutrality import PLANTED, WORLDS, fair, grinders_share, search

LONG = bool(os.environ.get("TRUST_LONG"))
SEEDS = 20
TRIALS_MAX = 100


@pytest.mark.slow
def test_in_thousands_of_permuted_worlds_the_choice_of_a_node_favours_nobody() -> None:
    found = search(fair, 20_000 if LONG else WORLDS)
    assert found.violations == {}


@pytest.mark.parametrize("name", PLANTED)
def test_each_planted_bias_is_found_in_at_most_a_hundred_trials(name: str) -> None:
    firsts = [search(PLANTED[name], TRIALS_MAX, seed, stop=True).first for seed in range(1, SEEDS + 1)]
    assert all(0 < first <= TRIALS_MAX for first in firsts), firsts


def test_grinding_gains_at_most_one_percent_where_the_nonce_was_committed_to() -> None:
    trials = 200_000 if LONG else 20_000
    assert grinders_share(trials // 20, 1, committed=False) > 0.9
    assert abs(grinders_share(trials, 1, committed=True) - 0.1) < (0.002 if LONG else 0.0075)


def chosen(site: Site, number: int, nonce: int) -> Chosen:
    known = view(nonce=nonce.to_bytes(8, "big"))
    made = decide(UseId(f"u{number}"), (cpu(),), [offer("a"), offer("b")], known, splits=True)[2]
    return msgspec.structs.replace(made, number=number)


def test_a_decision_that_is_left_out_of_the_log_is_missed_by_its_number(tmp_path: Path) -> None:
    async def story() -> None:
        site = Site(tmp_path, 1)
        (a,) = site.list()
        a.log.begin(1)
        draws = [a.log.draws.draw() for _ in range(5)]
        a.log.take([chosen(site, number, nonce) for number, nonce in enumerate(draws, 1) if number != 3])
        await a.log.flush()
        wrong = auditing.verify(open_shelf(a.folder / "decisions"), a.id)["wrong"]
        assert "1 choices of this life are not in the log" in wrong[0]

    asyncio.run(story())


def test_a_grant_that_is_left_out_is_missed_by_who_holds_the_lease(tmp_path: Path) -> None:
    async def story() -> None:
        site = Site(tmp_path, 2)
        a, b = site.list()
        need = Need(kind="CPU", amount=1000)
        told = Answered(
            holder=b.id, ask=1, use=UseId("u"), need=need, resources=(ResourceId("r"),), lease=LeaseId("told")
        )
        a.log.take([told])
        await a.decide(3)
        a.cosigning.tell_all()
        await site.quiet()
        b.hold(a.id, "told", "untold")
        found = await b.cosigning.pieces.audit(a.id, None)
        assert found["wrong"] == ["it granted us untold, and its log does not say so"]
        assert (found["leases_held"], found["receipts"]) == (2, 1)

    asyncio.run(story())
