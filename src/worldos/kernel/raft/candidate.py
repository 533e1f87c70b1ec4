"""Elections: who may lead, and who helps whom to.

A member that misses its leader first asks whether it would be elected (PreVote), and raises its term only when a
majority says so: who was cut off comes back without disturbing anybody. Nobody helps to replace a leader it still hears.
The own vote counts, and votes are asked for, once it is on disk: a candidate that crashed and forgot its term must not
be elected by votes it asked for with a log that it lost.

Source: Raft, sections 5.2 and 5.4.1; thesis, 4.2.3 and 9.6.
"""

from __future__ import annotations

from typing import assert_never

from worldos.kernel.raft import leader, quorum
from worldos.kernel.raft.member import Member, Role
from worldos.model.ids import NodeId
from worldos.model.raft import NOBODY, NUMBER_MAX, PreVoteAnswer, PreVoteAsk, VoteAnswer, VoteAsk


def may_stand(member: Member) -> bool:
    """Tell whether this member may be elected.

    As long as the step that leaves it out is not known to be committed, it may be the only one that can (thesis, 4.2.2).
    """
    log = member.log
    seated = member.me in log.config.voters
    if not seated and log.config_index > log.committed and len(log.configs) > 1:
        seated = member.me in log.configs[-2][1].voters
    return seated and not member.mending and member.term < NUMBER_MAX


def hope(member: Member, now_ns: int) -> None:
    """Ask the voters whether they would elect this member."""
    member.role = Role.HOPEFUL
    member.ballot = {member.me: True}
    try_again_later(member, now_ns)
    if quorum.won(member.log.config, member.ballot):
        stand(member, now_ns, forced=False)
        return
    ask = PreVoteAsk(term=member.term + 1, last_index=member.log.last, last_term=member.log.last_term)
    for voter in others(member):
        member.say(voter, ask)


def stand(member: Member, now_ns: int, *, forced: bool) -> None:
    """Stand for election in a new term."""
    if member.leader != NOBODY:
        member.follow(now_ns, member.term, NOBODY)
    member.role = Role.CANDIDATE
    member.ballot = {}
    member.term, member.voted, member.dirty = member.term + 1, member.me, True
    number = member.persist()
    try_again_later(member, now_ns)
    ask = VoteAsk(term=member.term, last_index=member.log.last, last_term=member.log.last_term, forced=forced)
    for voter in others(member):
        member.say_after(number, voter, ask)


def others(member: Member) -> list[NodeId]:
    """Return the other voters."""
    return [voter for voter in member.log.config.voters if voter != member.me]


def try_again_later(member: Member, now_ns: int) -> None:
    """Wait for answers; where the leader is known to be gone, not for long."""
    member.wait(now_ns)
    if member.hinted:
        beat_ns = member.pace.heartbeat_ns
        member.due_ns = now_ns + beat_ns + member.dice.below(beat_ns)


def vote_written(member: Member, now_ns: int) -> None:
    """Count the own vote, which is on disk now."""
    if member.me not in member.ballot:
        member.ballot[member.me] = True
        tally(member, now_ns)


def tally(member: Member, now_ns: int) -> None:
    """See whether the election is decided."""
    config, ballot = member.log.config, member.ballot
    if quorum.won(config, ballot):
        if member.role is Role.HOPEFUL:
            stand(member, now_ns, forced=False)
        else:
            leader.lead(member, now_ns)
    elif quorum.lost(config, ballot):
        member.role = Role.FOLLOWER
        member.ballot = {}


def hear(member: Member, now_ns: int, peer: NodeId, message: PreVoteAsk | PreVoteAnswer | VoteAsk | VoteAnswer) -> None:
    """Take in what others say of elections."""
    match message:
        case PreVoteAsk():
            would_vote(member, now_ns, peer, message)
        case PreVoteAnswer():
            pre_answered(member, now_ns, peer, message)
        case VoteAsk():
            vote(member, now_ns, peer, message)
        case VoteAnswer():
            vote_answered(member, now_ns, peer, message)
        case _:
            assert_never(message)


def pre_answered(member: Member, now_ns: int, peer: NodeId, answer: PreVoteAnswer) -> None:
    """Take in whether this voter would vote for this member."""
    if member.role is Role.HOPEFUL and (not answer.granted or answer.term == member.term + 1):
        member.ballot.setdefault(peer, answer.granted)
        tally(member, now_ns)


def vote_answered(member: Member, now_ns: int, peer: NodeId, answer: VoteAnswer) -> None:
    """Take in whether this voter votes for this member."""
    if member.role is Role.CANDIDATE and answer.term == member.term:
        member.ballot.setdefault(peer, answer.granted)
        tally(member, now_ns)


def would_vote(member: Member, now_ns: int, peer: NodeId, ask: PreVoteAsk) -> None:
    """Say whether this member would vote for that one; nothing is promised by it.

    Who says yes lets the other go first: otherwise all that miss the same leader would stand at once. Who misses a leader that
    rests hears of it.
    """
    if member.role is Role.LEADER:
        leader.wake(member, now_ns)
    granted = (
        ask.term > member.term
        and not member.mending
        and not member.keeps_faith(now_ns)
        and not member.log.newer_than(ask.last_term, ask.last_index)
    )
    if granted and member.role is Role.FOLLOWER:
        member.due_ns = max(member.due_ns, now_ns + member.pace.heartbeat_ns)
    member.say(peer, PreVoteAnswer(term=ask.term if granted else member.term, granted=granted))


def vote(member: Member, now_ns: int, peer: NodeId, ask: VoteAsk) -> None:
    """Vote, once a term, for a candidate whose log lacks nothing that may be committed."""
    granted = (
        ask.term == member.term
        and member.role is not Role.LEADER
        and member.leader == NOBODY
        and member.voted in (NOBODY, peer)
        and not member.mending
        and not member.log.newer_than(ask.last_term, ask.last_index)
    )
    if not granted:
        member.say(peer, VoteAnswer(term=member.term, granted=False))
        return
    if member.voted != peer:
        member.voted, member.dirty = peer, True
        member.persist()
    member.role, member.ballot = Role.FOLLOWER, {}
    member.wait(now_ns)
    member.say_after(member.vote_number, peer, VoteAnswer(term=member.term, granted=True))
