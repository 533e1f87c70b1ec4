"""Quarantine: what is taken from one principal for a while. One key is enough to narrow; to widen again takes more.

A narrowing is a signed statement: at most this class, at most so many requests a minute, until then. It spreads to all devices of
the account, and all that hold together count: the least of each. Whoever said it may take it back; else two other devices do, or
one where the principal is nobody of ours. The word of one stolen device must not stop a home: a device of the account keeps
what can be taken back (class 1, ten times a second), one signer narrows at most twelve times an hour, and all of it ends by
itself within a day.

Beside that stand *caps* that nobody sets and nothing lifts: so many costly, physical and irreversible things an hour for each
principal on each node. They bound what no analysis sees.

Invariant: a narrowing never gives anything. Times in ns of the node's clock; ends are in unix seconds too, as this machine has
them. Source: DESIGN.md section 10; decision record 0026.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import msgspec

from worldos.errors import PeerBroke
from worldos.kernel.decisions import decided
from worldos.kernel.effects import Effect, Notice, State
from worldos.kernel.statements import Verdict
from worldos.model.exact import read_exactly
from worldos.model.ids import NodeId
from worldos.model.limits import MINUTE, NEVER_NS, SECOND
from worldos.model.rights import Impact
from worldos.model.statements import Statement, Topic
from worldos.trust.statements import statement_id

if TYPE_CHECKING:
    from worldos.kernel.household import Household

FREE: Final = Impact.IRREVERSIBLE
FLOOR_OF_MEMBERS: Final = Impact.REVERSIBLE  # what a device of the account keeps, whoever narrows it ...
FLOOR_PER_MINUTE: Final = 600  # ... and how often it may ask
NARROW_FOR_S_MAX: Final = 24 * 60 * 60
NARROWS_PER_SIGNER_HOUR: Final = 12
FREERS: Final = 2  # devices that widen again what another narrowed
NARROWINGS_MAX: Final = 1024
METERS_MAX: Final = 4096  # principals whose requests are counted
HOUR_NS: Final = 60 * MINUTE
CLOCKS_APART_S: Final = 300
CAPS_PER_HOUR: Final = {Impact.COSTLY: 120, Impact.PHYSICAL: 30, Impact.IRREVERSIBLE: 6}

Seconds: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
Words: TypeAlias = Annotated[str, msgspec.Meta(max_length=256)]
Principal: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Narrow(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="narrow"):
    """From ``at_s`` for ``for_s`` seconds this principal may do at most this. ``per_minute`` 0 leaves its rate alone.

    ``human``: what is above the class waits for a person, who says so on another device.
    """

    principal: Principal
    cls: Impact
    per_minute: Annotated[int, msgspec.Meta(ge=0, le=1 << 32)]
    human: bool
    at_s: Seconds
    for_s: Annotated[int, msgspec.Meta(ge=1, le=NARROW_FOR_S_MAX)]
    why: Words


class Widen(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="widen"):
    """The signer is for ending this narrowing."""

    narrowing: Annotated[str, msgspec.Meta(min_length=52, max_length=52)]
    at_s: Seconds


Said: TypeAlias = Narrow | Widen
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Said).decode


class Ceiling(msgspec.Struct, frozen=True, kw_only=True):
    """The most that a principal may do now."""

    cls: Impact = FREE
    per_minute: int = 0
    human: bool = False
    why: str = ""


class Narrowing(msgspec.Struct, kw_only=True):
    """A narrowing that holds, and who said it."""

    narrow: Narrow
    signer: NodeId
    until_ns: int


class Meter(msgspec.Struct, kw_only=True):
    """What one principal has left: requests of this minute, and for each class of this hour."""

    minute_ns: int
    hour_ns: int
    requests: int = 0
    heavy: dict[int, int] = {}


UNBOUND: Final = Ceiling()


class Quarantine(msgspec.Struct, kw_only=True):
    """The narrowings by the ids of their statements. ``widened``: who is for the end of which; ``signed``: when who narrowed."""

    table: dict[str, Narrowing] = {}
    about: dict[str, list[str]] = {}  # principal: its narrowings
    members: dict[str, None] = {}  # principals in the table that are devices of our account
    widened: dict[str, dict[NodeId, None]] = {}
    signed: dict[NodeId, list[int]] = {}
    meters: dict[str, Meter] = {}
    due_ns: int = NEVER_NS

    def ceiling(self, principal: str) -> Ceiling:
        """Return the most that this principal may do."""
        mine = [self.table[identifier].narrow for identifier in self.about.get(principal, ())]
        if not mine:
            return UNBOUND
        tightest = min(mine, key=lambda narrow: (narrow.cls, narrow.at_s, narrow.why))
        cls, per_minute = tightest.cls, min((narrow.per_minute for narrow in mine if narrow.per_minute), default=0)
        if principal in self.members:
            cls, per_minute = max(cls, FLOOR_OF_MEMBERS), max(per_minute, FLOOR_PER_MINUTE) if per_minute else 0
        human = any(narrow.human for narrow in mine)
        return Ceiling(cls=Impact(cls), per_minute=per_minute, human=human, why=tightest.why)

    def refusal(self, now_ns: int, principal: str, cls: int) -> str:
        """Count a request of this class; return why it may not be, or nothing."""
        ceiling = self.ceiling(principal) if self.table else UNBOUND
        if cls > ceiling.cls:
            until = "until a person says otherwise on another machine" if ceiling.human else "for now"
            return f"it may do at most what is {ceiling.cls.name.lower()} {until}: {ceiling.why}"
        if not ceiling.per_minute and cls < Impact.COSTLY:
            return ""
        meter = self._meter(now_ns, principal)
        if meter is None:
            return "too many ask here at once for what is costly"
        if ceiling.per_minute:
            if meter.requests >= ceiling.per_minute:
                return f"it may ask {ceiling.per_minute} times a minute: {ceiling.why}"
            meter.requests += 1
        return _over_cap(meter, cls)

    def narrow(self, now_ns: int, narrow: Narrow, house: Household) -> list[Effect]:
        """Narrow here at once, and have it signed for the others."""
        body = _encode(narrow)
        said = Statement(topic=Topic.QUARANTINE, signer=house.node, body=body, signature=bytes(64))
        if not self._hold(now_ns, statement_id(said), narrow, house.node, house):
            return []
        return [*_told(narrow, house.node), State(topic=Topic.QUARANTINE, body=body)]

    def judge(self, now_ns: int, statement: Statement, house: Household) -> Verdict:
        """Take in what a device of the account says of a principal."""
        signer = NodeId(statement.signer)
        if not house.is_member(signer):
            return Verdict(keep=False, why="only a device of the account narrows or widens")
        try:
            said = read_said(statement.body)
        except PeerBroke as error:
            return Verdict(keep=False, why=str(error))
        if isinstance(said, Widen):
            return self._widen(now_ns, statement, said, house)
        identifier = statement_id(statement)
        if identifier in self.table:
            return Verdict(keep=True)
        why = self._unfit(now_ns, said, signer, house)
        if why:
            return Verdict(keep=False, why=why)
        if self._is_freed(identifier, Narrowing(narrow=said, signer=signer, until_ns=0), house):
            return Verdict(keep=False, why="it was taken back")
        if not self._hold(now_ns, identifier, said, signer, house):
            return Verdict(keep=False, why=f"{NARROWINGS_MAX} narrowings are the most")
        return Verdict(keep=True, effects=() if house.statements.restoring else _told(said, signer))

    def expire(self, now_ns: int, house: Household) -> list[Effect]:
        """End what is over."""
        wall_s = house.wall_s(now_ns)
        over = [i for i, held in self.table.items() if now_ns >= held.until_ns or _is_past(held.narrow, wall_s)]
        effects = [e for identifier in sorted(over) for e in _freed(self.table.pop(identifier), "its time is over")]
        self._tidy()
        return effects

    def _unfit(self, now_ns: int, narrow: Narrow, signer: NodeId, house: Household) -> str:
        """Return why a narrowing by somebody else does not count, or nothing."""
        if _is_past(narrow, house.wall_s(now_ns)):
            return "its time is over"
        if house.statements.restoring:
            return ""
        recent = [at_ns for at_ns in self.signed.get(signer, ()) if now_ns - at_ns < HOUR_NS]
        if len(recent) >= NARROWS_PER_SIGNER_HOUR:
            return f"one device narrows at most {NARROWS_PER_SIGNER_HOUR} times an hour"
        self.signed[signer] = [*recent, now_ns]
        return ""

    def _hold(self, now_ns: int, identifier: str, narrow: Narrow, signer: NodeId, house: Household) -> bool:
        if identifier in self.table or len(self.table) >= NARROWINGS_MAX:
            return False
        until_ns = now_ns + narrow.for_s * SECOND
        self.table[identifier] = Narrowing(narrow=narrow, signer=signer, until_ns=until_ns)
        self.about.setdefault(narrow.principal, []).append(identifier)
        if house.is_member(NodeId(narrow.principal)):
            self.members[narrow.principal] = None
        self.due_ns = min(self.due_ns, until_ns)
        return True

    def _widen(self, now_ns: int, statement: Statement, widen: Widen, house: Household) -> Verdict:
        """Count who is for the end of a narrowing. That is kept for its day: the narrowing may come (again) after it."""
        signer = NodeId(statement.signer)
        wall_s = house.wall_s(now_ns)
        if wall_s and wall_s > widen.at_s + NARROW_FOR_S_MAX + CLOCKS_APART_S:
            return Verdict(keep=False, why="its time is over")
        if self.ceiling(signer).cls < FREE:
            return Verdict(keep=False, why="who is in quarantine itself widens nothing")
        if len(self.widened) >= NARROWINGS_MAX and widen.narrowing not in self.widened:
            over = next((known for known in self.widened if known not in self.table), None)
            if over is None:
                return Verdict(keep=False, why=f"{NARROWINGS_MAX} narrowings are the most")
            del self.widened[over]
        self.widened.setdefault(widen.narrowing, {})[signer] = None
        held = self.table.get(widen.narrowing)
        if held is None or not self._is_freed(widen.narrowing, held, house):
            return Verdict(keep=True)
        del self.table[widen.narrowing]
        self._tidy()
        told = () if house.statements.restoring else _freed(held, f"by {signer[:8]}")
        return Verdict(keep=True, effects=told, drop=(widen.narrowing,))

    def _is_freed(self, identifier: str, held: Narrowing, house: Household) -> bool:
        """Tell whether enough are for its end: who said it, or others; never the principal itself."""
        them = [signer for signer in self.widened.get(identifier, ()) if house.is_member(signer)]
        others = [signer for signer in them if signer != held.narrow.principal]
        return held.signer in others or len(others) >= self._freers(held, house)

    def _freers(self, held: Narrowing, house: Household) -> int:
        """Return how many other devices must be for it."""
        if not house.is_member(NodeId(held.narrow.principal)):
            return 1
        able = sum(device.node not in {held.narrow.principal, held.signer} for device in house.keylog.members().active)
        return max(1, min(FREERS, able))

    def _meter(self, now_ns: int, principal: str) -> Meter | None:
        meter = self.meters.get(principal)
        if meter is None:
            if len(self.meters) >= METERS_MAX:
                old = [known for known, meter in self.meters.items() if now_ns - meter.hour_ns >= HOUR_NS]
                for known in old:
                    del self.meters[known]
                if len(self.meters) >= METERS_MAX:
                    return None
            meter = self.meters[principal] = Meter(minute_ns=now_ns, hour_ns=now_ns)
        if now_ns - meter.minute_ns >= MINUTE:
            meter.minute_ns, meter.requests = now_ns, 0
        if now_ns - meter.hour_ns >= HOUR_NS:
            meter.hour_ns, meter.heavy = now_ns, {}
        return meter

    def _tidy(self) -> None:
        self.about = {}
        for identifier, held in self.table.items():
            self.about.setdefault(held.narrow.principal, []).append(identifier)
        self.members = {known: None for known in self.members if known in self.about}
        self.due_ns = min((held.until_ns for held in self.table.values()), default=NEVER_NS)


def encode_said(said: Said) -> bytes:
    """Write it down: the body of a statement about a quarantine."""
    return _encode(said)


def read_said(body: bytes) -> Said:
    """Read what was stated; PeerBroke for anything but its one encoding."""
    said: Said = read_exactly(_decode, _encode, body, "a statement about a quarantine")
    return said


def _over_cap(meter: Meter, cls: int) -> str:
    """Count what is heavy; return why it is too much, or nothing."""
    for heavy, cap in CAPS_PER_HOUR.items():
        if cls >= heavy and meter.heavy.get(heavy, 0) >= cap:
            return f"nobody may do more than {cap} things an hour here that are {heavy.name.lower()} or worse"
    for heavy in CAPS_PER_HOUR:
        if cls >= heavy:
            meter.heavy[heavy] = meter.heavy.get(heavy, 0) + 1
    return ""


def _is_past(narrow: Narrow, wall_s: int) -> bool:
    return bool(wall_s) and wall_s > narrow.at_s + narrow.for_s + CLOCKS_APART_S


def _told(narrow: Narrow, signer: NodeId) -> tuple[Effect, ...]:
    """Tell people, and put it into the decision log."""
    said: dict[str, str | int] = {"class": int(narrow.cls), "per_minute": narrow.per_minute, "for_s": narrow.for_s}
    return (
        Notice(name="narrowed", fields={"who": narrow.principal, **said, "by": signer, "why": narrow.why}),
        decided("quarantine", narrow.principal, narrow.why, cls=int(narrow.cls), by=signer, for_s=narrow.for_s),
    )


def _freed(held: Narrowing, why: str) -> tuple[Effect, ...]:
    who = held.narrow.principal
    return (
        Notice(name="no longer narrowed", fields={"who": who, "was": held.narrow.why, "why": why}),
        decided("quarantine ended", who, why),
    )
