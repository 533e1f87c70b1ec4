"""Every bound of the depot, with its unit, and how the bounds must relate (asserted at import)."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# -- the protocol to a depot (wire.py, stream.py, server.py, link.py) ------------------------------------------------------
HEAD_BYTES_MAX: Final = 5 * MIB  # one log entry of the largest size fits, with all that is around it
PAYLOAD_BYTES_MAX: Final = 6 * MIB  # a share of the largest segment at k = 3
LEAF_BYTES: Final = 16 * KIB  # what one leaf of a share's tree covers
DIGESTS_BYTES_MAX: Final = PAYLOAD_BYTES_MAX // LEAF_BYTES * 32
IDS_PER_REQUEST_MAX: Final = 4096
ENTRIES_PER_REQUEST_MAX: Final = 4096
ENTRIES_BYTES_MAX: Final = 4 * MIB + 64 * KIB  # bodies in one answer; one whole entry always fits
LIST_LIMIT_MAX: Final = 4096  # heads and cares in one answer
NAME_CHARS_MAX: Final = 128  # ids of nodes, accounts and leases
TEXT_CHARS_MAX: Final = 1024  # what a refusal says
READ_BYTES: Final = 16 * KIB  # read ahead of each connection: many small frames come with one call
WORKERS_OWN: Final = 8  # threads of one connection, as many as it has requests under way
WORKERS_GUEST: Final = 2
CONNECTIONS_MAX: Final = 128
GUEST_CONNECTIONS_MAX: Final = 32
IDLE_S: Final = 5  # a thread without work for so long ends, or lets its buffer go if it is the last
STALL_S: Final = 60  # who stops in the middle of a frame, or takes no answer, for so long is hung up on
GUEST_APPENDED_BYTES_MAX: Final = (
    64 * MIB
)  # what a guest without a lease may add to logs that are there, in one connection
WAITING_BYTES_MAX: Final = 256 * MIB  # what a link to a sleeping depot keeps until its caller has to wait
RTT_PART: Final = 8  # a new round trip counts one eighth (RFC 6298)

assert DIGESTS_BYTES_MAX < HEAD_BYTES_MAX
assert IDS_PER_REQUEST_MAX * 40 < HEAD_BYTES_MAX
assert ENTRIES_BYTES_MAX < HEAD_BYTES_MAX
assert GUEST_CONNECTIONS_MAX < CONNECTIONS_MAX, "guests never keep the owner out"

# -- the store of blocks (packs.py, index.py, writer.py, trash.py, scrub.py) -----------------------------------------------
CONTROL_BYTES: Final = 1 * MIB  # kept free in the active pack for what gives room back
ROOM_AHEAD_BYTES: Final = 16 * MIB  # taken from the disk before it is needed
WINDOW_BYTES: Final = 4 * MIB  # read at once on a walk through a pack
PACKS_OPEN_MAX: Final = 128
GROUP_BYTES_MAX: Final = 32 * MIB  # what one sync of a pack covers, at most
GROUP_FRAMES_MAX: Final = 4096
QUEUED_BYTES_MAX: Final = 128 * MIB  # frames waiting for the disk; who puts more waits
INDEX_LAG_S: Final = 1.0  # rows are written so much later than what they are about
INDEX_LAG_ROWS: Final = 50_000
INDEX_RETRY_S: Final = 10.0  # after an index that could not be written
INDEX_CACHE_KIB: Final = 32 * KIB
TRASH_NS: Final = 7 * 24 * 3600 * 10**9  # how long a dropped share can be restored
TRASH_ROWS_MAX: Final = 4096  # emptied in one step
COMPACT_ALIVE_PERCENT: Final = 40  # a pack with less than this alive is copied and removed
SCRUB_ROWS_MAX: Final = 1024

assert CONTROL_BYTES >= 4 * 4096 * 40, "some full lists of ids fit"
assert GROUP_BYTES_MAX <= QUEUED_BYTES_MAX
