"""How a log is read while its attempt runs: from any member of the site, at the runner that has the attempt.

Units: bytes; ``offset`` counts what the attempt has put out since its beginning.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from worldos.model.work import Attempt

LOG_PIECE_BYTES_MAX: Final = 256 * 1024

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class LogAsk(msgspec.Struct, frozen=True, kw_only=True, tag="log"):
    """What has this attempt put out from ``offset`` on? Answered by the order ``runner_told`` with a ``LogPiece``."""

    request: _Count
    attempt: Attempt
    offset: _Count
    size: Annotated[int, msgspec.Meta(ge=1, le=LOG_PIECE_BYTES_MAX)] = LOG_PIECE_BYTES_MAX


class LogPiece(msgspec.Struct, frozen=True, kw_only=True, tag="piece"):
    """A piece of a log, and where it begins: later than asked where the middle of a long log was cut out.

    ``written``: how much was put out so far. ``gone``: nothing is known here of that attempt.
    """

    offset: _Count
    data: Annotated[bytes, msgspec.Meta(max_length=LOG_PIECE_BYTES_MAX)] = b""
    written: _Count = 0
    ended: bool = False
    gone: bool = False
