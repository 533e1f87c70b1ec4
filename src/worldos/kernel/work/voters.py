"""Voters: whom the replicas of the work should be, step by step. They follow the site's council, one change at a time.

First everybody who is missing learns, then votes, then those go who do not belong any more; who leads goes last, after it handed
over. Nobody goes if those who stay and can be heard would be no majority.
"""

from __future__ import annotations

from collections.abc import Collection

from worldos.kernel.council import HandOver
from worldos.kernel.raft import AddLearner, ConfigStep, Promote, Remove
from worldos.model.ids import NodeId
from worldos.model.raft import Config


def next_step(
    config: Config, me: NodeId, wanted: Collection[NodeId], alive: Collection[NodeId], caught_up: Collection[NodeId]
) -> ConfigStep | HandOver | None:
    """Return what to do next so that the voters become ``wanted``; ``me`` leads."""
    if not wanted:
        return None
    for learner in config.learners:
        if learner not in wanted:
            return Remove(node=learner)
    for node in sorted(wanted):
        if node in config.learners and node in caught_up:
            return Promote(node=node)
    for node in sorted(wanted):
        if node not in config.voters and node not in config.learners and node in alive:
            return AddLearner(node=node)
    return _part(config, me, wanted, alive)


def _part(
    config: Config, me: NodeId, wanted: Collection[NodeId], alive: Collection[NodeId]
) -> ConfigStep | HandOver | None:
    """Let go of one voter too many, if what stays still stands."""
    extra = [node for node in config.voters if node not in wanted]
    others = sorted((node for node in extra if node != me), key=lambda node: (node in alive, node))
    if others:
        stay = [node for node in config.voters if node != others[0]]
        heard = sum(node in alive for node in stay)
        return Remove(node=others[0]) if heard > len(stay) // 2 else None
    if extra:
        heir = next((node for node in config.voters if node in wanted and node in alive), None)
        return HandOver(node=heir) if heir is not None else None
    return None
