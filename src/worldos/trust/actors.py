"""Actors: everybody who can act for an account, in one list, from what weighs most to what weighs least.

This is the list that a person looks at: who can act as me, how much each weighs, since when it is known, who let it in,
and what it may not do yet. It is worked out of the key log alone. Times are Unix seconds as witnesses gave them; 0 where
nobody has looked yet.
"""

from __future__ import annotations

import enum

import msgspec

from worldos.trust.approvals import Seat
from worldos.trust.entries import AddDevice, AddPasskey, Genesis, Rekey, SetGuardians, SharedGenesis
from worldos.trust.history import PASSKEY_WEIGHT, RECOVERY_WEIGHT, VETO_S
from worldos.trust.keylog import KeyLog
from worldos.trust.sayings import looks_at


class ActorKind(enum.StrEnum):
    """What kind of key somebody acts by."""

    RECOVERY = "recovery words"
    HOLDERS = "holders"
    GUARDIANS = "guardians"
    PASSKEY = "passkey"
    DEVICE = "device"


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who can act for the account; ``by`` is the id of the key that let it in (empty: it was there first)."""

    kind: ActorKind
    key: str
    name: str
    weight: int
    by: str
    entry: str
    since_s: int = 0
    young: bool = False
    ripens_s: int = 0  # when a second look may end it, for a young one that was seen; 0: nobody may look
    origin: str = ""  # of a passkey: the page that it belongs to
    threshold: int = 0  # of a quorum
    seats: tuple[Seat, ...] = ()


def who_can_act(log: KeyLog) -> tuple[Actor, ...]:
    """Return everybody who can act for this account now, the strongest first."""
    found = [actor for key, place in log.keys.items() if (actor := _actor(log, key, place)) is not None]
    return tuple(sorted(found, key=lambda actor: (-actor.weight, actor.kind, actor.name, actor.key)))


def recovery_path(actors: tuple[Actor, ...]) -> str:
    """Say in a sentence how this account comes back when every device is lost: the strongest way that there is."""
    for actor in actors:
        match actor.kind:
            case ActorKind.RECOVERY:
                return "by the 24 recovery words: wos account recover"
            case ActorKind.HOLDERS | ActorKind.GUARDIANS:
                who = f"{actor.threshold} of {len(actor.seats)} {actor.kind}"
                return f"by {who}: wos account recover --guardians, with the file of wos account save"
            case _:
                pass
    return "by nothing: no recovery words, no guardians. wos account guardian add makes some"


def _actor(log: KeyLog, key: str, place: int) -> Actor | None:
    history, seen = log.history, log.counting
    entry = history.entries[place]
    kind, name, origin = ActorKind.DEVICE, "", ""
    threshold, seats = 0, tuple[Seat, ...]()
    match entry:
        case Genesis() | Rekey():
            kind, name = ActorKind.RECOVERY, "24 words"
        case SharedGenesis():
            kind, name = ActorKind.HOLDERS, entry.name
            threshold, seats = entry.quorum.threshold, entry.quorum.seats
        case SetGuardians():
            if entry.quorum is None:
                return None
            kind, name = ActorKind.GUARDIANS, f"{entry.quorum.threshold} of {len(entry.quorum.seats)}"
            threshold, seats = entry.quorum.threshold, entry.quorum.seats
        case AddPasskey():
            kind, name, origin = ActorKind.PASSKEY, entry.name, entry.rp
        case AddDevice():
            name = entry.name
        case _:
            return None
    looks = [at_s for _, at_s in looks_at(history, place)]
    young = not history.is_ripe(place, seen)
    return Actor(
        kind=kind,
        key=key,
        name=name,
        weight=history.weight_at(place, seen),
        by="" if place == 0 else history.signers[place],
        entry=history.hashes[place],
        since_s=min(looks, default=0),
        young=young,
        ripens_s=_ripens_s(log, place) if young else 0,
        origin=origin,
        threshold=threshold,
        seats=seats,
    )


def _ripens_s(log: KeyLog, place: int) -> int:
    looks = log.history.looks(place, log.counting)
    return min(looks) + VETO_S if looks else 0


def limits_of(actor: Actor) -> str:
    """Say in a few words what somebody may not do."""
    if actor.young:
        return "class 0 and 1 only; puts nobody grown out"
    if actor.weight >= RECOVERY_WEIGHT:
        return "none"
    if actor.kind is ActorKind.GUARDIANS:
        return "only together; never against the words"
    if actor.weight >= PASSKEY_WEIGHT:
        return "never against the words or guardians"
    return "never against words, guardians or passkeys"
