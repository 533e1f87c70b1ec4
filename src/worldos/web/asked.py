"""What the page may ask of the agent: one table, by name, with how hard each is to undo.

An order goes to the agent as it is; an *act* (``work.ACTS``) is done here by several of them.

The page is one more program of this user; whatever is not here, no page can ask. *Sure* are those for which presence must have
been proven lately (``gate.check_sure``): they widen who may act, end something for good, or move the physical world.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Asked(NamedTuple):
    """An order of the agent, or an act, and whether it needs a fresh proof of presence. ``fixed``: here no page says else."""

    order: str
    sure: bool = False
    act: bool = False
    fixed: tuple[tuple[str, Any], ...] = ()


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
    "jobs": Asked("jobs", act=True),
    "job": Asked("job", act=True),
    "job_log": Asked("job_log", act=True),
    "cancel": Asked("cancel", act=True),  # what it drops, retry brings back
    "retry": Asked("retry", act=True),
    "queues": Asked("queues", act=True),
    "leases": Asked("leases"),
    "lend": Asked("lend_show"),
    "lend_stop": Asked("lend_off", fixed=(("off", True),)),  # it only narrows
    "lend_again": Asked("lend_off", sure=True, fixed=(("off", False),)),
}

FOLLOWED: dict[str, str] = {"session": "session_show"}
"""Orders whose answer grows: each word on the way becomes a line of the stream."""
