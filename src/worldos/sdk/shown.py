"""The grant that this program shows its agent, if it was started with one: ``$WORLDOS_GRANT`` names its file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from worldos.errors import BadRequest

VARIABLE: Final = "WORLDOS_GRANT"


def shown_grant() -> bytes:
    """Return the grant, or nothing; a file that cannot be read or is no grant is an error, never all rights."""
    named = os.environ.get(VARIABLE, "")
    if not named:
        return b""
    from worldos.trust.grant_text import read_grant_text  # noqa: PLC0415 - most programs have none

    try:
        text = Path(named).read_text(encoding="utf-8", errors="replace")
    except OSError as cause:
        raise BadRequest(f"the grant in {named} cannot be read", hint=f"unset {VARIABLE} for all rights") from cause
    return read_grant_text(text)
