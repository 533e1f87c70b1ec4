"""The leader: it alone puts entries into the log, sends them ahead of the answers, and counts who has them.

An entry is committed when a majority of the voters has it on disk and it is of the leader's own term; all before it are
then committed too (section 5.4.2). The leader's own disk is one among the voters': it sends entries while it writes
them (thesis, 10.2.1). While a write or an answer is missing, proposals gather, and go out together when it comes: alone,
a proposal leaves at once; under load, batches grow by themselves.

Members of the council change one at a time (thesis, 4.1), and only after an entry of the own term is committed (the
correction of 2015: https://groups.google.com/g/raft-dev/c/t4xj6dJTP6E).

A leader whose pace allows it lets the council rest when for some beats nothing was new and everybody has the whole log; anything
that is asked of it, or that it misses, ends the rest.
"""

from __future__ import annotations

from worldos.kernel.raft import quorum
from worldos.kernel.raft.effects import AddLearner, ConfigStep, Led, Promote, ReadLost, ReadReady, Remove
from worldos.kernel.raft.log import size_of
from worldos.kernel.raft.member import Member, Role
from worldos.kernel.raft.progress import Progress, Sending
from worldos.kernel.raft.reads import Read
from worldos.model.ids import NodeId
from worldos.model.limits import (
    NEVER_NS,
    RAFT_CAUGHT_UP_ENTRIES,
    RAFT_LEARNERS_MAX,
    RAFT_READS_MAX,
    RAFT_REST_BEATS,
    RAFT_SNAPSHOT_PART_BYTES,
    RAFT_VOTERS_MAX,
)
from worldos.model.raft import (
    NOBODY,
    AppendAnswer,
    AppendAsk,
    Config,
    Entry,
    ReadAnswer,
    SnapshotAnswer,
    SnapshotPart,
    TimeoutNow,
)


def lead(member: Member, now_ns: int) -> None:
    """Begin to lead: with an entry of the new term, so that older ones can be committed."""
    log = member.log
    member.drop_reads()
    member.role, member.leader = Role.LEADER, member.me
    member.hinted = False
    member.ballot = {}
    member.peers = {}
    member.heir = NOBODY
    member.resting, member.still = False, 0
    log.open_bytes = 0
    meet(member, now_ns)
    member.effects.append(Led(term=member.term))
    member.lead_index = append(member, b"", None)
    member.due_ns = now_ns + member.pace.heartbeat_ns
    member.reads.round = 1
    advance(member)


def append(member: Member, command: bytes, config: Config | None) -> int:
    """Put an entry at the end of the log; return its index."""
    log = member.log
    entry = Entry(term=member.term, index=log.base + len(log.entries) + 1, command=command, config=config)
    log.entries.append(entry)
    if config is not None:
        log.configs.append((entry.index, config))
    log.open_bytes += size_of(entry)
    return entry.index


def advance(member: Member) -> None:
    """Write and send what can be, after the log grew."""
    if not member.log.writes:
        member.flush()
    for node, progress in member.peers.items():
        pump(member, node, progress)


def pump(member: Member, node: NodeId, progress: Progress) -> None:
    """Send this member what it lacks, within bounds; and how far the log is committed, if nothing else says it."""
    log = member.log
    if progress.sending is not None:
        return
    waiting = log.base + len(log.entries) + 1 - progress.next
    while waiting > 0 and progress.may_send(waiting):
        previous = log.term_at(progress.next - 1)
        if previous < 0:
            begin_sending(member, node, progress)
            return
        entries = log.batch(progress.next)
        member.say(node, ask(member, progress, progress.next - 1, previous, entries))
        progress.sent(entries[-1].index)
        waiting -= len(entries)
    late = member.pace.tells_late and node in member.peers  # who is left out hears it now: nothing comes next
    if progress.told < log.committed and not (late or progress.probing or progress.inflight):
        notice = AppendAsk(
            term=member.term,
            prev_index=progress.next - 1,
            prev_term=log.term_at(progress.next - 1),
            committed=log.committed,
        )
        progress.told = log.committed
        member.say(node, notice)


def ask(
    member: Member, progress: Progress, prev_index: int, prev_term: int, entries: tuple[Entry, ...] = ()
) -> AppendAsk:
    """Return the question whether this comes after that."""
    progress.told = member.log.committed
    mended = progress.mending if 0 < progress.mend_index <= member.log.committed else 0
    return AppendAsk(
        term=member.term,
        prev_index=prev_index,
        prev_term=prev_term,
        committed=member.log.committed,
        entries=entries,
        round=member.reads.round,
        mended=mended,
        mend_index=progress.mend_index if mended else 0,
        rests=member.resting,
    )


def begin_sending(member: Member, node: NodeId, progress: Progress) -> None:
    """Send the snapshot: what this member lacks is no longer in the log."""
    assert member.log.snapshot is not None, "only a snapshot takes entries out of the log"
    progress.sending = Sending(snapshot=member.log.snapshot)
    progress.next = member.log.snapshot.index + 1
    progress.inflight.clear()
    send_part(member, node, progress.sending)


def send_part(member: Member, node: NodeId, sending: Sending) -> None:
    """Send the part of the snapshot that comes next."""
    snapshot = sending.snapshot
    part = SnapshotPart(
        term=member.term,
        index=snapshot.index,
        index_term=snapshot.term,
        config=snapshot.config,
        size=len(snapshot.state),
        offset=sending.offset,
        data=snapshot.state[sending.offset : sending.offset + RAFT_SNAPSHOT_PART_BYTES],
    )
    member.say(node, part)


def beat(member: Member, now_ns: int) -> None:
    """Look whether a majority still answers; if so, tell everybody that this member leads."""
    since_ns = now_ns - member.pace.election_max_ns * member.ease
    if now_ns - member.woke_ns < member.pace.election_max_ns:  # before, they had no need to say anything
        since_ns = -NEVER_NS
    heard = {node: progress.heard_ns >= since_ns for node, progress in member.peers.items()}
    heard[member.me] = True
    if not quorum.won(member.log.config, heard):
        member.follow(now_ns, member.term, NOBODY)
        return
    if member.heir != NOBODY and now_ns >= member.heir_until_ns:
        member.heir = NOBODY
    for node, progress in member.peers.items():
        if progress.sending is not None:
            if not progress.sending.moved:
                send_part(member, node, progress.sending)
            progress.sending.moved = False
    member.still = member.still + 1 if is_settled(member) else 0
    member.resting = member.pace.rests > 1 and member.still > RAFT_REST_BEATS
    ask_round(member, now_ns)
    member.due_ns = now_ns + member.pace.heartbeat_ns * member.ease


def is_settled(member: Member) -> bool:
    """Tell whether everybody has the whole log and knows that it is committed, and nobody waits for anything."""
    log, reads = member.log, member.reads
    if log.committed < log.last or log.stable < log.last or member.heir != NOBODY or reads.early or reads.waiting:
        return False
    return all(
        progress.match == log.last
        and progress.told == log.committed
        and not (progress.probing or progress.mending or progress.sending)
        for progress in member.peers.values()
    )


def wake(member: Member, now_ns: int) -> None:
    """End a rest: something is wanted, or somebody is missing."""
    member.still = 0
    if member.resting:
        member.resting, member.woke_ns = False, now_ns
        member.due_ns = min(member.due_ns, now_ns + member.pace.heartbeat_ns)


def ask_round(member: Member, now_ns: int) -> None:
    """Send a heartbeat to everybody; a majority of answers confirms that this member led when it was sent."""
    log = member.log
    member.reads.round += 1
    for node, progress in member.peers.items():
        prev_index = progress.next - 1
        prev_term = log.term_at(prev_index)
        if prev_term < 0 and progress.sending is None:
            begin_sending(member, node, progress)  # what was on the way to it is lost, and compacted since
        if progress.sending is not None:
            prev_index = prev_term = 0  # agrees with every log, and says nothing of this one
        member.say(node, ask(member, progress, prev_index, prev_term))
    confirm(member, now_ns)


def hear(member: Member, now_ns: int, peer: NodeId, message: AppendAnswer | SnapshotAnswer) -> None:
    """Take in what a member says of its log."""
    if isinstance(message, AppendAnswer):
        answered(member, now_ns, peer, message)
    else:
        part_answered(member, peer, message)


def answered(member: Member, now_ns: int, peer: NodeId, answer: AppendAnswer) -> None:
    """Take in how far a member has got."""
    progress = member.peers.get(peer)
    if progress is None or answer.index > member.log.last or answer.round > member.reads.round:
        return
    if answer.mending and answer.mending != progress.mending and not member.log.full:
        wake(member, now_ns)
        progress = begin_mending(member, peer, progress, answer.mending)
    if answer.refused:
        refused(member, progress, answer)
    else:
        progress.reached(answer.index)
    if not answer.mending:
        progress.mending = progress.mend_index = 0
        progress.heard_ns = now_ns
        if answer.round > progress.round:
            progress.round = answer.round
            confirm(member, now_ns)
        if not answer.refused and answer.index > progress.safe:
            progress.safe = answer.index
            count(member, now_ns)
    if member.role is Role.LEADER:
        pump(member, peer, progress)
        if peer == member.heir:
            hand_to_heir(member)


def begin_mending(member: Member, peer: NodeId, old: Progress, number: int) -> Progress:
    """Begin anew with a member that came back damaged, and see to it that something is committed after that.

    What it said before it broke still counts as far as it went (``safe``); what it says now does not.
    """
    fresh = Progress(next=old.next, heard_ns=old.heard_ns, safe=old.safe, round=old.round, mending=number)
    member.peers[peer] = fresh
    fresh.mend_index = append(member, b"", None)
    advance(member)
    return fresh


def refused(member: Member, progress: Progress, answer: AppendAnswer) -> None:
    """Go back to where the logs could agree, in one step for each term they differ in (section 5.3, the last page)."""
    if progress.sending is not None or answer.index <= progress.match:
        return
    if progress.probing and answer.index != progress.next - 1:
        return
    agreeing = member.log.agreeing(min(answer.hint_index, answer.index - 1), answer.hint_term)
    progress.probe(min(agreeing + 1, answer.index))


def part_answered(member: Member, peer: NodeId, answer: SnapshotAnswer) -> None:
    """Send the next part of a snapshot."""
    progress = member.peers.get(peer)
    if progress is None or progress.sending is None or progress.sending.snapshot.index != answer.index:
        return
    sending = progress.sending
    if answer.received == sending.offset or answer.received > len(sending.snapshot.state):
        return
    sending.offset, sending.moved = answer.received, True
    if sending.offset < len(sending.snapshot.state):
        send_part(member, peer, sending)


def count(member: Member, now_ns: int) -> None:
    """Commit what a majority of the voters has on disk, if it is of this term."""
    log, peers = member.log, member.peers
    reached = []
    for voter in log.config.voters:
        if voter == member.me:
            reached.append(log.stable)
        else:
            progress = peers.get(voter)
            reached.append(0 if progress is None else progress.safe)
    index = quorum.agreed(reached)
    if index <= log.committed or log.term_at(index) != member.term:
        return
    first = log.committed < member.lead_index
    pending = log.committed < log.config_index
    before = log.committed
    member.commit(index)
    log.open_bytes -= sum(size_of(entry) for entry in log.entries[before - log.base : index - log.base])
    if first:
        ask_early_reads(member, now_ns)
    if pending and index >= log.config_index:
        settle(member, now_ns)
    for node, progress in list(member.peers.items()):
        pump(member, node, progress)


def meet(member: Member, now_ns: int) -> None:
    """Know everybody in the configuration."""
    config = member.log.config
    for node in config.voters + config.learners:
        if node != member.me and node not in member.peers:
            member.peers[node] = Progress(next=member.log.last + 1, heard_ns=now_ns)


def settle(member: Member, now_ns: int) -> None:
    """Let those go whom the configuration that was just committed leaves out; they hear it as the last thing."""
    config = member.log.config
    for node in [node for node in member.peers if node not in config.voters + config.learners]:
        progress = member.peers.pop(node)
        progress.probing = False
        progress.inflight.clear()
        pump(member, node, progress)
    if member.me not in config.voters:
        heir = next((node for node in config.voters if member.peers[node].match == member.log.last), NOBODY)
        for node, progress in member.peers.items():
            pump(member, node, progress)
        if heir != NOBODY:
            member.say(heir, TimeoutNow(term=member.term))
        member.follow(now_ns, member.term, NOBODY)


def next_config(member: Member, step: ConfigStep) -> Config | None:
    """Return the configuration after the step, or None if it cannot be taken now."""
    log = member.log
    config = log.config
    if member.heir != NOBODY or log.committed < max(member.lead_index, log.config_index):
        return None
    voters, learners = config.voters, config.learners
    match step:
        case AddLearner():
            if step.node in voters + learners or len(learners) >= RAFT_LEARNERS_MAX or not 0 < len(step.node) <= 64:
                return None
            return Config(voters=voters, learners=tuple(sorted((*learners, step.node))))
        case Promote():
            progress = member.peers.get(step.node)
            if step.node not in learners or len(voters) >= RAFT_VOTERS_MAX or progress is None:
                return None
            if progress.mending or progress.match + RAFT_CAUGHT_UP_ENTRIES < log.last:
                return None
            return Config(
                voters=tuple(sorted((*voters, step.node))), learners=tuple(n for n in learners if n != step.node)
            )
        case Remove():
            left = tuple(node for node in voters if node != step.node)
            if step.node not in voters + learners or not left:
                return None
            return Config(voters=left, learners=tuple(n for n in learners if n != step.node))


def change(member: Member, now_ns: int, step: ConfigStep) -> int:
    """Take a step towards another council; return the index of its entry, or 0 if it cannot be taken now."""
    config = next_config(member, step)
    if config is None:
        return 0
    wake(member, now_ns)
    index = append(member, b"", config)
    meet(member, now_ns)
    advance(member)
    count(member, now_ns)
    return index


def hand_over(member: Member, now_ns: int, heir: NodeId) -> None:
    """Bring this voter up to date, then let it stand for election; until then take no proposals (thesis, 3.10)."""
    if heir == member.me or heir not in member.log.config.voters or member.peers[heir].mending:
        return
    wake(member, now_ns)
    member.heir, member.heir_until_ns = heir, now_ns + member.pace.election_max_ns
    hand_to_heir(member)


def hand_to_heir(member: Member) -> None:
    """Let the heir stand for election if its log is as this one."""
    progress = member.peers.get(member.heir)
    if progress is not None and progress.match == member.log.last:
        member.say(member.heir, TimeoutNow(term=member.term))


def read(member: Member, now_ns: int, ticket: int, origin: NodeId) -> None:
    """Have a majority confirm that this member leads, for a question that came now."""
    reads = member.reads
    if reads.open >= RAFT_READS_MAX:
        lose(member, Read(ticket=ticket, index=0, round=0, origin=origin))
    elif member.log.committed < member.lead_index:
        reads.early.append(Read(ticket=ticket, index=0, round=0, origin=origin))
    else:
        wake(member, now_ns)
        idle = not reads.waiting
        reads.waiting.append(Read(ticket=ticket, index=member.log.committed, round=reads.round + 1, origin=origin))
        if idle:
            ask_round(member, now_ns)


def ask_early_reads(member: Member, now_ns: int) -> None:
    """Ask for the reads that came before this leader knew how far the log was committed."""
    early, member.reads.early = member.reads.early, []
    for waiting in early:
        read(member, now_ns, waiting.ticket, waiting.origin)


def confirm(member: Member, now_ns: int) -> None:
    """Answer the reads whose round a majority has answered; ask for those that came meanwhile."""
    reads = member.reads
    if not reads.waiting:
        return
    rounds = []
    for voter in member.log.config.voters:
        progress = member.peers.get(voter)
        rounds.append(reads.round if voter == member.me else 0 if progress is None else progress.round)
    ready = reads.confirm(quorum.agreed(rounds))
    for waiting in ready:
        if waiting.origin == NOBODY:
            member.effects.append(ReadReady(ticket=waiting.ticket, index=waiting.index))
        else:
            answer = ReadAnswer(term=member.term, ticket=waiting.ticket, index=waiting.index)
            member.say(waiting.origin, answer)
    if ready and reads.waiting:
        ask_round(member, now_ns)


def lose(member: Member, lost: Read) -> None:
    """Say that this read has no answer."""
    if lost.origin == NOBODY:
        member.effects.append(ReadLost(ticket=lost.ticket))
    else:
        member.say(lost.origin, ReadAnswer(term=member.term, ticket=lost.ticket, index=0))
