"""Votes: what a machine of others made counts when machines of enough owners have come to the same.

The first outcome of a task by a stranger's machine is held, and the task waits again, to be done by a machine of another owner,
or ours. The outcome that makes enough of them agree is the one that is committed; the others leave a vote, which is whose
machine it was and what it came to. Ours is believed: where it differs from others only ours is asked again, and what ours says
twice counts. Where no majority comes about the task fails, and nobody is blamed.

Where it is sure, while the first still runs, that another will have to do the same, it may be begun beside it (``may_copy``):
never more than two at once, and never what a draw after the work could yet spare. Which of them ends first does not matter: each
is a vote, or what counts.

Who is checked: each machine that has no record; of others a share, by dice that were drawn after the work was done
(kernel/auditing). Who disagrees with what counts is out; one that failed at it, by an exit code, begins anew. The record is that
of a node, whose name is its key: an account is only said to own it, so a liar could claim a good name, or ruin one.
Invariant: an outcome of a stranger that is to be checked never counts by the word of one owner. Source: BOINC's quorums.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec.structs import replace

from worldos.kernel.auditing import Auditing
from worldos.kernel.line import spans
from worldos.kernel.line.job import Job, Vote
from worldos.model.ids import NodeId
from worldos.model.work import Attempt, JobSpec, Made, Outcome

CODE_SPLIT: Final = 125  # of a task whose copies came to different results
ENOUGH_OURS: Final = 2  # what ours says so often counts
PRINT_BYTES: Final = 16  # of a digest: first of the files, then of the output
_OURS: Final = Made(owner="", digest=b"")


class Ruling(NamedTuple):
    """What becomes of an outcome. ``outcome``: what counts, or None: it is done again.

    ``unneeded``: copies whose files are to go. ``agreed``: how many of how many came to it, as one number; 0: it was not checked.
    """

    outcome: Outcome | None
    unneeded: tuple[Attempt, ...] = ()
    agreed: int = 0
    is_split: bool = False


def ruling(job: Job, attempt: Attempt, outcome: Outcome, providers: Auditing) -> Ruling:
    """Take in what an attempt came to, and say what that makes of its task."""
    made = outcome.made or _OURS
    votes = job.votes.get(attempt.index, [])
    if not votes and not made.owner:
        return Ruling(outcome)
    if job.spec.copies == 1:
        return Ruling(outcome)
    mine = Vote(
        made.owner, made.node, attempt.number, outcome.code, made.digest, bool(outcome.result_file or outcome.log_file)
    )
    if made.owner:
        node = NodeId(made.node)
        if providers.is_out(node) or not _may_vote(mine, votes):
            return Ruling(None, _unneeded(attempt, [mine]))
        is_due = providers.wants_check(node, made.dice)
        if not votes and job.spec.copies == 0 and not is_due:
            return Ruling(outcome)
    votes = [*votes, mine]
    if _agrees(votes, needed(job.spec)):
        _judge(votes, providers)
        job.votes.pop(attempt.index, None)
        agree = sum(vote.says(mine) for vote in votes)
        return Ruling(outcome, _unneeded(attempt, votes[:-1]), agree * 16 + len(votes))
    if len(votes) < 2 * needed(job.spec) - 1:
        job.votes[attempt.index] = votes
        return Ruling(None)
    job.votes.pop(attempt.index, None)
    split = Outcome(code=CODE_SPLIT, why=_why(votes), cpu_us=outcome.cpu_us, wall_us=outcome.wall_us)
    return Ruling(split, _unneeded(attempt, votes), is_split=True)


def needed(spec: JobSpec) -> int:
    """Return how many owners' machines must come to the same, where that is checked."""
    return spec.copies or 2


def apart(job: Job, index: int, number: int = 0) -> tuple[str, ...]:
    """Return the owners whose machines have done a task already (empty text: ours), and these machines.

    Beside them those that are at it now, under another number than this.
    """
    votes = job.votes.get(index, ())
    found = {vote.owner for vote in votes} | {vote.node for vote in votes if vote.owner}
    older = job.beside.get(index)
    if older is not None and older.number != number:
        found |= {older.owner, older.at}
    return tuple(sorted(found))


def may_copy(job: Job, index: int, providers: Auditing) -> bool:
    """Tell whether it is sure that what a stranger's machine does now must be done by another, which may begin beside it."""
    run = job.running.get(index)
    if run is None or not run.owner or run.alone or run.asked or index in job.beside or job.spec.copies == 1:
        return False
    past = job.past.get(index)
    if past is not None and past.checkpoint:
        return False  # its file goes with whoever ends first
    held = job.votes.get(index, ())
    if len(held) + 1 >= needed(job.spec) or any(not vote.owner for vote in held):
        return False
    node = NodeId(run.at)
    return not providers.is_out(node) and (job.spec.copies > 0 or providers.is_new(node))


def _may_vote(mine: Vote, votes: list[Vote]) -> bool:
    """Tell whether a stranger's word says something new: another machine of the same owner does not, nor any after ours."""
    return all(vote.owner not in ("", mine.owner) and vote.node != mine.node for vote in votes)


def _agrees(votes: list[Vote], most: int) -> bool:
    """Tell whether the newest vote makes enough that say the same."""
    same = [vote for vote in votes if vote.says(votes[-1])]
    return len(same) >= most or sum(not vote.owner for vote in same) >= ENOUGH_OURS


def _judge(votes: list[Vote], providers: Auditing) -> None:
    truth = votes[-1]
    for vote in votes:
        if not vote.owner:
            continue
        if vote.code and vote.code != truth.code:
            providers.failed(NodeId(vote.node))
        else:
            providers.checked(NodeId(vote.node), is_right=vote.says(truth))


def agreed(job: Job, index: int) -> tuple[int, int]:
    """Return how many of how many copies of a task agreed; (0, 0): it was not checked."""
    key = next((key for key, edges in job.agreed.items() if spans.has(edges, index)), 0)
    return key // 16, key % 16


def _unneeded(attempt: Attempt, votes: list[Vote]) -> tuple[Attempt, ...]:
    return tuple([replace(attempt, number=vote.number) for vote in votes if vote.kept])


def _why(votes: list[Vote]) -> str:
    """Say in what the copies differ."""
    ways = []
    if len({vote.code for vote in votes}) > 1:
        ways.append(f"they ended with {', '.join(str(vote.code) for vote in votes)}")
    if len({vote.digest[:PRINT_BYTES] for vote in votes}) > 1:
        ways.append("the files that they made differ")
    if len({vote.digest[PRINT_BYTES:] for vote in votes}) > 1:
        ways.append("what they put out differs")
    said = " and ".join(ways)
    return (
        f"{len(votes)} machines did it, and no {len(votes) // 2 + 1} came to the same: {said}; if it must: --unchecked"
    )
