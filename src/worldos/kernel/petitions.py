"""Petitions: commands for charters on their way to the primary that can put them in, and who waits for the answer.

A petition comes from a person on this machine or from another node, and is answered once: done, or why not. Nobody waits longer
than PETITION_NS; then the command may still come true, and the answer says so.
"""

from __future__ import annotations

import msgspec

from worldos.kernel.effects import Effect, Send, Tell
from worldos.model import limits
from worldos.model.ids import ClientId, NodeId
from worldos.model.local import Answer, Failure
from worldos.model.realm import ProposeAnswer, RealmId


class Petition(msgspec.Struct, kw_only=True):
    """One command under way. It came from ``client``, or from ``peer``, who calls it ``request``.

    ``at`` is the primary that has it; while it is nobody's, it is tried again at ``again_ns``.
    """

    realm: RealmId
    command: bytes
    request: int
    until_ns: int
    client: ClientId = ClientId("")
    peer: NodeId = NodeId("")
    at: NodeId = NodeId("")
    again_ns: int = limits.NEVER_NS


class Petitions(msgspec.Struct, kw_only=True):
    """All that wait here, by number. Nothing is overdue before ``due_ns``."""

    number: int = 0
    table: dict[int, Petition] = {}
    due_ns: int = limits.NEVER_NS

    def begin(self, petition: Petition) -> int:
        """Keep a petition; return its number, or 0 when too many wait."""
        if len(self.table) >= limits.PETITIONS_MAX:
            return 0
        self.number += 1
        self.table[self.number] = petition
        self.due_ns = min(self.due_ns, petition.until_ns)
        return self.number

    def end(self, number: int, why: str) -> list[Effect]:
        """Answer a petition; one that is unknown was answered before."""
        petition = self.table.pop(number, None)
        return [] if petition is None else [answer(petition, why)]

    def sent(self, number: int, node: NodeId) -> None:
        """This primary has it now."""
        petition = self.table[number]
        petition.at, petition.again_ns = node, limits.NEVER_NS

    def wait(self, now_ns: int, number: int) -> None:
        """No primary can have it now."""
        petition = self.table[number]
        petition.at, petition.again_ns = NodeId(""), now_ns + limits.PETITION_AGAIN_NS
        self.due_ns = min(self.due_ns, petition.again_ns)

    def is_with(self, number: int, node: NodeId) -> bool:
        """Tell whether this node was asked to carry it out."""
        petition = self.table.get(number)
        return petition is not None and petition.at == node

    def due(self, now_ns: int) -> list[int]:
        """Return what is to be tried again."""
        return sorted(number for number, petition in self.table.items() if petition.again_ns <= now_ns)

    def tick(self, now_ns: int) -> list[Effect]:
        """Let nobody wait longer than agreed."""
        if now_ns < self.due_ns:
            return []
        over = sorted(number for number, petition in self.table.items() if petition.until_ns <= now_ns)
        effects = [
            effect for number in over for effect in self.end(number, "no answer in time: see whether it was done")
        ]
        self.due_ns = min((min(p.until_ns, p.again_ns) for p in self.table.values()), default=limits.NEVER_NS)
        return effects

    def end_client(self, client: ClientId) -> None:
        """A program ended: nobody waits for its answers."""
        for number in [n for n, petition in self.table.items() if petition.client == client]:
            del self.table[number]


def answer(petition: Petition, why: str) -> Effect:
    """Say to who waits that it is done (``why`` is empty), or why not."""
    if petition.peer:
        message = ProposeAnswer(realm=petition.realm, number=petition.request, why=why[:512])
        return Send(node=petition.peer, message=message)
    if not why:
        return Tell(client=petition.client, message=Answer(request=petition.request, value=None))
    hint = "see how the realms stand: wos realm tree"
    return Tell(
        client=petition.client, message=Failure(request=petition.request, error="Refused", message=why, hint=hint)
    )
