"""Belonging: how the key log of the account spreads among its devices, and what becomes of a device that is put out.

What is said here changes the tables of the household; who belongs is for ``trust/keylog.py`` to say.
"""

from __future__ import annotations

from collections.abc import Iterable

from worldos.errors import BadSignature, PeerBroke
from worldos.kernel import losses
from worldos.kernel.effects import Effect, Forget, Notice, SaveKeyLog, Send
from worldos.kernel.household import Household
from worldos.model import limits
from worldos.model.ids import NodeId
from worldos.model.wire import KeyLogHave, KeyLogTold, LogEntry
from worldos.trust.keylog import KeyLog, SignedEntry


def merge(house: Household, now_ns: int, entries: Iterable[LogEntry], source: NodeId | None) -> list[Effect]:
    """Take in key log entries; whoever is no member any more loses links, leases and offers at once."""
    before = {device.node for device in house.keylog.members().active}
    try:
        taken = house.keylog.merge(SignedEntry(body=body, signature=signature) for body, signature in entries)
    except (BadSignature, PeerBroke) as error:
        return [Notice(name="key log refused", fields={"from": source or "this machine", "why": str(error)})]
    if not taken:
        return []
    after = {device.node: device.name for device in house.keylog.members().active}
    effects: list[Effect] = [SaveKeyLog()]
    told = KeyLogTold(entries=log_entries(house.keylog, taken))  # who is put out hears it too, before the cut
    effects += [Send(node=n, message=told) for n in sorted(house.paths.keys() & {*before, *after} - {source})]
    new = sorted(after.keys() - before)
    effects.extend(Notice(name="device added", fields={"node": node, "name": after[node]}) for node in new)
    for node in sorted(before - after.keys()):
        effects.append(Notice(name="device revoked", fields={"node": node}))
        effects.extend(cut_off(house, now_ns, node, "revoked"))
    return effects


def compare(house: Household, now_ns: int) -> list[Effect]:
    """Tell one peer after the other which entries of the key log are the latest here: what got lost is found by this."""
    peers = house.members()
    if not peers:
        return []
    house.compare_ns = now_ns + limits.KEYLOG_COMPARE_NS
    house.compared = next((peer for peer in peers if peer > house.compared), peers[0])
    return [Send(node=house.compared, message=KeyLogHave(heads=house.keylog.heads()))]


def tell(house: Household, peer: NodeId, have: KeyLogHave) -> list[Effect]:
    """Send what comes after a peer's heads; ask for what it has and we do not."""
    effects: list[Effect] = []
    since = house.keylog.since(have.heads)
    if since:
        told = tuple((signed.body, signed.signature) for signed in since)
        effects.append(Send(node=peer, message=KeyLogTold(entries=told)))
    if house.keylog.missing(have.heads):
        effects.append(Send(node=peer, message=KeyLogHave(heads=house.keylog.heads())))
    return effects


def log_entries(keylog: KeyLog, ids: Iterable[str]) -> tuple[LogEntry, ...]:
    """Return entries of a key log as they are sent and stored."""
    return tuple((keylog.entries[entry].body, keylog.entries[entry].signature) for entry in ids)


def cut_off(house: Household, now_ns: int, node: NodeId, why: str) -> list[Effect]:
    """End all that this node has with a device that may not act any more."""
    house.dirty = True
    effects = house.leases.drop_holder(node, f"its holder was {why}")
    effects.extend(losses.replace(house, now_ns, house.uses.held.node_dead(node, f"its node was {why}")))
    house.paths.pop(node, None)
    house.membership.forget(node)
    house.registry.drop(node)
    effects.append(Forget(node=node, why=why))
    return effects
