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

TOLD_BYTES_MAX = limits.MESSAGE_BYTES_MAX * 3 // 4
ENTRY_OVERHEAD_BYTES = 16


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
    for node in sorted(
        house.paths.keys() & {*before, *after} - {source}
    ):  # who is put out hears it too, before the cut
        effects += _told(node, log_entries(house.keylog, taken))
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
    since = house.keylog.since(have.heads)
    effects = _told(peer, tuple((signed.body, signed.signature) for signed in since))
    if house.keylog.missing(have.heads):
        effects.append(Send(node=peer, message=KeyLogHave(heads=house.keylog.heads())))
    return [*effects, *_forget(house, peer, have)]


def _told(peer: NodeId, entries: tuple[LogEntry, ...]) -> list[Effect]:
    """Send entries in as many messages as they need, none too large for a link."""
    effects: list[Effect] = []
    begun, size = 0, 0
    for place, (body, signature) in enumerate(entries):
        size += len(body) + len(signature) + ENTRY_OVERHEAD_BYTES
        if size > TOLD_BYTES_MAX and place > begun:
            effects.append(Send(node=peer, message=KeyLogTold(entries=entries[begun:place])))
            begun, size = place, len(body) + len(signature) + ENTRY_OVERHEAD_BYTES
    if entries:
        effects.append(Send(node=peer, message=KeyLogTold(entries=entries[begun:])))
    return effects


def _forget(house: Household, peer: NodeId, have: KeyLogHave) -> list[Effect]:
    """Let the log begin at a snapshot when every other active device is known to have it."""
    snapshot = house.keylog.snapshot_to_forget_before()
    if not snapshot:
        house.have_snapshot.clear()
        return []
    if house.keylog.has_seen(have.heads, snapshot):
        house.have_snapshot[peer] = snapshot
    others = {device.node for device in house.keylog.members().active} - {house.node}
    if any(house.have_snapshot.get(node) != snapshot for node in others):
        return []
    forgotten = house.keylog.forget_before(snapshot)
    house.have_snapshot.clear()
    return [SaveKeyLog(), Notice(name="key log compacted", fields={"forgotten": forgotten})]


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
