"""A Raft with a fault of its own is seen: by the checks under chaos, or by the test of the section it breaks.

Some faults need a row of events that chance hardly ever brings; those have their own stories, told by name.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from tests.kernel.raft import test_candidate, test_follower, test_leader, test_log
from tests.kernel.raft.chaos import ACTS, Chaos, small_bounds

from worldos.kernel.raft import candidate, follower, leader, log, member

SEEDS_TO_FIND = 40
SOURCES: dict[str, str] = {}  # of what is planted just now

Edit = tuple[ModuleType | type, str, str, str]


def chaos() -> None:
    for seed in range(SEEDS_TO_FIND):
        Chaos(seed, 3 if seed % 2 else 5).run()


def power_cuts() -> None:
    """Chaos of slow disks, and of crashes that make them forget."""
    for seed in range(SEEDS_TO_FIND):
        council = Chaos(seed, 3, damage=False)
        council.climate.slow_disk = 0.5
        council.climate.loss = 0
        council.climate.acts = [int(act in (Chaos.cut_power, Chaos.depose, Chaos.hint)) for act in ACTS]
        council.run()


PLANTED: dict[str, tuple[Callable[[], None], list[Edit]]] = {
    "answers leave before the disk has what they claim": (
        power_cuts,
        [(member.Member, "say_after", "number <= self.durable", "number >= 0")],
    ),
    "a vote goes to a shorter log": (chaos, [(log.Log, "newer_than", "return", "return False and")]),
    "a learner is counted": (
        chaos,
        [(leader, "count", "log.config.voters", "log.config.voters[:1] + log.config.learners + log.config.voters[2:]")],
    ),
    "entries are taken without looking at what comes before": (
        chaos,
        [(follower, "append", "log.term_at(previous) != ask.prev_term", "previous > log.last")],
    ),
    "a leader counts its own entries before its disk has them": (
        power_cuts,
        [(leader, "count", "log.stable", "log.last")],
    ),
    "a read is answered without asking anybody": (chaos, [(leader, "confirm", "quorum.agreed(rounds)", "reads.round")]),
    "a read of a new leader does not wait for its first commit": (
        chaos,
        [(leader, "read", "member.log.committed < member.lead_index", "member.log.committed < 0")],
    ),
    "a damaged member votes": (
        test_follower.test_a_damaged_member_neither_votes_nor_stands,
        [(candidate, "vote", "and not member.mending", "")],
    ),
    "a snapshot does not take the place of the log": (chaos, [(log.Log, "restore", "self.entries.clear()", "pass")]),
    "an entry of an older term is counted": (
        test_leader.test_5_4_2_figure_8_an_entry_of_an_older_term_is_not_committed_by_counting,
        [(leader, "count", " or log.term_at(index) != member.term", "")],
    ),
    "a member votes twice in a term": (
        test_candidate.test_5_2_a_member_votes_once_in_a_term,
        [(candidate, "vote", "and member.voted in (NOBODY, peer)", "")],
    ),
    "two steps of the council at once": (
        test_leader.test_thesis_4_1_one_step_at_a_time,
        [(leader, "next_config", "max(member.lead_index, log.config_index)", "member.lead_index")],
    ),
    "a step before an entry of the own term is committed": (
        test_leader.test_thesis_4_1_corrected_no_step_before_an_entry_of_the_own_term_is_committed,
        [(leader, "next_config", "max(member.lead_index, log.config_index)", "log.config_index")],
    ),
    "a candidate asks for votes before its own is on disk": (
        test_candidate.test_votes_are_asked_for_only_when_the_own_vote_is_on_disk,
        [(candidate, "stand", "say_after(number", "say_after(0")],
    ),
    "a damaged member is counted": (
        test_follower.test_a_damaged_member_counts_for_no_majority,
        [
            (
                leader,
                "answered",
                "if not answer.mending:\n        progress.mending = progress.mend_index = 0",
                "if True:",
            )
        ],
    ),
    "a cut takes nothing back of what is on disk": (
        test_log.test_a_cut_takes_back_what_was_on_disk_and_the_configurations,
        [(log.Log, "cut", "write.last = min(write.last, first - 1)", "pass")],
    ),
    "a leader never looks whether a majority hears it": (
        test_leader.test_thesis_6_2_a_leader_that_reaches_no_majority_steps_down,
        [(leader, "beat", "not quorum.won", "False and not quorum.won")],
    ),
}


def plant(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    """Replace some words in the sources of functions."""
    for place, name, old, new in PLANTED[bug][1]:
        function = getattr(place, name)
        source = SOURCES.get(name) or textwrap.dedent(inspect.getsource(function))
        assert old in source, f"{name} does not say {old!r} any more"
        scope: dict[str, Any] = {}
        exec("from __future__ import annotations\n" + source.replace(old, new), function.__globals__, scope)
        monkeypatch.setattr(place, name, scope[name])
        monkeypatch.setitem(SOURCES, name, source.replace(old, new))


@pytest.mark.parametrize("bug", sorted(PLANTED))
def test_a_planted_bug_is_seen(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small_bounds(monkeypatch)
    plant(monkeypatch, bug)
    with pytest.raises(AssertionError):
        PLANTED[bug][0]()
