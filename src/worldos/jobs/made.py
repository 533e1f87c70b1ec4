"""What a task made, as a digest: two machines that did the same have the same, whenever and wherever they did it.

    files digest (16 bytes) || output digest (16 bytes)       each the beginning of a SHA-256

Of files their names, kinds, contents, whether they may be executed, and where links lead; no times and no owners. Of what was put
out standard output, not standard error: that is where clocks, paths and warnings go. It is made here, of what came from the
machine, so it says nothing that we did not see. The exit code is compared beside it (kernel/line/votes.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from worldos.jobs.logs import Log
from worldos.jobs.outputs import Spool
from worldos.kernel.line.votes import PRINT_BYTES
from worldos.lanes import parcel


def digest_of(result: Spool, log: Log, made: bytes = b"") -> bytes:
    """Return the digest of an attempt that has ended; PeerBroke or BadRequest if its files are none that may be."""
    if result.size:
        pieces: Iterator[bytes] = result.pieces()
        made = parcel.digest(lambda: next(pieces, b""))
    return sha256(made).digest()[:PRINT_BYTES] + log.output_digest()[:PRINT_BYTES]
