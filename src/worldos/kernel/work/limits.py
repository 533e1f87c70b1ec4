"""Bounds of a site's work. All of it must fit into one snapshot of the council's log, so each part has its share of that."""

from __future__ import annotations

from typing import Final

from worldos.model.limits import MS, RAFT_COMMAND_BYTES_MAX, RAFT_SNAPSHOT_BYTES_MAX, SECOND

JOBS_MAX: Final = 100_000  # in line, ended ones not counted
TASKS_MAX: Final = 2_000_000  # of all jobs that have not ended
RUNNING_MAX: Final = 20_000  # attempts at once
SPEC_BYTES_MAX: Final = 12 << 20  # what all jobs say of themselves, as bytes of a snapshot
OUTCOME_BYTES_MAX: Final = 8 << 20  # tails, results and words of how tasks ended, of all jobs
TAIL_BYTES_EASY: Final = OUTCOME_BYTES_MAX // 2  # up to here the tails of tasks that ended well are kept, too
JOB_BYTES: Final = 192  # of a job beside its spec
OUTCOME_BYTES: Final = 48  # of an outcome beside its texts

STORY_BYTES_MAX: Final = 12 << 20  # of tasks tried before, or ended apart from others; above it none is begun
EDGE_BYTES: Final = 5  # of a run of tasks that are alike: where it begins, or ends
PAST_BYTES: Final = 14  # of a task that was tried before
VOTE_BYTES: Final = 168  # of what a machine of others came to, until another has come to the same
PROVIDERS_MAX: Final = 4_096  # such machines that are remembered
PROVIDER_BYTES: Final = 192
RUN_BYTES: Final = 228  # of an attempt that runs

ENDED_MAX: Final = 10_000  # jobs that have ended and are remembered; the oldest go first
ENDED_BYTES_MAX: Final = 8 << 20
ENDED_MS: Final = 7 * 86_400_000  # so long at most
FORGOTTEN_MAX: Final = 10_000  # ids of forgotten jobs: a late second Submit must not run them again

WORKED_MAX: Final = 4_096  # commands of which is known how long their tasks take
WORKED_TASKS: Final = 64  # of the last of them, about
WORKED_US_MAX: Final = 1 << 50  # longer than any task
LEARNED_BYTES_MIN: Final = 64 << 20  # tasks that took less memory are not placed by it
LEARNED_FALL: Final = (
    8  # one that takes less takes away this part of the difference; one that takes more counts at once
)

LOST_WHY_CHARS_MAX: Final = 200  # of why an attempt was lost, while its job waits for another to begin
LOSSES_MAX: Final = 20  # a task that was lost so often is what loses its nodes: it has failed
REST_MS_MIN: Final = 125  # a job whose attempt was lost waits so long, twice as long at each further loss,
REST_MS_MAX: Final = 30_000  # ... and at most so long
STOPS_MS: Final = 20_000  # by then even a runner that reaches nobody has begun to stop what was cancelled ...
STOPS_NEAR_MS: Final = 3_000  # ... and has let it go, beside its grace, if it is reached

QUEUES_MAX: Final = 1_024
QUEUE_NAME_CHARS_MAX: Final = 120  # with room for ".dead"
QUEUE_BYTES_MAX: Final = 16 << 20  # messages in all queues
QUEUE_MESSAGE_BYTES: Final = 48  # of a message beside its body and id
TAKE_BYTES_MAX: Final = 256 << 10  # bodies handed out at once; one message always is
CONSUMERS_MAX: Final = 1_024  # of one queue, whose last taking is remembered
ALL_CONSUMERS_MAX: Final = 1 << 16  # of all queues
REMEMBERED_MAX: Final = 1 << 17  # ids of messages that are done with, of all queues: put again, they are not put
REMEMBERED_MS: Final = 600_000  # ... and for so long

_LINE_BYTES: Final = (
    SPEC_BYTES_MAX + OUTCOME_BYTES_MAX + STORY_BYTES_MAX + RUNNING_MAX * RUN_BYTES + PROVIDERS_MAX * PROVIDER_BYTES
)
_QUEUES_BYTES: Final = QUEUE_BYTES_MAX + REMEMBERED_MAX * 48 + ALL_CONSUMERS_MAX * 48 + QUEUES_MAX * 512
assert _LINE_BYTES + _QUEUES_BYTES + (1 << 20) < RAFT_SNAPSHOT_BYTES_MAX, "all of it must fit into one snapshot"

# -- the replicas, and who asks them --------------------------------------------------------------------------------------
PIECE_BYTES: Final = 60 << 10  # a longer command goes into several entries of the log
COMPACT_BYTES_MIN: Final = 8 << 20  # the log is longer than this, and than the work, when the work takes its place
ROUND_BYTES: Final = 512 << 10  # what is asked in one round goes into the log together, up to this
ASKS_MAX: Final = 16_384  # that wait at one node
ASK_NS: Final = 15 * SECOND  # so long is an answer waited for, over all changes of leader
ASK_AGAIN_NS: Final = 250 * MS  # ... and while nobody is known to lead, it is asked again this often
ASK_SILENT_NS: Final = 2 * SECOND  # a leader that does not answer in this time is asked again
ANSWER_BYTES_MAX: Final = 8 << 20  # as much as the local socket carries
TEND_NS: Final = 1 * SECOND  # a leader looks after its voters this often

assert PIECE_BYTES < RAFT_COMMAND_BYTES_MAX
assert TAKE_BYTES_MAX * 2 < ANSWER_BYTES_MAX

# -- giving tasks to nodes ------------------------------------------------------------------------------------------------
PLAN_NS: Final = 40 * MS  # after changes it is looked at most this often for what can be begun,
PLAN_JOB_NS: Final = 40_000  # ... later by this for each open job, when the last look found nothing to do,
PLAN_IDLE_NS: Final = 1 * SECOND  # ... and this often without one, while there is something to do
COMPARE_NS: Final = 250 * MS  # what is given is compared with what is held this often, while something changes
GIVE_AGAIN_NS: Final = 2_500 * MS  # an attempt that its node does not say it has is given again this often,
NOT_BEGUN_NS: Final = 15 * SECOND  # ... and after so long to another; an attempt that began and is held no more:
NOT_HELD_NS: Final = 4 * SECOND  # ... after this,
NOT_HELD_AFAR_NS: Final = 15 * SECOND  # ... or this, where its lease is at another node: by then that has surely ended
TIME_NS: Final = 1 * SECOND  # the line is told the time this often while a task waits,
TIME_IDLE_NS: Final = 30 * SECOND  # ... and this often while all that is open runs
