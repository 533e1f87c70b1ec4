"""Every bound of the kernel, with its unit, and how the bounds must relate (asserted at import).

Bounds are not configuration: two users would not set them differently.
"""

from __future__ import annotations

from typing import Final

MS: Final = 1_000_000
SECOND: Final = 1_000 * MS
MINUTE: Final = 60 * SECOND
NEVER_NS: Final = 1 << 62  # a deadline that does not come

# -- leases ---------------------------------------------------------------------------------------------------------------
LEASE_TTL_DEFAULT_NS: Final = 10 * SECOND
LEASE_TTL_MIN_NS: Final = 2 * SECOND
LEASE_TTL_MAX_NS: Final = 24 * 60 * MINUTE
LEASE_RENEW_PART: Final = 3  # a holder renews when 1/3 of the ttl has gone
LEASE_GRACE_PART: Final = 8  # the node keeps a lease 1/8 longer than the holder believes: clock rates differ
LEASES_PER_NODE_MAX: Final = 4096
LEASE_YIELD_GRACE_NS: Final = 2 * SECOND  # what is asked back may end what it does for so long
LEASE_YIELD_MARGIN_NS: Final = 500 * MS  # ... and who waits for it so much longer
LEASES_WAITING_MAX: Final = 64  # asks that wait on one node for what others give back
NEED_PRIORITY_MAX: Final = 100  # the least is as far below zero
GAIN_MS_MAX: Final = 1 << 40
GANG_HOLD_NS: Final = 3 * SECOND  # a reserved part of a gang returns by itself after this
GANG_PARTS_MAX: Final = 256
DATA_PLACES_MAX: Final = 64  # nodes that a need names because its data lies there

# -- lending to others --------------------------------------------------------------------------------------------------------
LEND_GRACE_NS: Final = 60 * SECOND  # a guest whom the rules do not keep any more has so long to end
GOING_DRAIN_S: Final = 300  # a node that foresees its end sooner than this begins nothing new for others
LEND_REST_MAX_NS: Final = 10 * MINUTE  # ... and one that was told to rest is sent elsewhere after this

# -- asking ---------------------------------------------------------------------------------------------------------------
ASK_TIMEOUT_NS: Final = 800 * MS  # a node that does not answer an ask in this time is passed over
USE_TRIES_MAX: Final = 8  # offers are soft state: how many refusals are worth another look
USES_PENDING_MAX: Final = 4096
REPLACE_RETRY_NS: Final = 250 * MS  # how often a place for a lost lease is looked for again
REPLACE_FOR_NS: Final = 15 * SECOND  # ... and for how long

# -- membership (SWIM with Lifeguard) ---------------------------------------------------------------------------------------
PROBE_PERIOD_NS: Final = 250 * MS
PROBE_TIMEOUT_NS: Final = 300 * MS
PROBE_INDIRECT_TIMEOUT_NS: Final = 250 * MS
PROBE_INDIRECT_PEERS: Final = 3
SUSPICION_MIN_NS: Final = 2 * SECOND
SUSPICION_MAX_NS: Final = 8 * SECOND
DEAD_KEPT_NS: Final = 60 * MINUTE  # a dead node is still shown, as offline, for this long
MEMBERS_MAX: Final = 256

# -- the key log ----------------------------------------------------------------------------------------------------------
KEYLOG_COMPARE_NS: Final = 3 * SECOND  # so often a node tells one peer, each in turn, how far its key log goes

# -- offers ---------------------------------------------------------------------------------------------------------------
OFFER_CHANGE_PERCENT: Final = 5  # a change above this is told at once
OFFER_PERIOD_MIN_NS: Final = 100 * MS  # ... but not more often than this
OFFER_REFRESH_NS: Final = 20 * SECOND  # and without a change this often
RESOURCES_PER_NODE_MAX: Final = 512
HISTORY_PER_RESOURCE_MAX: Final = 64

# -- centers --------------------------------------------------------------------------------------------------------------
EPOCH_LEAP_MAX: Final = 1 << 20  # an epoch further ahead than this is not believed
ISLAND_AFTER_NS: Final = 1_200 * MS  # without a center for so long, the best of those that are left stands in
ISLAND_STEP_NS: Final = 600 * MS  # ... each further one so much later
CENTER_TELL_NS: Final = 10 * SECOND  # a primary says who it is on every change, and this often
CENTER_LOOK_NS: Final = 1 * SECOND  # a primary looks after its council and its summary this often
PETITION_NS: Final = 8 * SECOND  # a command waits so long for a primary that can put it into the charter
PETITION_AGAIN_NS: Final = 250 * MS  # ... and is tried again this often while there is none
PETITIONS_MAX: Final = 256
SEATS_MAX: Final = 16  # councils that one node may sit in
GUEST_NS: Final = 60 * SECOND  # so long may a node of another account come and ask, and renewed while it has leases
BID_WAIT_NS: Final = 4 * SECOND  # so long a program's need is looked for above its site
LOOKS_MAX: Final = 2  # candidates are soft state too: a second look when all of the first refused
FAR_ASK_TIMEOUT_NS: Final = 3 * SECOND  # a far node must be dialled first

# -- superiors and children -------------------------------------------------------------------------------------------------
REGISTER_PERIOD_NS: Final = 5 * SECOND  # a realm tells its superior that it is there
REGISTER_TTL_NS: Final = 15 * SECOND  # ... and is gone when it was not heard for so long
REGISTER_TIMEOUT_NS: Final = 1 * SECOND  # the superior answers within this, or another of its council is asked
REGISTER_DIAL_NS: Final = 2 * SECOND  # ... and this, if it must be dialled first
CHILD_GRACE_NS: Final = 2 * SECOND  # a child whose primary's links are gone has so long to come with another
CHILDREN_MAX: Final = 2048
PARENTS_MAX: Final = 16
SPARES_MAX: Final = 2
REDIRECTS_MAX: Final = 4
SUMMARY_PERIOD_NS: Final = 1 * SECOND
SHED_PERMILLE: Final = 900  # above this load a center sends away children that can go elsewhere
SHED_PERIOD_NS: Final = 1 * SECOND  # ... not more than one in this time
AWAY_MIN_NS: Final = 1 * SECOND  # a parent that refused or was silent is passed over for so long, doubling
AWAY_MAX_NS: Final = 4 * SECOND
LOOP_AWAY_NS: Final = 60 * SECOND  # a parent that is below this realm, as it says itself
SHED_AWAY_NS: Final = 30 * SECOND  # a parent that was too busy is passed over for so long
BETTER_PERMILLE: Final = 300  # another parent is taken when it costs so much less
BETTER_US: Final = 3 * 1000  # ... and at least this
BETTER_FOR_NS: Final = 3 * SECOND  # ... for so long without a break
MOVED_FOR_NS: Final = 1 * SECOND  # ... or for so long, while the link to the active one was lost and made again
MOVED_WITHIN_NS: Final = 5 * SECOND  # ... within this
LEFT_MIN_NS: Final = (
    3 * SECOND
)  # a parent that was left is not chosen again for so long, doubling while it goes back and forth
LEFT_MAX_NS: Final = 300 * SECOND
STEADY_NS: Final = 120 * SECOND  # who stayed for so long does not go back and forth
PARENTS_LOOK_NS: Final = 500 * MS  # parents are compared this often
CREDIT_MAX: Final = 1000
CREDIT_PER_SECOND: Final = 10

# -- bids -------------------------------------------------------------------------------------------------------------------
BID_FANOUT: Final = 3  # so many children are asked at once
BID_ROUNDS_MAX: Final = 2
BID_WAIT_MAX_NS: Final = 30 * SECOND
BID_WAIT_MIN_NS: Final = 10 * MS  # with less time left nobody else is asked
BID_LINGER_NS: Final = 50 * MS  # when somebody can, so long is waited for somebody better
BIDS_MAX: Final = 4096
BIDS_PER_PEER_MAX: Final = 1024
BID_TICK_NS: Final = 5 * MS

# -- words and bytes ------------------------------------------------------------------------------------------------------
NAME_CHARS_MAX: Final = 64
WHERE_CHARS_MAX: Final = 512
WHERE_DEPTH_MAX: Final = 16
MESSAGE_BYTES_MAX: Final = 512 * 1024
LOCAL_MESSAGE_BYTES_MAX: Final = 8 * 1024 * 1024

assert LEASE_TTL_MIN_NS <= LEASE_TTL_DEFAULT_NS <= LEASE_TTL_MAX_NS
assert LEASE_TTL_MIN_NS // LEASE_RENEW_PART > ASK_TIMEOUT_NS // 2, "a renewal must have time for a second try"
assert GANG_HOLD_NS > LEASE_YIELD_GRACE_NS + LEASE_YIELD_MARGIN_NS, "a gang may wait for what yields"
assert GANG_HOLD_NS > 2 * ASK_TIMEOUT_NS, "both phases of a gang must fit in the hold"
assert PROBE_PERIOD_NS + PROBE_TIMEOUT_NS + PROBE_INDIRECT_TIMEOUT_NS <= SECOND, "a silent node is suspected within 1 s"
assert OFFER_PERIOD_MIN_NS < SECOND, "a change is seen by the others in under a second"

# -- the council's log (Raft) ---------------------------------------------------------------------------------------------
RAFT_VOTERS_MAX: Final = 7  # a council of 5, and one more while a seat changes hands
RAFT_LEARNERS_MAX: Final = 16
RAFT_COMMAND_BYTES_MAX: Final = 64 * 1024
RAFT_BATCH_BYTES: Final = 256 * 1024  # an append is closed when its entries reach this
RAFT_BATCH_ENTRIES_MAX: Final = 2048
RAFT_ENTRY_BYTES: Final = 48  # what an entry costs beside its command, at most
RAFT_CONFIG_BYTES: Final = 2048  # what a configuration costs, at most
RAFT_INFLIGHT_MAX: Final = 8  # full batches on the way to one member
RAFT_INFLIGHT_SMALL: Final = 2  # ... and small ones: the next waits for an answer, and grows meanwhile
RAFT_UNCOMMITTED_ENTRIES_MAX: Final = 16 * 1024  # beyond it a leader takes no proposals
RAFT_UNCOMMITTED_BYTES_MAX: Final = 16 * 1024 * 1024
RAFT_KEPT_ENTRIES: Final = 1024  # so many entries before a snapshot stay, for members a little behind
RAFT_KEPT_BYTES: Final = 4 * 1024 * 1024  # ... but no more of them than this
RAFT_SNAPSHOT_PART_BYTES: Final = 256 * 1024
RAFT_SNAPSHOT_BYTES_MAX: Final = 64 * 1024 * 1024
RAFT_READS_MAX: Final = 4096
RAFT_HELD_MAX: Final = 4096  # answers that wait for the disk
RAFT_HINT_NS: Final = 50 * MS  # a candidacy begins so soon after the leader's links closed
RAFT_CAUGHT_UP_ENTRIES: Final = 256  # a learner that is no further behind may become a voter
RAFT_REST_BEATS: Final = 20  # of a leader without any news; then a council may rest, whose pace lets it
RAFT_TERM_JUMP_MAX: Final = 1 << 32  # a term further ahead than this is no term of ours

assert RAFT_BATCH_BYTES + RAFT_COMMAND_BYTES_MAX + RAFT_ENTRY_BYTES + RAFT_CONFIG_BYTES < MESSAGE_BYTES_MAX
assert RAFT_SNAPSHOT_PART_BYTES < MESSAGE_BYTES_MAX - RAFT_CONFIG_BYTES
assert REGISTER_TTL_NS >= 2 * REGISTER_PERIOD_NS + REGISTER_TIMEOUT_NS, (
    "a lost registration must have time for a second try"
)
assert REGISTER_TIMEOUT_NS + BETTER_FOR_NS < 5 * SECOND, "a laptop whose way changes has a new center within 5 s"
assert 2 * SECOND + MOVED_FOR_NS + REGISTER_TIMEOUT_NS < 5 * SECOND, "... and one whose links die first (fabric: 2 s)"

# -- kin, charter and council ---------------------------------------------------------------------------------------------
KIN_STANDING_MAX: Final = 3072  # nodes of other accounts that belong here while their reason holds
KIN_GUESTS_MAX: Final = 1024  # ... and those that come for a while
KIN_MAX: Final = KIN_STANDING_MAX + KIN_GUESTS_MAX
KIN_PER_REASON_MAX: Final = 1024
KIN_REASONS_MAX: Final = 32  # for one node
CHARTER_CHILDREN_MAX: Final = 1024
CHARTER_POLICIES_MAX: Final = 64
CHARTER_ALLOTMENTS_MAX: Final = 4096
CHARTER_CONTACT_BYTES: Final = 5 * 1024  # what a contact costs, at most
CHARTER_COMPACT_ENTRIES: Final = 512  # a seat writes its charter down, in place of the log, after so many entries

assert CHARTER_CHILDREN_MAX * 8 * CHARTER_CONTACT_BYTES < RAFT_SNAPSHOT_BYTES_MAX, "a charter must fit in a snapshot"
SEAT_DEAD_NS: Final = 30 * SECOND  # a member of a council that is dead for so long is replaced
SEAT_GIVEN_UP_NS: Final = 5 * MINUTE  # ... and without anybody to replace it, its seat goes after this
SEAT_SETTLED_NS: Final = 3 * SECOND  # who is offered a seat has been heard for so long
SEAT_LEARN_NS: Final = 60 * SECOND  # a newcomer that has not caught up by then makes room for another
SEAT_PASSED_OVER_NS: Final = 10 * MINUTE  # ... and is not asked again before this
SEAT_FITTER_TIMES: Final = 2  # who is so many times as fit as a member ...
SEAT_FITTER_NS: Final = 10 * MINUTE  # ... for so long takes its seat
SEAT_LONE_NS: Final = 60 * SECOND  # a lone member whose disk was damaged leads again if nobody else does for so long
