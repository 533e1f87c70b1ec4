"""Every bound of files, with its unit, and how the bounds must relate (asserted at import)."""

from __future__ import annotations

from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30

# -- asking stores ----------------------------------------------------------------------------------------------------------
LOOK_EVERY_S: Final = 1.0  # the agent is asked which stores there are no more often than this
REOPEN_AFTER_S: Final = 0.5  # a link that broke is opened again after this
HEDGE_MIN_S: Final = 0.03  # who has not answered after this, and most have, does not keep us waiting
SLOW_S: Final = 0.5  # a store that is still taking its share, while all others wait for the buffers, holds them up
SPARED_S: Final = 5.0  # ... and is sent no more for so long: what it lacks is a debt
LATE_S: Final = 3.0  # too little is known without those that are late: they are waited for this long
STANDING_S: Final = 1.5  # how things stand: each store that is not doubted is given this to say what it has
FEW_SHARES_S: Final = (
    0.03  # ... and is given this much more, again and again up to ANSWER_S, where nobody else is left to ask
)
ANSWER_S: Final = 10.0  # nobody is waited for longer than this, when there is nobody else
LAGGARD_S: Final = 0.15  # a share that the others have stored for so long is given up: it becomes a debt
STALLED_S: Final = 1.0  # too little is kept yet: who says nothing for so long, while others stored theirs, is given up

# -- writing ----------------------------------------------------------------------------------------------------------------
READ_BYTES: Final = 8 * MIB  # read from a file at a time
READ_BUFFERS: Final = 4
SEGMENTS_IN_FLIGHT: Final = 12  # small ones; of large ones as many as FLIGHT_BYTES_MAX lets
FLIGHT_BYTES_MAX: Final = 112 * MIB  # of segments and their parity in one upload
IDLE_BYTES_MAX: Final = 128 * MIB  # of buffers that wait for the next upload; those of one are kept in any case
UPLOADS_MAX: Final = 8  # at once in one program; more wait for their turn
SEGMENT_BYTES_FEW: Final = 4 * MIB  # the largest segment where k < 3: a share must fit into a frame
STORES_WIDTH_MAX: Final = (
    64  # above this only the first stores of a segment's rendezvous order are asked for its shares
)
DURABLE_MARGIN: Final = 1  # acknowledged at k + 1 devices
LEASE_BYTES_MIN: Final = 64 * MIB  # room asked for at each store, for the puts of a session to come
MANIFEST_DEVICES_MORE: Final = 1  # a manifest lies on k + 1 devices, like what it describes, before it counts
SENT_MAX: Final = 4096  # segments that a session remembers to lack shares; of more the carers find out
UNFINISHED_BYTES_MAX: Final = 64 * MIB  # of shares that are still on their way when their upload is kept already
UNFINISHED_PATIENCE_S: Final = 0.5  # ... with more, the oldest are waited for so long and then given up
ABANDON_PATIENCE_S: Final = 0.5  # what is under way is let arrive for so long, to be dropped there
CLOSE_PATIENCE_S: Final = 10.0  # what still moves when a session ends is waited for so long
REREADS_MAX: Final = 2  # a file that changes while it is read is begun anew so often

# -- folders ----------------------------------------------------------------------------------------------------------------
PACKED_BYTES_MAX: Final = 1 * MIB  # smaller files of a folder share sealed files
PACK_BYTES: Final = 64 * MIB  # ... of about this size
PACK_FILES_MAX: Final = 4096
PACK_GAP_BYTES: Final = 4 * MIB  # what lies between two wanted files of a pack is read along up to here
MEDIUM_BYTES_MAX: Final = 16 * MIB  # files of a folder up to this are put and got a few at a time
MEDIUM_AT_ONCE: Final = 3
NAMED_EVERY_BYTES: Final = 64 * MIB  # kept files of a folder get their names at least so often

# -- reading ----------------------------------------------------------------------------------------------------------------
SEGMENTS_AHEAD: Final = 2
MANIFESTS_KEPT: Final = 256
ROOMS_KEPT: Final = 4  # buffers for segments that are used again by the next reader
HOLDERS_AHEAD: Final = 64  # segments of which one question asks who has them


# -- the directory ----------------------------------------------------------------------------------------------------------
OPS_PER_ENTRY_MAX: Final = 4096
OPS_BYTES_MAX: Final = 2 * MIB
HERE_S: Final = 1.0  # this machine's own store is waited for so long before others are asked to keep an entry
ENTRY_DEVICES: Final = 2  # an entry of a log lies on so many devices, or on all there are, before it counts as kept
DEVICES_EVERY_S: Final = 2.0  # the agent is asked which devices the account has no more often than this
OPEN_PATIENCE_S: Final = 0.25  # other machines' stores are given this to say what is new when a session begins
REFRESH_PATIENCE_S: Final = 1.5  # ... and this when somebody asks for it
DIRECTORY_LOOK_S: Final = 0.3  # what was read of the directory is as good as new for so long
SNAPSHOT_AFTER_OPS: Final = 256  # the copy of the directory in the home is written anew after so many changes

# -- what is given away -----------------------------------------------------------------------------------------------------
ENTRIES_AT_ONCE: Final = 256  # appended with one question
GIVEN_EVERY_S: Final = 3  # how often a keeper looks after what was given away
GIVEN_IDLE_S: Final = 15  # ... and whether there is something, where nothing is

# -- the keyring ------------------------------------------------------------------------------------------------------------
ROOT_WAIT_S: Final = 10.0  # a device without a root waits for one so long before it says so
FIRST_ROOT_S: Final = 3.0  # ... and for other devices to say that there is one, before it makes the account's first
ROOT_LOOK_S: Final = 0.2
KEYRING_EVERY_S: Final = 2  # how often a keeper looks whether a device lacks a root
KEYRING_FAR_STEPS: Final = 15  # ... and each so many times in all stores, not in its own alone

assert READ_BYTES >= 8 * MIB, "a chunk and the one after it fit"
assert HEDGE_MIN_S < LAGGARD_S < STALLED_S < ANSWER_S
assert FIRST_ROOT_S < ROOT_WAIT_S

# -- near the user --------------------------------------------------------------------------------------------------------------
MEMORY_AHEAD: Final = 2  # segments that wait in memory to be kept near
MEMORY_WAIT_S: Final = 0.25  # a reader is held up for this at most
MEMORY_TYPICAL_BYTES: Final = 4 * MIB
MEMORY_ROWS_MAX: Final = 65_536
FAR_RTT_US: Final = 500  # from farther away a segment is kept near at once, else when it is wanted again
LINK_BYTES_PER_S: Final = 10_000_000  # of a link that nobody measured: what a home has
USES_TOLD_MAX: Final = 256  # files of which a device tells the others that they are in use there
PRESENT_S: Final = 600.0  # so long after the last use a person counts as being here
FOLLOW_EVERY_S: Final = 2.0  # how often it is looked whether someone is here
TELL_EVERY_S: Final = 30.0  # ... and the others are told what is in use no more often than this
FETCH_AHEAD_EVERY_S: Final = 60.0  # what was hot elsewhere is looked for again while someone is here

assert FOLLOW_EVERY_S < TELL_EVERY_S < PRESENT_S

# -- what was removed -----------------------------------------------------------------------------------------------------------
FORGET_EVERY_S: Final = 6 * 3600.0  # so often it is looked what nobody can have back any more
FORGET_FIRST_S: Final = 300.0  # ... and not sooner than this after a start
MANIFESTS_AT_ONCE: Final = 256  # in one question
