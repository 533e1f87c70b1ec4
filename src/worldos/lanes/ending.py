"""Why a worker ended, for its holder: what it took too much of, or how it went."""

from __future__ import annotations

import contextlib
import signal


def why_ended(status: int, *, memory_bytes: int = 0, scratch_bytes: int = 0) -> str:
    """Say why; ``memory_bytes`` or ``scratch_bytes`` is the bound that it broke, if it did."""
    if memory_bytes:
        return f'used more than the {_amount(memory_bytes)} of memory leased; ask for more with memory="..."'
    if scratch_bytes:
        return f'wrote more than the {_amount(scratch_bytes)} of disk leased; ask for more with scratch="..."'
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
        return f"was ended by signal {-status}"
    return f"exited with code {status}"


def _amount(size: int) -> str:
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} B"
