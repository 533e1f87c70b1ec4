"""The charter: what a realm's council has agreed on, and nothing but what must be unique.

Who is primary in which epoch, under which name and below which parents the realm lives, which child bears which name, who sits
in the council, a few rules, and how much of what each child may spend while it is cut off (its *allotment*). A pure state
machine: ``apply`` takes the commands that Raft committed, in order, and says why it refuses one; a refused command changes
nothing, so replicas agree on it too. Whatever bytes a command has, it is read at one door and never raises out of ``apply``.

Invariants: an epoch number is given once. Names are unique among children. A parent's level is above the realm's, a child's
below it, so realms cannot form a loop as long as they tell their levels; where somebody lies, lineages show the loop. What is
spent is never above what is allotted, and all allotments of one thing never above its total. Allotted and spent only grow, and
both are told as totals, so the same word twice, late or in another order ends the same. One spender tells one counter.
Source: D. Ongaro, thesis, chapter 6 (state machine); grow-only counters after M. Shapiro et al., "Conflict-free Replicated
Data Types", 2011; escrow after P. O'Neil, "The Escrow Transactional Method", 1986.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, TypeAlias, assert_never

import msgspec

from worldos.errors import PeerBroke
from worldos.model.ids import NodeId
from worldos.model.limits import CHARTER_ALLOTMENTS_MAX, CHARTER_CHILDREN_MAX, CHARTER_POLICIES_MAX
from worldos.model.raft import NOBODY
from worldos.model.realm import (
    COMMAND_BYTES_MAX,
    COUNCIL_MAX,
    DEPTH_MAX,
    NUMBER_MAX,
    PARENTS_MAX,
    Contact,
    Contacts,
    Epoch,
    Level,
    NodeName,
    Number,
    ParentRecord,
    Realm,
    RealmId,
    Text,
    rank,
)

LEND: Final = "lend"
LEND_VALUES: Final = ("own", "kin")
TOTAL: Final = "total."

# Plain letters only: a name stands in paths that people type on any keyboard, and no two may look the same.
_WORD: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_KEY: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
_NOT_IN_WORDS: Final = re.compile(r"[^a-z0-9]+")

Lineage: TypeAlias = Annotated[tuple[Realm, ...], msgspec.Meta(max_length=DEPTH_MAX)]
Value: TypeAlias = Annotated[str, msgspec.Meta(max_length=256)]


# -- what may be said -----------------------------------------------------------------------------------------------------


class EpochBegan(msgspec.Struct, frozen=True, kw_only=True, tag="epoch"):
    """This node is the primary from now on, in the epoch of this number. The council's leader says it of itself."""

    number: Number
    primary: NodeName


class Named(msgspec.Struct, frozen=True, kw_only=True, tag="named"):
    """The realm is called so, and holds so much together."""

    name: Text
    level: Level


class Seated(msgspec.Struct, frozen=True, kw_only=True, tag="seated"):
    """These are all that have a seat in the council, or are about to, and where they are found."""

    contacts: Contacts


class ParentAdded(msgspec.Struct, frozen=True, kw_only=True, tag="parent+"):
    """This realm may be the superior. ``lineage``: the realms from the topmost to that parent."""

    parent: ParentRecord
    lineage: Lineage = ()


class ParentLeft(msgspec.Struct, frozen=True, kw_only=True, tag="parent-"):
    """It may not any more."""

    realm: Realm


class ChildAdmitted(msgspec.Struct, frozen=True, kw_only=True, tag="child+"):
    """This realm may register below, under this name. ``lineage``: the realms above *this* one, as its primary sees them now."""

    realm: Realm
    name: Text
    level: Level
    council: Contacts
    lineage: Lineage = ()


class ChildCouncil(msgspec.Struct, frozen=True, kw_only=True, tag="child"):
    """These speak for the child in this epoch."""

    realm: Realm
    epoch: Epoch
    council: Contacts


class ChildLeft(msgspec.Struct, frozen=True, kw_only=True, tag="child-"):
    """It is a child no more. What was allotted to it stays so: it may have spent it where nobody sees."""

    realm: Realm


class PolicySet(msgspec.Struct, frozen=True, kw_only=True, tag="policy"):
    """A rule of the realm: ``lend`` (``own`` or ``kin``), ``total.WHAT`` (how much may be allotted); "" takes it back."""

    key: Text
    value: Value


class Allotted(msgspec.Struct, frozen=True, kw_only=True, tag="allotted"):
    """So much in all, of this, may be spent by ``child`` (a child realm, or a node of the council) without asking."""

    child: Realm
    what: Text
    amount: Number


class Spent(msgspec.Struct, frozen=True, kw_only=True, tag="spent"):
    """So much in all of its allotment did it spend."""

    child: Realm
    what: Text
    total: Number


class WorkBegan(msgspec.Struct, frozen=True, kw_only=True, tag="work+"):
    """The site keeps work from now on: those who sit now found its replicas (kernel/work), once for all."""


class WorkStands(msgspec.Struct, frozen=True, kw_only=True, tag="work"):
    """A leader of the work was elected: from now on its own log says who keeps it, and nobody founds it again."""


Command = (
    EpochBegan
    | Named
    | Seated
    | ParentAdded
    | ParentLeft
    | ChildAdmitted
    | ChildCouncil
    | ChildLeft
    | PolicySet
    | Allotted
    | Spent
    | WorkBegan
    | WorkStands
)


# -- what is agreed on ----------------------------------------------------------------------------------------------------


class ChildRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A realm below, and who spoke for it last."""

    name: Text
    level: Level
    epoch: Epoch
    council: Contacts


class Allotment(msgspec.Struct, frozen=True, kw_only=True):
    """How much of one thing one spender may spend, and did: totals, which only grow."""

    amount: Number = 0
    spent: Number = 0

    @property
    def left(self) -> int:
        """Return what may still be spent."""
        return self.amount - self.spent

    def spend(self, amount: int) -> Allotment | None:
        """Return the allotment after spending so much, or None where there is not so much left."""
        return Allotment(amount=self.amount, spent=self.spent + amount) if 0 <= amount <= self.left else None


def merge(one: Allotment, other: Allotment) -> Allotment:
    """Return what is known of an allotment when two histories of it meet."""
    return Allotment(amount=max(one.amount, other.amount), spent=max(one.spent, other.spent))


class Charter(msgspec.Struct, kw_only=True):
    """One realm's charter. ``lineages`` has for each parent the realms from the topmost to it, as far as was told.

    ``owner`` is the site on which the realm was begun: whoever leads it, its people call it theirs.
    ``allotments`` are by spender, then by thing. ``works``: the site keeps work (kernel/work), whose ``founders`` are told here
    until it stands.
    """

    realm: Realm
    name: Text
    level: Level
    epoch: Epoch = Epoch()
    primary: Annotated[NodeId, msgspec.Meta(max_length=64)] = NOBODY
    parents: Annotated[dict[Realm, ParentRecord], msgspec.Meta(max_length=PARENTS_MAX)] = {}
    lineages: Annotated[dict[Realm, Lineage], msgspec.Meta(max_length=PARENTS_MAX)] = {}
    children: Annotated[dict[Realm, ChildRecord], msgspec.Meta(max_length=CHARTER_CHILDREN_MAX)] = {}
    seats: Contacts = ()
    owner: Annotated[RealmId, msgspec.Meta(max_length=64)] = RealmId("")
    policy: Annotated[dict[Text, Value], msgspec.Meta(max_length=CHARTER_POLICIES_MAX)] = {}
    allotments: Annotated[
        dict[Realm, Annotated[dict[Text, Allotment], msgspec.Meta(max_length=CHARTER_ALLOTMENTS_MAX)]],
        msgspec.Meta(max_length=CHARTER_ALLOTMENTS_MAX),
    ] = {}
    founders: Annotated[tuple[NodeName, ...], msgspec.Meta(max_length=COUNCIL_MAX)] = ()
    works: bool = False

    def apply(self, command: bytes) -> str:
        """Take in a committed command; return why it is refused, or nothing."""
        try:
            said = decode_command(command)
        except PeerBroke as error:
            return str(error)
        match said:
            case EpochBegan():
                return self._begin(said)
            case Named():
                return self._rename(said)
            case Seated():
                return self._seat(said)
            case ParentAdded():
                return self._add_parent(said)
            case ParentLeft():
                return self._part(said)
            case ChildAdmitted():
                return self._admit(said)
            case ChildCouncil():
                return self._hear_child(said)
            case ChildLeft():
                return self._let_go(said)
            case PolicySet():
                return self._set(said)
            case Allotted():
                return self._allot(said)
            case Spent():
                return self._spend(said)
            case WorkBegan() | WorkStands():
                return self._work(said)
            case _:
                assert_never(said)

    @property
    def lend(self) -> str:
        """Return to whom the realm's nodes lend: their ``own`` account, or also its ``kin``."""
        return self.policy.get(LEND, LEND_VALUES[0])

    def contact_of(self, node: NodeId) -> Contact | None:
        """Return how a member of the council is found."""
        return next((contact for contact in self.seats if contact.node == node), None)

    def total(self, what: str) -> int:
        """Return how much of this may be allotted."""
        return int(self.policy.get(TOTAL + what, "0"))

    def allotted(self, what: str, besides: str = "") -> int:
        """Return how much of this is allotted to all but ``besides``."""
        return sum(mine[what].amount for child, mine in self.allotments.items() if child != besides and what in mine)

    # -- each command -----------------------------------------------------------------------------------------------------

    def _begin(self, said: EpochBegan) -> str:
        if said.number <= self.epoch.number:
            return f"stale epoch: {said.number}, it is {self.epoch.number} already"
        self.epoch = Epoch(said.number)
        self.primary = said.primary
        return ""

    def _rename(self, said: Named) -> str:
        why = name_refusal(said.name)
        if why:
            return why
        if any(parent.level <= said.level for parent in self.parents.values()):
            return "a realm must be of a lower level than its parents"
        if any(child.level >= said.level for child in self.children.values()):
            return "a realm must be of a higher level than its children"
        self.name, self.level = said.name, said.level
        return ""

    def _seat(self, said: Seated) -> str:
        nodes = {contact.node for contact in said.contacts}
        if not nodes:
            return "a council has at least one seat"
        if len(nodes) != len(said.contacts):
            return "each node has one seat"
        self.seats = said.contacts
        self.owner = self.owner or said.contacts[0].site  # the first council is its founder
        return ""

    def _add_parent(self, said: ParentAdded) -> str:
        parent = said.parent
        above = {parent.realm, *said.lineage}
        if self.realm in above or not above.isdisjoint(self.children):
            return f"a loop: {parent.name} is below this realm"
        if parent.level <= self.level:
            return "a realm must be of a lower level than its parents"
        if parent.realm not in self.parents and len(self.parents) >= PARENTS_MAX:
            return f"{PARENTS_MAX} parents are the most"
        if len(above) >= DEPTH_MAX:
            return f"{DEPTH_MAX} realms above each other are the most"
        self.parents[parent.realm] = parent
        self.lineages[parent.realm] = said.lineage
        return ""

    def _part(self, said: ParentLeft) -> str:
        if said.realm not in self.parents:
            return "unknown parent"
        del self.parents[said.realm], self.lineages[said.realm]
        return ""

    def _admit(self, said: ChildAdmitted) -> str:
        why = name_refusal(said.name)
        if why:
            return why
        above = {self.realm, *self.parents, *said.lineage}.union(*self.lineages.values())
        if said.realm in above:
            return f"a loop: {said.name} is above this realm"
        if said.level >= self.level:
            return "a realm must be of a higher level than its children"
        if not said.council:
            return "somebody must speak for a child"
        if any(child.name == said.name for realm, child in self.children.items() if realm != said.realm):
            return f"the name {said.name} is taken here"
        known = self.children.get(said.realm)
        if known is None and len(self.children) >= CHARTER_CHILDREN_MAX:
            return f"{CHARTER_CHILDREN_MAX} children are the most"
        epoch = Epoch() if known is None else known.epoch
        self.children[said.realm] = ChildRecord(name=said.name, level=said.level, epoch=epoch, council=said.council)
        return ""

    def _hear_child(self, said: ChildCouncil) -> str:
        known = self.children.get(said.realm)
        if known is None:
            return "unknown child"
        if rank(said.epoch) < rank(known.epoch):
            return f"stale epoch: {said.epoch.number}, it is {known.epoch.number} already"
        if not said.council:
            return "somebody must speak for a child"
        self.children[said.realm] = msgspec.structs.replace(known, epoch=said.epoch, council=said.council)
        return ""

    def _let_go(self, said: ChildLeft) -> str:
        if said.realm not in self.children:
            return "unknown child"
        del self.children[said.realm]
        return ""

    def _set(self, said: PolicySet) -> str:
        if not _KEY.fullmatch(said.key):
            return "a policy is called by a word of a to z, 0 to 9, - and ."
        if said.key != LEND and not said.key.startswith(TOTAL):
            return f"there is no policy {said.key}: there are {LEND}, and {TOTAL}WHAT"
        if said.key == LEND and said.value not in ("", *LEND_VALUES):
            return f"{LEND} is one of: {', '.join(LEND_VALUES)}"
        if said.key.startswith(TOTAL):
            why = self._total_refusal(said)
            if why:
                return why
        if not said.value:
            self.policy.pop(said.key, None)
        elif said.key not in self.policy and len(self.policy) >= CHARTER_POLICIES_MAX:
            return f"{CHARTER_POLICIES_MAX} policies are the most"
        else:
            self.policy[said.key] = said.value
        return ""

    def _total_refusal(self, said: PolicySet) -> str:
        digits = said.value or "0"
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 19) or int(digits) > NUMBER_MAX:
            return f"a total is a whole number up to {NUMBER_MAX}"
        if int(digits) < self.allotted(said.key.removeprefix(TOTAL)):
            return "more than that is allotted already"
        return ""

    def _allot(self, said: Allotted) -> str:
        if said.child not in self.children and self.contact_of(NodeId(said.child)) is None:
            return "unknown child"
        mine = self.allotments.get(said.child, {})
        known = mine.get(said.what, Allotment())
        if not said.amount or said.amount < known.amount:
            return f"an allotment only grows: it is {known.amount} already"
        if self.allotted(said.what, besides=said.child) + said.amount > self.total(said.what):
            return f"over-allotted: there are {self.total(said.what)} in all"
        if said.what not in mine and sum(map(len, self.allotments.values())) >= CHARTER_ALLOTMENTS_MAX:
            return f"{CHARTER_ALLOTMENTS_MAX} allotments are the most"
        told = Allotment(amount=said.amount)
        self.allotments[said.child] = {**mine, said.what: merge(known, told)}
        return ""

    def _spend(self, said: Spent) -> str:
        mine = self.allotments.get(said.child, {})
        known = mine.get(said.what)
        if known is None:
            return "nothing was allotted to it"
        if said.total > known.amount:
            return f"over-allotted: {known.amount} may be spent"
        self.allotments[said.child] = {**mine, said.what: merge(known, Allotment(spent=said.total))}
        return ""

    def _work(self, said: WorkBegan | WorkStands) -> str:
        if isinstance(said, WorkStands):
            self.founders = ()
            return "" if self.works else "nobody has begun it"
        if not self.works:
            self.works, self.founders = True, tuple(sorted(contact.node for contact in self.seats))
        return ""


# -- names, and the door for bytes ----------------------------------------------------------------------------------------


def name_refusal(name: str) -> str:
    """Return why a realm cannot be called so, or nothing."""
    if _WORD.fullmatch(name):
        return ""
    return "a realm's name is a word of a to z, 0 to 9 and - inside, at most 63 long"


def name_from(text: str) -> str:
    """Return a name that a realm can bear, after a text such as a machine's name."""
    return _NOT_IN_WORDS.sub("-", text.lower())[:63].strip("-") or "realm"


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_commands: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_charters = msgspec.msgpack.Decoder(Charter)


def encode_command(command: Command) -> bytes:
    """Return the command's bytes."""
    return _encoder.encode(command)


def decode_command(data: bytes) -> Command:
    """Check and read a command."""
    if len(data) > COMMAND_BYTES_MAX:
        raise PeerBroke(f"a command of {len(data)} bytes, at most {COMMAND_BYTES_MAX} are allowed")
    try:
        return _commands.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise PeerBroke("a command that is not one of ours") from cause


def encode_state(charter: Charter) -> bytes:
    """Return the charter's bytes: the same for equal charters."""
    return _encoder.encode(charter)


def decode_state(data: bytes) -> Charter:
    """Check and read a charter."""
    try:
        charter = _charters.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise PeerBroke("a charter that is not one of ours") from cause
    if not all(total.isascii() and total.isdigit() for key, total in charter.policy.items() if key.startswith(TOTAL)):
        raise PeerBroke("a charter with a total that is no number")
    return charter
