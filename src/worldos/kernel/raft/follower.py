"""The follower: it takes the leader's log for its own, and says what of it is on its disk.

What an answer claims is on disk when it leaves: answers to entries wait for their write, answers to heartbeats claim
only what is stable already, so that a slow disk does not look like a dead member.

**Repair.** A member whose disk was damaged, or is an old backup, may have forgotten votes it gave and entries it
acknowledged; either can make two leaders of one term, or undo what was committed. It begins with a number of its own
for this repair (``mending``). While that is not 0 it never votes and never stands, and each answer carries the number;
a leader counts such answers for no commit, no read and no check of its majority. A leader that meets a new number
appends an entry *after* that, and when it is committed, by others alone, tells the member its index (``mend_index``)
together with the number. When the member's disk has that entry, it takes the leader's term as one in which it voted for
that leader, and is whole.

Why this is sound. The entry was committed in term T by a majority Q of the others, after the member came back. What it
had acknowledged and a majority with it, is in the leader's log: had a later leader than T committed something with the
forgotten help, one of Q would have been in that leader's term, and could not have helped to commit in T. A forgotten
vote for a candidate of a term after T cannot elect it: it needs one of Q too, and its log lacks the entry (or, asked
before, that one of Q could not have helped in T). In T itself, and before, the member will not vote again. An old
message cannot end a repair: it does not carry its number. A lone voter has nobody to be mended by: whoever begins it
with ``may_vote`` accepts that what its disk forgot is gone.
Source: R. Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018; the argument is that of
B. Liskov, J. Cowling, "Viewstamped Replication Revisited", 2012, section 4.3.
"""

from __future__ import annotations

from worldos.kernel.raft.effects import Followed, Mended
from worldos.kernel.raft.log import follows
from worldos.kernel.raft.member import Incoming, Member, Role
from worldos.model.ids import NodeId
from worldos.model.raft import AppendAnswer, AppendAsk, Entry, Snapshot, SnapshotAnswer, SnapshotPart


def hear(member: Member, now_ns: int, peer: NodeId, message: AppendAsk | SnapshotPart) -> None:
    """Take in what the leader of this term says."""
    hear_leader(member, now_ns, peer, rests=isinstance(message, AppendAsk) and message.rests)
    if isinstance(message, AppendAsk):
        append(member, peer, message)
    else:
        take_part(member, peer, message)


def hear_leader(member: Member, now_ns: int, peer: NodeId, *, rests: bool) -> None:
    """Note that this is the leader of the term, and alive; while the council ``rests`` it is heard seldom."""
    if member.role is not Role.FOLLOWER:
        member.follow(now_ns, member.term, peer)
    elif member.leader != peer:
        member.drop_reads()
        member.leader = peer
        member.effects.append(Followed(term=member.term, leader=peer))
    member.heard_ns = now_ns
    member.resting = rests
    member.due_ns = now_ns + member.patience_ns * member.ease
    member.hinted = False


def append(member: Member, peer: NodeId, ask: AppendAsk) -> None:
    """Take the entries if they follow what is here, in place of what contradicts them (section 5.3)."""
    log, entries, previous = member.log, ask.entries, ask.prev_index
    if previous >= log.base and log.term_at(previous) != ask.prev_term:
        refuse(member, peer, ask)
        return
    if entries and (not follows(entries, previous, ask.prev_term) or entries[-1].term > ask.term):
        return
    fresh = unknown(member, entries)
    if fresh:
        if fresh[0].index <= log.last:
            if fresh[0].index <= log.committed:
                return  # no leader contradicts what is committed
            log.cut(fresh[0].index)
        log.append(fresh)
        member.persist(fresh)
    matched = previous + len(entries)
    member.commit(min(ask.committed, matched))
    if member.mending and ask.mended == member.mending:
        member.mend_index = ask.mend_index
        mend(member)
    if ask.round:
        after = member.number if fresh else member.vote_number
        claimed = matched if fresh else min(matched, log.stable)
        answer(member, peer, claimed, after, ask.round)


def unknown(member: Member, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Return the entries from the first on that is not in the log."""
    log = member.log
    if not entries or entries[0].index > log.last:
        return entries
    for at, entry in enumerate(entries):
        if entry.index > log.base and log.term_at(entry.index) != entry.term:
            return entries[at:]
    return ()


def answer(member: Member, peer: NodeId, index: int, after: int, round_: int) -> None:
    """Say that the disk has the leader's log up to ``index``, once it has."""
    if member.dirty:
        after = member.persist()
    said = AppendAnswer(term=member.term, index=index, round=round_, mending=member.mending)
    member.say_after(after, peer, said)


def refuse(member: Member, peer: NodeId, ask: AppendAsk) -> None:
    """Say that the logs do not agree there, and where they could."""
    log = member.log
    hint = max(log.agreeing(ask.prev_index, ask.prev_term), log.committed)
    refusal = AppendAnswer(
        term=member.term,
        index=ask.prev_index,
        refused=True,
        hint_index=hint,
        hint_term=log.term_at(hint),
        round=ask.round,
        mending=member.mending,
    )
    member.say(peer, refusal)


def mend(member: Member) -> None:
    """Be whole again, if this disk has what the others committed after it came back."""
    log, target = member.log, member.mend_index
    if member.leader == "" or not 0 < target <= min(log.stable, log.committed):
        return
    member.voted, member.dirty = member.leader, True
    member.mending = member.mend_index = 0
    member.effects.append(Mended(number=member.persist()))


def take_part(member: Member, peer: NodeId, part: SnapshotPart) -> None:
    """Take a part of a snapshot; with the last one, put it in place of the log (section 7)."""
    log = member.log
    if part.index > log.committed and log.term_at(part.index) == part.index_term:
        member.commit(part.index)  # all of it is here: what follows it in the log stays
    if part.index <= log.committed:
        answer(member, peer, min(part.index, log.stable), member.vote_number, 0)
        return
    if part.index_term > part.term:
        return
    incoming = member.incoming
    if incoming is None or (incoming.index, incoming.term, incoming.size) != (part.index, part.index_term, part.size):
        incoming = Incoming(term=part.index_term, index=part.index, config=part.config, size=part.size)
        member.incoming = incoming
    if part.offset == incoming.received and incoming.received + len(part.data) <= incoming.size:
        incoming.parts.append(part.data)
        incoming.received += len(part.data)
        if incoming.received == incoming.size:
            install(member, peer, incoming)
            return
    member.say(peer, SnapshotAnswer(term=member.term, index=part.index, received=incoming.received))


def install(member: Member, peer: NodeId, incoming: Incoming) -> None:
    """Put the snapshot in place of the log."""
    member.incoming = None
    state = b"".join(incoming.parts)
    snapshot = Snapshot(term=incoming.term, index=incoming.index, config=incoming.config, state=state)
    member.restore(snapshot)
    answer(member, peer, snapshot.index, member.number, 0)
