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

# -- the keyring of an account --------------------------------------------------------------------------------------------
ROOTS_MAX: Final = 64  # roots that one account may have had
WRAPS_MAX: Final = 1024  # wraps of one root: devices, words, codes, guardians
GUARDIANS_MAX: Final = 64
FEATURE_KIB: Final = 256 * KIB  # Argon2id of a feature code: 256 MiB, counted in KiB as Argon2 does ...
FEATURE_PASSES: Final = 3
FEATURE_LANES: Final = 4
FEATURE_KIB_MAX: Final = 1024 * KIB  # ... and no wrap makes a machine spend more
FEATURE_PASSES_MAX: Final = 16
FEATURE_CODE_BYTES_MAX: Final = 1024

assert FEATURE_KIB <= FEATURE_KIB_MAX
assert FEATURE_PASSES <= FEATURE_PASSES_MAX
