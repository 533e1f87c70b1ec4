"""What the page may ask of the agent: one table, by name, with how hard each is to undo.

The page is one more program of this user; whatever is not here, no page can ask. *Sure* are those for which presence must have
been proven lately (``gate.check_sure``): they widen who may act, end something for good, or move the physical world.
"""

from __future__ import annotations

from typing import NamedTuple


class Asked(NamedTuple):
    """An order of the agent, and whether it needs a fresh proof of presence."""

    order: str
    sure: bool = False


ASKED: dict[str, Asked] = {
    "status": Asked("status"),
    "nodes": Asked("nodes"),
    "devices": Asked("devices"),
    "log": Asked("log"),
    "revoke": Asked("revoke", sure=True),
    "account": Asked("account_show"),
    "remove": Asked("account_remove", sure=True),
    "code": Asked("account_code"),
    "inbox": Asked("inbox"),
    "grants": Asked("grants"),
    "role_grant": Asked("role_grant", sure=True),
    "role_revoke": Asked("role_revoke"),  # it only narrows
    "decisions": Asked("audit_show"),
    "witnesses": Asked("audit_witness"),
    "guard_status": Asked("guard_status"),
    "guard_policy": Asked("guard_policy"),
    "guard_state": Asked("guard_state"),
    "guard_approve": Asked("guard_approve", sure=True),  # by this machine's key; a passkey has a step of its own
    "guard_stop": Asked("guard_stop"),  # it only narrows
    "security": Asked("security"),
    "security_free": Asked("security_free", sure=True),
    "session_list": Asked("session_list"),
    "session_start": Asked("session_start"),
    "session_say": Asked("session_say"),
    "session_move": Asked("session_move"),
    "session_end": Asked("session_end", sure=True),
}

FOLLOWED: dict[str, str] = {"session": "session_show"}
"""Orders whose answer grows: each word on the way becomes a line of the stream."""
