"""Raft without I/O: what a member of a council decides. Messages and moments go in, effects come out."""

from worldos.kernel.raft.effects import (
    AddLearner,
    Committed,
    ConfigStep,
    Followed,
    Led,
    Mended,
    Persist,
    Promote,
    RaftEffect,
    ReadLost,
    ReadReady,
    Remove,
    Restored,
    SendRaft,
)
from worldos.kernel.raft.pace import LAN, RESTFUL, WAN, Pace
from worldos.kernel.raft.raft import Raft

__all__ = [
    "LAN",
    "RESTFUL",
    "WAN",
    "AddLearner",
    "Committed",
    "ConfigStep",
    "Followed",
    "Led",
    "Mended",
    "Pace",
    "Persist",
    "Promote",
    "Raft",
    "RaftEffect",
    "ReadLost",
    "ReadReady",
    "Remove",
    "Restored",
    "SendRaft",
]
