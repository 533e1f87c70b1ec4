"""Every bound of grants and requests, with its unit, and how the bounds must relate (asserted at import)."""

from __future__ import annotations

from typing import Final

# -- CBOR -----------------------------------------------------------------------------------------------------------------
CBOR_BYTES_MAX: Final = 4096
CBOR_DEPTH_MAX: Final = 6  # containers within each other
CBOR_ITEMS_MAX: Final = 512  # values in all containers together: what bounds the time that hostile bytes can take

# -- grants ---------------------------------------------------------------------------------------------------------------
GRANT_BYTES_MAX: Final = 4096
GRANT_BLOCKS_MAX: Final = 8
GRANT_PATHS_MAX: Final = 8  # of one block
PATH_LABELS_MAX: Final = 12
LABEL_CHARS_MAX: Final = 64
GRANTS_KEPT_MAX: Final = 256  # chains that were checked, remembered so that they are checked once
BLOCKS_KEPT_MAX: Final = 1024  # signatures that were checked: a link used in many chains costs once

# -- requests -------------------------------------------------------------------------------------------------------------
REQUEST_BYTES_MAX: Final = 2048
REQUEST_SKEW_S: Final = 300  # clocks of honest machines differ by less
NONCE_WINDOW: Final = 1024  # requests of one stream that may arrive out of order
STREAMS_PER_GRANT_MAX: Final = 512  # below one first block: nobody fills the table with keys of its own making
STREAMS_MAX: Final = 16_384

assert GRANT_BYTES_MAX <= CBOR_BYTES_MAX
assert REQUEST_BYTES_MAX <= CBOR_BYTES_MAX
assert 2 * GRANT_BLOCKS_MAX <= CBOR_ITEMS_MAX
assert GRANTS_KEPT_MAX * GRANT_BLOCKS_MAX >= BLOCKS_KEPT_MAX
assert STREAMS_PER_GRANT_MAX < STREAMS_MAX
