"""A device says when it saw the log where that helps an admission to ripen, and else nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.trust.people import LAPTOP, PHONE, TABLET, add, household

from worldos.agent.witnessing import look
from worldos.kernel.belonging import log_entries
from worldos.trust.entries import SignedEntry, Witnessed, read_entry
from worldos.trust.keylog import KeyLog


class Here:
    """As much of an agent as looking needs: a log, a key, a clock, and where entries go."""

    def __init__(self, log: KeyLog, wall_s: int) -> None:
        self.node = SimpleNamespace(keylog=log, node=PHONE.node_id, wall_s=lambda _now_ns: wall_s)
        self.started = SimpleNamespace(key=PHONE)

    def offer_entries(self, entries: tuple[tuple[bytes, bytes], ...]) -> None:
        self.node.keylog.merge(SignedEntry(body=body, signature=signature) for body, signature in entries)


def test_one_look_is_made_of_what_is_young_and_no_second_before_its_time() -> None:
    log = household()
    here: Any = Here(log, wall_s=1_700_000_000)
    assert not look(here)
    add(log, LAPTOP, TABLET)
    assert look(here)
    assert not look(here)
    body, signature = log_entries(log, log.heads())[0]
    said = read_entry(SignedEntry(body=body, signature=signature))
    assert isinstance(said, Witnessed)
    assert said.at_s == 1_700_000_000


def test_a_machine_that_does_not_know_the_time_says_nothing() -> None:
    log = household()
    add(log, LAPTOP, TABLET)
    here: Any = Here(log, wall_s=0)
    assert not look(here)
