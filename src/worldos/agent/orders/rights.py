"""What each order of the local socket asks for: an op, a class and a path. One table, and no order without a line in it.

A program of this user has the rights of the machine. One that came with a grant (``Hello.grant``) has what the grant leaves of
them: each of its orders is held against this table first, and what is not in the table it cannot do at all.
"""

from __future__ import annotations

from typing import Final

import msgspec

from worldos.model.ids import NodeId
from worldos.model.rights import DEVICES, FILES, NODE, POST, REALM, SESSIONS, WORK, Impact, Op, Path

ME: Final = "{me}"  # stands for this node's id


class Right(msgspec.Struct, frozen=True):
    """What an order needs; ``below`` are the labels under the account."""

    op: Op
    impact: Impact
    below: Path = ()

    def path(self, account: str, me: NodeId) -> Path:
        """Return the whole path."""
        return (account, *(me if label == ME else label for label in self.below))


HERE: Final = (NODE, ME)

RIGHTS: Final[dict[str, Right]] = {
    # questions
    "status": Right(Op.READ, Impact.READ, HERE),
    "nodes": Right(Op.READ, Impact.READ, (NODE,)),
    "resources": Right(Op.READ, Impact.READ, (NODE,)),
    "resource": Right(Op.READ, Impact.READ, (NODE,)),
    "leases": Right(Op.READ, Impact.READ, HERE),
    "devices": Right(Op.READ, Impact.READ, (DEVICES,)),
    "log": Right(Op.AUDIT, Impact.READ, HERE),
    # the decision log
    "audit_flush": Right(Op.AUDIT, Impact.READ, HERE),
    "audit_show": Right(Op.AUDIT, Impact.READ, HERE),
    "audit_verify": Right(Op.AUDIT, Impact.READ, (NODE,)),
    "audit_witness": Right(Op.AUDIT, Impact.READ, HERE),
    "audit_erase": Right(Op.ADMIN, Impact.IRREVERSIBLE, HERE),
    # this machine
    "drain": Right(Op.ADMIN, Impact.COSTLY, HERE),
    "down": Right(Op.ADMIN, Impact.COSTLY, HERE),
    # the account
    "invite": Right(Op.ADMIT, Impact.IRREVERSIBLE, (DEVICES,)),
    "confirm": Right(Op.ADMIT, Impact.IRREVERSIBLE, (DEVICES,)),
    "learn": Right(Op.READ, Impact.REVERSIBLE, (DEVICES,)),
    "revoke": Right(Op.REVOKE, Impact.IRREVERSIBLE, (DEVICES,)),
    "transfer": Right(Op.REVOKE, Impact.IRREVERSIBLE, (DEVICES,)),
    "leave": Right(Op.REVOKE, Impact.IRREVERSIBLE, (DEVICES,)),
    "passkeys": Right(Op.READ, Impact.READ, (DEVICES,)),
    "passkey_add": Right(Op.ADMIT, Impact.IRREVERSIBLE, (DEVICES,)),
    "passkey_draft": Right(Op.READ, Impact.READ, (DEVICES,)),
    "passkey_said": Right(Op.READ, Impact.REVERSIBLE, (DEVICES,)),  # the passkey's own signature is what counts
    "account_show": Right(Op.READ, Impact.READ, (DEVICES,)),
    "account_remove": Right(Op.REVOKE, Impact.IRREVERSIBLE, (DEVICES,)),
    # rights
    "role_list": Right(Op.READ, Impact.READ, (DEVICES,)),
    "role_grant": Right(Op.ADMIT, Impact.IRREVERSIBLE, (DEVICES,)),
    "role_revoke": Right(Op.REVOKE, Impact.COSTLY, (DEVICES,)),
    "grants": Right(Op.READ, Impact.READ, (DEVICES,)),
    "grant_add": Right(Op.ADMIN, Impact.REVERSIBLE, HERE),
    "grant_remove": Right(Op.ADMIN, Impact.REVERSIBLE, HERE),
    "whoami": Right(Op.READ, Impact.READ),
    "can": Right(Op.READ, Impact.READ, (DEVICES,)),
    "weigh": Right(Op.READ, Impact.READ, (DEVICES,)),
    # guarded commands
    "guard_status": Right(Op.READ, Impact.READ, HERE),
    "guard_policy": Right(Op.READ, Impact.READ, HERE),
    "guard_state": Right(Op.READ, Impact.READ, HERE),
    "guard_to_sign": Right(Op.READ, Impact.READ, HERE),
    "guard_propose": Right(Op.POLICY, Impact.COSTLY, (REALM,)),
    "guard_approve": Right(Op.APPROVE, Impact.IRREVERSIBLE, (REALM,)),
    "guard_stop": Right(Op.REVOKE, Impact.COSTLY, (REALM,)),
    "guard_roll": Right(Op.POLICY, Impact.IRREVERSIBLE, HERE),
    "guard_take": Right(Op.POLICY, Impact.IRREVERSIBLE, HERE),
    "guard_envelope": Right(Op.POLICY, Impact.IRREVERSIBLE, HERE),
    "guard_unmute": Right(Op.ADMIN, Impact.IRREVERSIBLE, HERE),
    "guard_resume": Right(Op.ADMIN, Impact.IRREVERSIBLE, HERE),
    "security": Right(Op.AUDIT, Impact.READ, HERE),
    "security_free": Right(Op.ADMIN, Impact.IRREVERSIBLE, (DEVICES,)),
    "security_learn": Right(Op.ADMIN, Impact.IRREVERSIBLE, (DEVICES,)),
    # realms
    "realm_tree": Right(Op.READ, Impact.READ, (REALM,)),
    "realm_show": Right(Op.READ, Impact.READ, (REALM,)),
    "realm_create": Right(Op.POLICY, Impact.COSTLY, (REALM,)),
    "realm_found": Right(Op.POLICY, Impact.COSTLY, (REALM,)),
    "realm_invite": Right(Op.ADMIT, Impact.COSTLY, (REALM,)),
    "realm_join": Right(Op.ADMIT, Impact.COSTLY, (REALM,)),
    "realm_leave": Right(Op.POLICY, Impact.COSTLY, (REALM,)),
    "realm_remove": Right(Op.REVOKE, Impact.COSTLY, (REALM,)),
    "realm_policy": Right(Op.POLICY, Impact.COSTLY, (REALM,)),
    # stores: whoever reaches one may read and write files
    "stores": Right(Op.WRITE, Impact.REVERSIBLE, (FILES,)),
    "lend": Right(Op.POLICY, Impact.COSTLY, HERE),
    # those who work for us
    "profiles": Right(Op.READ, Impact.READ, HERE),
    "profiles_learned": Right(Op.LEASE, Impact.REVERSIBLE, (NODE,)),
    "profile_show": Right(Op.READ, Impact.READ, HERE),
    "provider_owner": Right(Op.READ, Impact.READ, (NODE,)),
    "provider_did": Right(Op.LEASE, Impact.REVERSIBLE, (NODE,)),
    "provider_checked": Right(Op.LEASE, Impact.REVERSIBLE, (NODE,)),
    "providers": Right(Op.AUDIT, Impact.READ, HERE),
    # the network of a lease that the program holds: what it may do inside is the lease's matter
    "net_way": Right(Op.READ, Impact.READ),
    # the site's work: a job runs with all rights of the account, so it asks for those to its work as a whole
    "work": Right(Op.WRITE, Impact.REVERSIBLE, (WORK,)),
    "work_look": Right(Op.READ, Impact.READ, (WORK,)),
    "work_never": Right(Op.READ, Impact.READ, (WORK,)),
    "log_read": Right(Op.READ, Impact.READ, (WORK,)),
    "runner_hear": Right(Op.ADMIN, Impact.COSTLY, HERE),  # only this machine's own runner
    "runner_holds": Right(Op.ADMIN, Impact.COSTLY, HERE),
    "runner_told": Right(Op.ADMIN, Impact.COSTLY, HERE),
    # what others may have of this machine
    "lend_show": Right(Op.READ, Impact.READ, HERE),
    "lend_rule": Right(Op.POLICY, Impact.COSTLY, HERE),
    "lend_forget": Right(Op.POLICY, Impact.COSTLY, HERE),
    "lend_off": Right(Op.POLICY, Impact.COSTLY, HERE),
    # sessions
    "session_list": Right(Op.READ, Impact.READ, (SESSIONS,)),
    "session_show": Right(Op.READ, Impact.READ, (SESSIONS,)),
    "session_start": Right(Op.WRITE, Impact.REVERSIBLE, (SESSIONS,)),
    "session_say": Right(Op.WRITE, Impact.REVERSIBLE, (SESSIONS,)),
    "session_move": Right(Op.WRITE, Impact.REVERSIBLE, (SESSIONS,)),
    "session_end": Right(Op.WRITE, Impact.COSTLY, (SESSIONS,)),
    # other people
    "account_code": Right(Op.READ, Impact.READ, (DEVICES,)),
    "account_card": Right(Op.READ, Impact.REVERSIBLE, (DEVICES,)),
    "contact_find": Right(Op.READ, Impact.READ, (POST,)),
    "contact_list": Right(Op.READ, Impact.READ, (POST,)),
    "contact_add": Right(Op.WRITE, Impact.REVERSIBLE, (POST,)),
    "letter_send": Right(Op.WRITE, Impact.COSTLY, (POST,)),
    "letter_add": Right(Op.WRITE, Impact.REVERSIBLE, (POST,)),
    "inbox": Right(Op.READ, Impact.REVERSIBLE, (POST,)),
}
