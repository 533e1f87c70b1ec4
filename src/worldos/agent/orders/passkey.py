"""Orders about passkeys: which there are, adding one by this machine's key, and what a passkey itself says in the key log.

A passkey says something in two steps: ``passkey_draft`` writes the entry down (nothing is true yet), a person's authenticator
signs these very bytes, and ``passkey_said`` takes them in, after the same checks that every other node will make.
"""

from __future__ import annotations

from typing import Any, Literal

from worldos.agent.agent import Agent
from worldos.agent.call import Call
from worldos.errors import BadRequest, NotAllowed
from worldos.trust.entries import (
    AddPasskey,
    Approve,
    RemoveKey,
    SignedEntry,
    body_of,
    check_signatures,
    hash_of,
    passkey_id,
    read_entry,
)
from worldos.trust.keylog import KeyLog
from worldos.trust.sayings import add_passkey, approval_entry, removal_entry

DOMAIN = "keylog"


class PasskeyOrders:
    """The orders about passkeys, by name."""

    async def order_passkeys(self, agent: Agent, call: Call) -> list[dict[str, Any]]:
        """The passkeys that may act for the account."""
        log = agent.node.keylog
        return [_row(log, key, place, entry) for key, place, entry in _passkeys(log)]

    async def order_passkey_add(
        self, agent: Agent, call: Call, credential: bytes, public: bytes, rp: str, name: str
    ) -> dict[str, Any]:
        """Add a passkey by this machine's key: it is young until the words or another passkey approve it."""
        log = agent.node.keylog
        signed = add_passkey(log, agent.started.key, credential, public, rp, name)
        read_entry(signed)  # the name and the key are refused here, with words, and not silently later
        agent.offer_entries(((signed.body, signed.signature),))
        return {"key": passkey_id(public, rp), "name": name, "entry": hash_of(signed)}

    async def order_passkey_draft(
        self, agent: Agent, call: Call, what: Literal["approve", "remove"], key: str, passkey: str
    ) -> dict[str, Any]:
        """Write down what a passkey shall say of another key: ``message`` is what it signs, for the purpose ``domain``."""
        log = agent.node.keylog
        entry = (approval_entry if what == "approve" else removal_entry)(log, passkey, key)
        return {"message": body_of(entry), "domain": DOMAIN}

    async def order_passkey_said(self, agent: Agent, call: Call, message: bytes, assertion: bytes) -> dict[str, Any]:
        """Take in what a passkey signed."""
        log = agent.node.keylog
        signed = SignedEntry(body=message, signature=assertion)
        entry = read_entry(signed)
        if not isinstance(entry, Approve | RemoveKey):
            raise BadRequest("a passkey approves and removes here, and nothing else")
        place = log.history.places.get(entry.warrant)
        warrant = None if place is None else log.history.entries[place]
        if place not in log.keys.values() or not isinstance(warrant, AddPasskey):
            raise NotAllowed("this was not said by a passkey of the account")
        check_signatures(entry, signed, log.account, warrant)
        agent.offer_entries(((signed.body, signed.signature),))
        return {"entry": hash_of(signed)}


def _passkeys(log: KeyLog) -> list[tuple[str, int, AddPasskey]]:
    found = [(key, place, log.history.entries[place]) for key, place in sorted(log.keys.items())]
    return [(key, place, entry) for key, place, entry in found if isinstance(entry, AddPasskey)]


def _row(log: KeyLog, key: str, place: int, entry: AddPasskey) -> dict[str, Any]:
    return {
        "key": key,
        "name": entry.name,
        "rp": entry.rp,
        "credential": entry.credential,
        "public": entry.public,
        "young": not log.history.is_ripe(place, log.counting),
    }
