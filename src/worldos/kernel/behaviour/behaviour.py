"""Behaviour: who asks this node for what, and what follows when it is not as usual. Nothing here ever allows anything.

The first trip of a principal slows it down to twice what is usual for it; the second takes away what is above class 1 until a
person says otherwise; the third puts it in quarantine for a day. Asking for a class that it never asked for, or being refused
again and again, begins at the second. Each is a narrowing (quarantine.py), told to all devices of the account and to its log.

What is usual is learnt once and frozen. The frozen baseline is stated by this device (topic BASELINE), so that a restart teaches
nothing new; to learn anew, or to be told what is usual, takes the statement of another device of the account.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import msgspec

from worldos.errors import PeerBroke
from worldos.kernel.behaviour.asked import Asked
from worldos.kernel.behaviour.baseline import Baseline
from worldos.kernel.behaviour.limits import (
    HUMAN_FOR_S,
    PRINCIPALS_MAX,
    QUARANTINE_FOR_S,
    QUARANTINE_PER_MINUTE,
    SLOW_FOR_S,
    SLOW_PER_MINUTE_MIN,
    STEP_FORGOTTEN_NS,
    TRIP_AGAIN_NS,
)
from worldos.kernel.behaviour.watched import Watched
from worldos.kernel.behaviour.window import Feature, Window
from worldos.kernel.effects import Effect, Notice, State
from worldos.kernel.quarantine import FREE, UNBOUND, Narrow, Principal, Seconds
from worldos.kernel.statements import Verdict
from worldos.model.exact import read_exactly
from worldos.model.ids import NodeId
from worldos.model.rights import Impact
from worldos.model.statements import Statement, Topic
from worldos.trust.statements import statement_id

if TYPE_CHECKING:
    from worldos.kernel.household import Household

SLOW: Final = 1
HUMAN: Final = 2
QUARANTINE: Final = 3
_WORDS: Final = {
    Feature.RATE: "asks more often than usual",
    Feature.FAN_OUT: "asks for more different things than usual",
    Feature.DENIALS: "is refused more often than usual",
    Feature.LEVEL: "asks for more than usual",
}


class Frozen(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="frozen"):
    """The signer has learnt what is usual for this principal on its own machine."""

    principal: Principal
    baseline: Baseline
    at_s: Seconds


class Usual(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="usual"):
    """The owner, on the signer, says that all devices learn this principal anew, or what is usual for it."""

    principal: Principal
    baseline: Baseline | None
    at_s: Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]


Said: TypeAlias = Frozen | Usual
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Said).decode


class Behaviour(msgspec.Struct, kw_only=True):
    """All principals that asked this node for something, and the statements by which their baselines hold."""

    table: dict[str, Watched] = {}
    frozen: dict[str, str] = {}  # "principal signer": the id of the statement that holds
    usual: dict[str, tuple[int, str]] = {}  # principal: when, and the statement

    def saw(self, now_ns: int, asked: Asked, house: Household) -> list[Effect]:
        """Take in one ruling; return what follows of it."""
        if asked.principal == house.node:
            return []
        watched = self._watched(now_ns, asked.principal)
        if watched is None:
            return []
        learning = watched.baseline is None
        if house.quarantine.table and house.quarantine.ceiling(asked.principal) != UNBOUND:
            asked = msgspec.structs.replace(asked, is_allowed=True)  # being narrowed is not its doing
        strange = watched.see(now_ns, asked)
        effects: list[Effect] = []
        if learning and watched.baseline is not None:
            effects.append(
                _state(Frozen(principal=asked.principal, baseline=watched.baseline, at_s=house.wall_s(now_ns)))
            )
        if strange and now_ns - watched.tripped_ns >= TRIP_AGAIN_NS:
            effects.extend(self._narrow(now_ns, asked.principal, watched, strange, house))
        return effects

    def judge(self, now_ns: int, statement: Statement, house: Household) -> Verdict:
        """Take in a baseline: this device's own from an earlier life, or the owner's word about one."""
        signer = NodeId(statement.signer)
        if not house.is_member(signer):
            return Verdict(keep=False, why="only a device of the account says what is usual")
        try:
            said = read_said(statement.body)
        except PeerBroke as error:
            return Verdict(keep=False, why=str(error))
        if isinstance(said, Frozen):
            return self._take_frozen(now_ns, statement, said, house)
        return self._take_usual(now_ns, statement, said, house)

    def _watched(self, now_ns: int, principal: str) -> Watched | None:
        watched = self.table.get(principal)
        if watched is None:
            if len(self.table) >= PRINCIPALS_MAX:
                learning = (known for known, other in self.table.items() if other.baseline is None)
                oldest = min(learning, key=lambda known: (self.table[known].window.start_ns, known), default=None)
                if oldest is None:
                    return None
                del self.table[oldest]
            watched = self.table[principal] = Watched(window=Window(start_ns=now_ns))
        return watched

    def _narrow(
        self, now_ns: int, principal: str, watched: Watched, strange: tuple[Feature, ...], house: Household
    ) -> list[Effect]:
        if now_ns - watched.tripped_ns >= STEP_FORGOTTEN_NS:
            watched.step = 0
        watched.step = min(max(watched.step + 1, _first_step(watched, strange)), QUARANTINE)
        watched.tripped_ns = now_ns
        sums = watched.now()
        words = "; ".join(_WORDS[feature] for feature in strange)
        narrow = _narrowing(principal, watched, f"it {words}", house.wall_s(now_ns))
        watched.calm(now_ns)
        figures: dict[str, str | int] = {str(feature.name).lower(): sums[feature] for feature in Feature}
        seen = Notice(
            name="strange behaviour", fields={"who": principal, "step": watched.step, **figures, "why": words}
        )
        return [seen, *house.quarantine.narrow(now_ns, narrow, house)]

    def _take_frozen(self, now_ns: int, statement: Statement, said: Frozen, house: Household) -> Verdict:
        if said.at_s < self.usual.get(said.principal, (0, ""))[0]:
            return Verdict(keep=False, why="the owner said something newer")
        key = f"{said.principal} {statement.signer}"
        identifier = statement_id(statement)
        old = self.frozen.get(key, "")
        self.frozen[key] = identifier
        if statement.signer == house.node and house.statements.restoring:
            watched = self._watched(now_ns, said.principal)
            if watched is not None:
                watched.adopt(now_ns, said.baseline)
        return Verdict(keep=True, drop=(old,) if old else ())

    def _take_usual(self, now_ns: int, statement: Statement, said: Usual, house: Household) -> Verdict:
        if said.principal == statement.signer:
            return Verdict(keep=False, why="nobody says itself what is usual for it")
        if house.quarantine.ceiling(statement.signer).cls < FREE:
            return Verdict(keep=False, why="who is in quarantine says nothing of what is usual")
        known_s, known = self.usual.get(said.principal, (0, ""))
        if said.at_s <= known_s:
            return Verdict(keep=False, why="something newer was said")
        self.usual[said.principal] = (said.at_s, statement_id(statement))
        watched = self._watched(now_ns, said.principal)
        if watched is not None:
            watched.relearn(now_ns)
            if said.baseline is not None:
                watched.adopt(now_ns, said.baseline)
        fields: dict[str, str | int] = {"who": said.principal, "by": statement.signer}
        told = Notice(name="learns anew" if said.baseline is None else "usual was set", fields=fields)
        old = [key for key in self.frozen if key.startswith(f"{said.principal} ")]
        drop = (*([known] if known else []), *(self.frozen.pop(key) for key in sorted(old)))
        return Verdict(keep=True, effects=() if house.statements.restoring else (told,), drop=drop)


def encode_said(said: Said) -> bytes:
    """Write it down: the body of a statement about a baseline."""
    return _encode(said)


def read_said(body: bytes) -> Said:
    """Read what was stated; PeerBroke for anything but its one encoding."""
    said: Said = read_exactly(_decode, _encode, body, "a statement about a baseline")
    return said


def _first_step(watched: Watched, strange: tuple[Feature, ...]) -> int:
    assert watched.baseline is not None
    is_new = Feature.LEVEL in strange and watched.worst > watched.baseline.cls
    return HUMAN if is_new or Feature.DENIALS in strange else SLOW


def _narrowing(principal: str, watched: Watched, why: str, at_s: int) -> Narrow:
    """Return what a step takes away."""
    assert watched.baseline is not None
    usual = max(SLOW_PER_MINUTE_MIN, 2 * watched.baseline.per_minute)
    if watched.step == SLOW:
        return Narrow(
            principal=principal, cls=FREE, per_minute=usual, human=False, at_s=at_s, for_s=SLOW_FOR_S, why=why
        )
    if watched.step == HUMAN:
        cls = Impact.REVERSIBLE
        return Narrow(principal=principal, cls=cls, per_minute=usual, human=True, at_s=at_s, for_s=HUMAN_FOR_S, why=why)
    rate = QUARANTINE_PER_MINUTE
    return Narrow(
        principal=principal, cls=Impact.READ, per_minute=rate, human=True, at_s=at_s, for_s=QUARANTINE_FOR_S, why=why
    )


def _state(said: Said) -> State:
    return State(topic=Topic.BASELINE, body=_encode(said))
