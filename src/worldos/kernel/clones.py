"""Clones: one device key that lives twice, by a copied disk or a snapshot that was brought back.

At the start of each life a device states its number, 16 random bytes that are this life's alone, and its hybrid key. Two
statements of one number with different bytes, signed by one key, are proof for everybody: both are kept, and the device is
*cloned*. A snapshot that comes back counts on from an old number: peers remember a higher one, and who hears of a later
life of itself knows that it is the copy. Two different words of one writer at one place (a session's) are proof as well.

A clone is nobody's peer: it is told the proof and cut off, on both sides of the copy, for nobody can say which is the
true one. The way back is a new key: put the device out, and claim it again. That needs people, and shall.
Invariant: no device is cloned by the word of another one; only its own signatures, or its own link, say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from worldos.errors import PeerBroke
from worldos.kernel.effects import Effect, Forget, Notice, Send
from worldos.kernel.statements import Verdict
from worldos.model.exact import read_exactly
from worldos.model.ids import NodeId
from worldos.model.limits import SECOND
from worldos.model.statements import Statement, StatementsTold, Topic
from worldos.trust.hybrid import PUBLIC_BYTES, check_public
from worldos.trust.keys import node_id_of
from worldos.trust.statements import statement_id

if TYPE_CHECKING:
    from worldos.kernel.household import Household

LIFE_BYTES = 16
LIVES_KEPT = 4  # of each device
REGRESS_NS = 2 * SECOND  # who links as an older life is asked a second time, so long after the first
BOOT_MAX = 1 << 53


class DeviceTold(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="life"):
    """A device begins a life: its number, random bytes that name it, and the key that things are sealed to."""

    boot: Annotated[int, msgspec.Meta(ge=1, lt=BOOT_MAX)]
    life: Annotated[bytes, msgspec.Meta(min_length=LIFE_BYTES, max_length=LIFE_BYTES)]
    public: Annotated[bytes, msgspec.Meta(min_length=PUBLIC_BYTES, max_length=PUBLIC_BYTES)]


class HandOver(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="hand over"):
    """An owner hands a device (its public key) to somebody: the ticket of theirs, sealed to the device's hybrid key."""

    device: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    box: Annotated[bytes, msgspec.Meta(max_length=4096)]


class Handed(msgspec.Struct, frozen=True, kw_only=True):
    """What a device was last told to become: by whom, the sealed ticket, and the statement that says so."""

    by: NodeId
    box: bytes
    told: str


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """A life of a device that is known of, and the id of the statement that told of it."""

    boot: int
    life: bytes
    public: bytes
    told: str


class Clones(msgspec.Struct, kw_only=True):
    """The lives of each device, oldest first; and those that live twice, with the reason."""

    lives: dict[NodeId, list[Life]] = {}
    cloned: dict[NodeId, str] = {}
    proofs: dict[NodeId, list[str]] = {}  # ids of the statements that show it
    doubted: dict[NodeId, tuple[int, int]] = {}  # who linked as an older life: which, and when
    handed: dict[NodeId, Handed] = {}

    def judge(self, now_ns: int, statement: Statement, house: Household) -> Verdict:
        """Take in what a device says of a life of its own."""
        try:
            told = _read(statement.body)
        except PeerBroke as error:
            return Verdict(keep=False, why=str(error))
        if isinstance(told, HandOver):
            return self._hand_over(statement, told, house)
        node = statement.signer
        known_once = house.statements.restoring and house.keylog.members().get(node) is not None
        if not house.is_member(node) and not known_once:
            return Verdict(keep=False, why="only devices of the account tell of their lives")
        lives = self.lives.setdefault(node, [])
        twin = next((life for life in lives if life.boot == told.boot), None)
        own = Life(boot=told.boot, life=told.life, public=told.public, told=statement_id(statement))
        if twin is not None:
            if node in self.cloned:
                return Verdict(keep=False)
            effects = self.accuse(now_ns, node, "it lived twice at one time", (twin.told, own.told), house)
            return Verdict(keep=True, effects=() if house.statements.restoring else effects)
        if node == house.node and (told.boot > house.boot or (house.statements.restoring and told.boot == house.boot)):
            effects = self.accuse(now_ns, node, "a later life of it is known", (own.told,), house)
            return Verdict(keep=True, effects=() if house.statements.restoring else effects)
        if len(lives) >= LIVES_KEPT and told.boot < lives[0].boot:
            return Verdict(keep=False)
        lives.append(own)
        lives.sort(key=lambda life: life.boot)
        kept, over = lives[-LIVES_KEPT:], lives[:-LIVES_KEPT]
        self.lives[node] = kept
        proof = self.proofs.get(node, [])
        return Verdict(keep=True, drop=tuple(life.told for life in over if life.told not in proof))

    def _hand_over(self, statement: Statement, told: HandOver, house: Household) -> Verdict:
        """Take in that a device goes to somebody else, by the word of another one that may speak for the owner."""
        device, by = node_id_of(told.device), house.keylog.members().get(statement.signer)
        if device == statement.signer or not house.is_member(device) or not self.may_speak(statement, house):
            return Verdict(keep=False, why="a device is handed over by another one of its account")
        if by is None or by.young:
            return Verdict(keep=False, why="a device that was admitted by another one alone hands none over")
        before = self.handed.get(device)
        self.handed[device] = Handed(by=statement.signer, box=told.box, told=statement_id(statement))
        return Verdict(keep=True, drop=(before.told,) if before is not None else ())

    def accuse(
        self, now_ns: int, node: NodeId, why: str, proof: tuple[str, ...], house: Household
    ) -> tuple[Effect, ...]:
        """Hold a device for cloned, by statements that it signed itself; cut it off."""
        if node in self.cloned:
            return ()
        self.cloned[node] = why
        self.proofs[node] = list(proof)
        said = Notice(name="device cloned", fields={"node": node, "why": why})
        if node == house.node or node not in house.paths:
            return (said,)
        from worldos.kernel.belonging import cut_off  # noqa: PLC0415 - which stands on the household, as this stands in it

        return (said, *self._told_of(node, tuple(proof), house), *cut_off(house, now_ns, node, "cloned"))

    def linked(self, now_ns: int, node: NodeId, boot: int, house: Household) -> tuple[Effect, ...]:
        """Look at who linked: cut off a clone, and who comes a second time as a life before one that is known."""
        if node in self.cloned:
            return self._shut(node, house)
        lives = self.lives.get(node, [])
        if not lives or boot >= lives[-1].boot:
            self.doubted.pop(node, None)
            return ()
        first_boot, first_ns = self.doubted.get(node, (boot, now_ns))
        self.doubted[node] = (boot, first_ns if first_boot <= boot else now_ns)
        if now_ns - self.doubted[node][1] < REGRESS_NS:
            again = Forget(node=node, why="it linked as an older life")
            return (*self._told_of(node, (lives[-1].told,), house), again)
        accused = self.accuse(now_ns, node, "it came back as an older life", (lives[-1].told,), house)
        return (*accused, *self._shut(node, house))

    def introduce(self, node: NodeId, house: Household) -> tuple[Effect, ...]:
        """Tell a member that is linked now which life this is, before anything else: a copy shows by its first words."""
        lives = self.lives.get(house.node, [])
        if not lives or lives[-1].boot != house.boot or not house.is_member(node):
            return ()
        return self._told_of(node, (lives[-1].told,), house)

    def may_speak(self, statement: Statement, house: Household) -> bool:
        """Tell whether a statement comes from a device of the account that lives once; at a start, from one that ever was."""
        if house.statements.restoring:
            return house.keylog.members().get(statement.signer) is not None
        return house.is_member(statement.signer) and statement.signer not in self.cloned

    def public_of(self, node: NodeId) -> bytes | None:
        """Return the hybrid key of a device, of its last life; none of one that lives twice."""
        lives = self.lives.get(node)
        return lives[-1].public if lives and node not in self.cloned else None

    def _shut(self, node: NodeId, house: Household) -> tuple[Effect, ...]:
        """Tell a clone that linked why it may not, and cut it off."""
        return (*self._told_of(node, tuple(self.proofs[node]), house), Forget(node=node, why="it lives twice"))

    def _told_of(self, node: NodeId, proof: tuple[str, ...], house: Household) -> tuple[Effect, ...]:
        """Show a device the statements of its own that speak against it."""
        known = {**house.statements.of(Topic.DEVICE), **house.statements.of(Topic.SESSION)}
        shown = tuple(known[told] for told in proof if told in known)
        return (Send(node=node, message=StatementsTold(statements=shown)),) if shown else ()


def read_device(body: bytes) -> DeviceTold:
    """Read what a device says of a life; raise PeerBroke unless it is in the one right form."""
    told = _read(body)
    if not isinstance(told, DeviceTold):
        raise PeerBroke("this says nothing of a life")
    return told


def tell_device(boot: int, life: bytes, public: bytes) -> bytes:
    """Write what a device says at the start of a life."""
    return _encode(DeviceTold(boot=boot, life=life, public=public))


def tell_hand_over(device: bytes, box: bytes) -> bytes:
    """Write that a device goes to somebody else."""
    return _encode(HandOver(device=device, box=box))


def _read(body: bytes) -> DeviceTold | HandOver:
    told: DeviceTold | HandOver = read_exactly(_decode, _encode, body, "what is said of a device")
    if isinstance(told, DeviceTold):
        check_public(told.public)
    return told


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(DeviceTold | HandOver).decode
