"""Quorums: what a majority of the voters has, or has decided.

Any two majorities of one configuration share a voter, and so do a majority of one configuration and a majority of the
next, as long as one step adds or removes at most one voter (thesis 4.1). Everything that Raft promises rests on that.
"""

from __future__ import annotations

from collections.abc import Mapping

from worldos.model.ids import NodeId
from worldos.model.raft import Config


def majority(voters: int) -> int:
    """Return how many of so many voters decide."""
    return voters // 2 + 1


def agreed(numbers: list[int]) -> int:
    """Return the highest number that a majority has reached, given the number of each voter; 0 without voters."""
    if not numbers:
        return 0
    numbers.sort()
    return numbers[(len(numbers) - 1) // 2]


def won(config: Config, ballot: Mapping[NodeId, bool]) -> bool:
    """Tell whether a majority of the voters said yes."""
    return sum(ballot.get(voter, False) for voter in config.voters) >= majority(len(config.voters))


def lost(config: Config, ballot: Mapping[NodeId, bool]) -> bool:
    """Tell whether so many voters said no that the others are no majority."""
    refusals = sum(not ballot.get(voter, True) for voter in config.voters)
    return len(config.voters) - refusals < majority(len(config.voters))
