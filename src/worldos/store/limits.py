"""Every bound of storage, with its unit, and how the bounds must relate (asserted at import).

Bounds are not configuration: two users would not set them differently. What lies in one format for good (a class of
segments, the size of a leaf) is here as well: to change it is to write a new version of that format.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30

# -- entries of a log -----------------------------------------------------------------------------------------------------
ENTRY_BODY_BYTES_MAX: Final = 4 * MIB
ENTRY_SEQ_MAX: Final = 1 << 53  # what every language and JSON keep exactly
BODY_BYTES_MIN: Final = 256  # a sealed body is padded to this at least
BODY_STEPS_FROM_BYTES: Final = 64 * KIB  # from here on in eighths of a power of two, not in whole ones
BODY_PLAIN_BYTES_MAX: Final = 32 * MIB  # what a body may unpack to: no small body makes a large machine stumble

assert BODY_BYTES_MIN <= BODY_STEPS_FROM_BYTES <= ENTRY_BODY_BYTES_MAX <= BODY_PLAIN_BYTES_MAX

# -- files ----------------------------------------------------------------------------------------------------------------
FILE_INLINE_BYTES_MAX: Final = 4096  # a file this small lies in the entry that names it
FILE_BYTES_MAX: Final = 1 << 52
MEDIA_BYTES_MAX: Final = 127  # of a media type, as in "application/pdf"

# -- codes, segments and shares -------------------------------------------------------------------------------------------
SHARES_MAX: Final = 80  # n of a code, at most
CHUNK_BYTES_MIN: Final = 256 * KIB
CHUNK_BYTES_AVERAGE: Final = 1 * MIB
CHUNK_BYTES_MAX: Final = 4 * MIB
SEGMENT_BYTES: Final = (64 * KIB, 256 * KIB, 1 * MIB, 4 * MIB, 16 * MIB)  # the classes: stores see no other sizes
SEGMENT_BYTES_MAX: Final = SEGMENT_BYTES[-1]
LEAF_BYTES: Final = 16 * KIB  # what can be checked by itself
SHARE_ALIGN_BYTES: Final = 64
SEGMENTS_MAX: Final = 1 << 16  # of one file: a terabyte
PIECES_MAX: Final = 1 << 20  # chunks of one file

assert CHUNK_BYTES_MIN < CHUNK_BYTES_AVERAGE < CHUNK_BYTES_MAX < SEGMENT_BYTES_MAX
assert list(SEGMENT_BYTES) == sorted(SEGMENT_BYTES)
assert all(size % SHARE_ALIGN_BYTES == 0 for size in (LEAF_BYTES, *SEGMENT_BYTES))
assert SHARES_MAX < 256, "the code counts in GF(256)"
assert SEGMENT_BYTES[0] > FILE_INLINE_BYTES_MAX

# -- what is given away ---------------------------------------------------------------------------------------------------
LISTING_ROWS_MAX: Final = 1 << 16  # names in a folder that one code leads to
GIVEN_MAX: Final = 1 << 14  # codes that an account has given out
TAKEN_MAX: Final = 1 << 10  # drops of one box that are remembered as taken
DROP_BYTES_MAX: Final = 64 * GIB  # one file that somebody drops

# -- the keyring of an account --------------------------------------------------------------------------------------------
ROOTS_MAX: Final = 64  # roots that one account may have had
WRAPS_MAX: Final = 1024  # wraps of one root: devices, words, codes, guardians
GUARDIANS_MAX: Final = 64
BEQUEST_SLOTS: Final = 8  # registers where what is left for a bare machine may lie
FEATURE_KIB: Final = 256 * KIB  # Argon2id of a feature code: 256 MiB, counted in KiB as Argon2 does ...
FEATURE_PASSES: Final = 3
FEATURE_LANES: Final = 4
FEATURE_KIB_MAX: Final = 1024 * KIB  # ... and no wrap makes a machine spend more
FEATURE_PASSES_MAX: Final = 16
FEATURE_CODE_BYTES_MAX: Final = 1024

assert FEATURE_KIB <= FEATURE_KIB_MAX
assert FEATURE_PASSES <= FEATURE_PASSES_MAX

# -- health: what is kept, who keeps it, who is there ---------------------------------------------------------------------
SECOND_NS: Final = 1_000_000_000
HOUR_NS: Final = 3600 * SECOND_NS
DAY_NS: Final = 24 * HOUR_NS
LOSSES_MIN: Final = 3  # any three devices may die at once
SUSPECT_NS: Final = 1 * SECOND_NS  # the first clock: from here on a silent device is asked last
PAUSE_NS_MIN: Final = 300 * SECOND_NS  # a shorter silence counts as time on line
ABSENCE_NS_MIN: Final = 1 * HOUR_NS  # and one shorter than this says nothing of a device's habits
LOST_STEADY_NS_MIN: Final = 1 * HOUR_NS  # the second clock, for devices that are always on ...
LOST_NS_MIN: Final = 3 * DAY_NS  # ... and for those that come and go
LOST_UNKNOWN_NS: Final = 14 * DAY_NS  # for a device of which too little is known
LOST_NS_MAX: Final = 60 * DAY_NS  # no habit makes a device wait longer before it is given up
ABSENCES_KNOWN_MIN: Final = 64  # absences from which on a device's own habit counts
STEADY_PPM_MIN: Final = 980_000  # on line so much of the time: always on
STEADY_NS_MIN: Final = 14 * DAY_NS  # and watched for so long
WATCH_GAP_NS_MAX: Final = 1 * DAY_NS  # one gap in the watching counts this much at most: own sleep, a clock that jumps
WAKE_GRACE_NS: Final = 1 * HOUR_NS  # who just woke judges nobody yet
WATCH_PERIOD_NS_MAX: Final = 300 * SECOND_NS  # a longer pause between two looks is own sleep
NODES_WATCHED_MAX: Final = 4096
TURN_NS: Final = 120 * SECOND_NS  # what the first carer has not done by then the next one does as well
TRIM_NS: Final = 30 * DAY_NS  # a copy too many is thrown away this late
REPAIRS_MAX: Final = 64  # in one plan
RENDEZVOUS_NODES_MAX: Final = 64  # above so many depots only the first of the order are asked

assert SUSPECT_NS < PAUSE_NS_MIN < LOST_STEADY_NS_MIN < LOST_NS_MIN < LOST_UNKNOWN_NS < LOST_NS_MAX
assert WATCH_PERIOD_NS_MAX < WAKE_GRACE_NS <= LOST_STEADY_NS_MIN < WATCH_GAP_NS_MAX < LOST_NS_MIN

# -- audits ---------------------------------------------------------------------------------------------------------------
CHALLENGES_MAX: Final = 4096  # in one round of one store
CHALLENGES_EXPOSE: Final = 460  # these many find a store that lacks one share in a hundred, 99 times of 100

# -- packs of a depot -----------------------------------------------------------------------------------------------------
PACK_BYTES: Final = 1 * GIB  # a pack that has grown to this takes no more frames
PACK_NUMBER_MAX: Final = (1 << 32) - 1
PACK_BODY_BYTES_MAX: Final = 16 * MIB
PACK_META_BYTES_MAX: Final = 1024
PACK_IDS_MAX: Final = 4096  # ids in one frame that drops or restores

assert ENTRY_BODY_BYTES_MAX < PACK_BODY_BYTES_MAX <= PACK_BYTES

# -- names and the directory ----------------------------------------------------------------------------------------------
NAME_PART_BYTES_MAX: Final = 255
NAME_BYTES_MAX: Final = 4096
NAME_DEPTH_MAX: Final = 64
OPS_MAX: Final = 1 << 16  # in one change
DIRECTORY_DEVICES_MAX: Final = 1024  # that ever wrote in one directory
CHANGES_WAITING_MAX: Final = 1 << 20  # that wait for others which they had seen
HISTORY_NS: Final = 30 * DAY_NS  # what was removed can be had back for so long
FORGET_STEP_NS: Final = 2 * DAY_NS  # one look at the clock counts this much at most: own sleep, a clock that jumps

assert NAME_PART_BYTES_MAX < NAME_BYTES_MAX
assert FORGET_STEP_NS < HISTORY_NS

# -- copies near the user -------------------------------------------------------------------------------------------------
CACHE_ENTRIES_MAX: Final = 1 << 20
SKETCH_WIDTH_MAX: Final = 1 << 22
HEAT_HALF_LIFE_NS: Final = 7 * DAY_NS
HEAT_FILES_MAX: Final = 1 << 16  # files that somebody's heat is known of
