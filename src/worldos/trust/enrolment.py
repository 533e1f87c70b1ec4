"""Enrolment: how a realm that has a ticket becomes a child of the realm that made it.

Two machines without I/O, as in ``pairing`` and over the same channel: bytes in, ``Output`` out, in the order to be done. The
ticket is the whole authority, so no code is compared; but both ends sign with their device keys over all that was said, and
the ticket names the inviter's key and account, so that who merely copied it cannot answer in the inviter's place. Keys come of a
secret derived from the ticket's for this purpose alone: nothing said here means anything where devices are paired.

1. joiner: a commitment, which shows that it has the ticket; inviter: its share; joiner: its share;
2. inviter: ``Offered``, what the parent is; the joiner's person says yes or no;
3. joiner: ``Asked``, what the child is; the inviter has the parent's charter admit it (``Admit``), and says ``Accepted``;
4. joiner: enters the parent in the child's charter (``Enter``), and says how that went (``Settled``).

The parent comes first: a child that the parent knows and that does not know it is harmless, and the same again is no error.
A ticket is spent by the admission, not by the asking: who is refused may mend what was wrong and try again.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Sequence
from typing import Annotated

import msgspec

from worldos.errors import BadRequest, NotAllowed, PeerBroke, Unreachable, WorldError
from worldos.model.ids import NodeId
from worldos.model.limits import NAME_CHARS_MAX
from worldos.model.parentage import Child, Parent, unfit
from worldos.model.realm import Contacts, NodeName, Realm, RealmId, Sentence
from worldos.trust.channel import (
    ANSWER,
    COMMIT,
    SPENT,
    Frames,
    Sealed,
    Share,
    Transcript,
    derive,
    framed,
    hear_answer,
    hear_share,
)
from worldos.trust.dialogue import Close, Invitation, Send
from worldos.trust.entries import check_name
from worldos.trust.keys import DeviceKey, public_of, verify
from worldos.trust.roots import check_root
from worldos.trust.ticket import SECRET_BYTES, Ticket

FRAME_BYTES_MAX = 128 * 1024
_DOMAIN = "enrolment"
_INVITER, _JOINER = "inviter", "joiner"
_MAKE_NEW = "make a new one: wos realm invite"


class Setback(enum.StrEnum):
    """Why an enrolment came to nothing; the value is the sentence for the person."""

    STRANGER = "someone called that has no ticket of ours"
    TICKET_USED = "this ticket was used already; each is good for one realm"
    TICKET_EXPIRED = "this ticket is too old"
    NO_ANSWER = "the other machine closed without an answer: it does not know this ticket"
    WRONG_INVITER = "the machine that answered is not the one that made this ticket"
    DECLINED_HERE = "nothing was joined"
    DECLINED_THERE = "the other side does not want to join"
    REFUSED = "the realm does not take it"
    BROKE = "the other machine broke the protocol"
    CUT = "the connection ended before it was done"


_SPENT = frozenset({Setback.TICKET_USED.name, Setback.TICKET_EXPIRED.name})

HINTS = {
    Setback.TICKET_USED: _MAKE_NEW,
    Setback.TICKET_EXPIRED: _MAKE_NEW,
    Setback.NO_ANSWER: _MAKE_NEW,
    Setback.WRONG_INVITER: "somebody may be in between: make a new ticket and hand it over another way",
    Setback.CUT: "try again, with a new ticket if this one is used: wos realm invite",
}


class Consider(msgspec.Struct, frozen=True, kw_only=True):
    """Joiner: show the person what it would join; then call ``confirm`` or ``decline``."""

    parent: Parent


class Admit(msgspec.Struct, frozen=True, kw_only=True):
    """Inviter: let the parent's charter admit this child; then call ``admitted`` or ``refuse``."""

    child: Child
    node: NodeId


class Enter(msgspec.Struct, frozen=True, kw_only=True):
    """Joiner: the parent has admitted us; enter it in the child's charter, then call ``settle``."""

    parent: Parent


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """Both know; or the parent alone does, because the child could not write it down (``why``)."""

    parent: Parent
    child: Child
    why: str = ""


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """It came to nothing: why, and what more is known."""

    why: Setback
    detail: str = ""


Output = Send | Consider | Admit | Enter | Done | Failed | Close


def error_of(failed: Failed) -> WorldError:
    """Return the failure as the error to raise where a person waits for the outcome."""
    said = f"{failed.why}: {failed.detail}" if failed.detail else str(failed.why)
    hint = HINTS.get(failed.why, "")
    if failed.why is Setback.BROKE:
        return PeerBroke(said, hint=hint)
    if failed.why in (Setback.NO_ANSWER, Setback.CUT):
        return Unreachable(said, hint=hint)
    return NotAllowed(said, hint=hint)


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """Who I am, signed over role and transcript, so that it is good in this enrolment only."""

    node: NodeName
    site: Realm
    signature: Annotated[bytes, msgspec.Meta(max_length=64)]


class Offered(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """This is the parent."""

    hello: Hello
    parent: Parent


class Asked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """This is the child, and it wants to."""

    hello: Hello
    child: Child


class Accepted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The child is admitted; the parent as it is now."""

    parent: Parent


class Settled(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The child has the parent in its charter; or why not."""

    why: Sentence


class Declined(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """No: by the person (``why`` is empty), or for this reason."""

    why: Sentence


Message = Offered | Asked | Accepted | Settled | Declined
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


class _Side(abc.ABC):
    """What both sides do alike: frames, the sealed channel, and the end."""

    def __init__(self, key: DeviceKey, site: str, seed: bytes) -> None:
        self.key = key
        self.site = RealmId(site)
        self.ended = False
        self._frames = Frames()
        self._share = Share(seed)
        self._out: Sealed | None = None
        self._in: Sealed | None = None

    def receive(self, data: bytes) -> list[Output]:
        """Take in what came on the connection, cut as it may be."""
        outputs: list[Output] = []
        if not self.ended:
            self._frames.feed(data)
        try:
            while not self.ended and (frame := self._frames.next()) is not None:
                outputs += self._on_frame(frame)
        except WorldError as broken:
            outputs += self._broken(broken)
        return outputs

    def closed(self) -> list[Output]:
        """Say that the connection ended."""
        return [] if self.ended else self._fail(Setback.CUT)

    def _on_frame(self, frame: bytes) -> list[Output]:
        if self._in is None:
            return self._on_open(frame)
        try:
            message = _decode(self._in.open(frame))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
            raise PeerBroke("a message of the enrolment cannot be read") from cause
        if isinstance(message, Declined):
            check_sentence(message.why)
            return self._fail(Setback.REFUSED if message.why else Setback.DECLINED_THERE, message.why)
        return self._on_message(message)

    @abc.abstractmethod
    def _on_open(self, frame: bytes) -> list[Output]: ...

    @abc.abstractmethod
    def _on_message(self, message: Message) -> list[Output]: ...

    def _broken(self, broken: WorldError) -> list[Output]:
        return self._fail(Setback.BROKE, str(broken))

    def _seal(self, send: bytes, receive: bytes) -> None:
        self._out, self._in = Sealed(send), Sealed(receive)
        self._frames.size_max = FRAME_BYTES_MAX

    def _hello(self, role: str, transcript: Transcript) -> Hello:
        unsigned = Hello(node=self.key.node_id, site=self.site, signature=b"")
        signature = self.key.sign(_DOMAIN, _hello_bytes(role, transcript, unsigned))
        return msgspec.structs.replace(unsigned, signature=signature)

    def _tell(self, message: Message) -> list[Output]:
        assert self._out is not None
        return [Send(data=framed(self._out.seal(_encode(message))))]

    def _fail(self, why: Setback, detail: str = "") -> list[Output]:
        self.ended = True
        return [Failed(why=why, detail=detail), Close()]

    def _done(self, parent: Parent, child: Child, why: str) -> list[Output]:
        self.ended = True
        return [Done(parent=parent, child=child, why=why), Close()]


class Inviter(_Side):
    """The side of the parent: one for each connection, over all open invitations, each with what its parent is."""

    def __init__(
        self,
        *,
        invitations: Sequence[tuple[Invitation, Parent]],
        key: DeviceKey,
        site: str,
        now_s: int,
        seed: bytes,
    ) -> None:
        super().__init__(key, site, seed)
        self.invitations = invitations
        self.now_s = now_s
        self.invitation: Invitation | None = None  # the one whose ticket the joiner showed
        self._parent: Parent | None = None
        self._child: Child | None = None
        self._transcript: Transcript | None = None
        self._commitment = b""
        self._admitted = False

    @property
    def admitted_child(self) -> Child | None:
        """The child, once the charter has it."""
        return self._child if self._admitted else None

    def admitted(self, parent: Parent) -> list[Output]:
        """Say that the charter has the child."""
        self._parent, self._admitted = parent, True
        if self.ended:  # it hung up meanwhile: the child is admitted, and may ask again
            return []
        return self._tell(Accepted(parent=parent))

    def refuse(self, why: str) -> list[Output]:
        """Say that it does not, and why; the ticket is good for another try."""
        assert self.invitation is not None
        self.invitation.used = False
        if self.ended:
            return []
        return [*self._tell(Declined(why=why[:512] or "no")), *self._fail(Setback.REFUSED, why)]

    def _on_open(self, frame: bytes) -> list[Output]:
        if self._transcript is None:
            return self._on_commitment(frame)
        assert self._parent is not None
        keys = hear_share(self._transcript, self._share, self._commitment, frame)
        self._seal(send=keys.inviter, receive=keys.joiner)
        return self._tell(Offered(hello=self._hello(_INVITER, self._transcript), parent=self._parent))

    def _on_commitment(self, frame: bytes) -> list[Output]:
        for invitation, parent in self.invitations:
            transcript = _transcript(invitation.ticket)
            heard = transcript.hear(frame)
            if heard is None or heard[0] != COMMIT:
                continue
            late = self.now_s >= invitation.ticket.expires_s
            if invitation.used or late:
                why = Setback.TICKET_USED if invitation.used else Setback.TICKET_EXPIRED
                return [Send(data=framed(transcript.say(SPENT, why.name.encode()))), *self._fail(why)]
            self.invitation, self._parent = invitation, parent
            self._transcript, self._commitment = transcript, heard[1]
            return [Send(data=framed(transcript.say(ANSWER, self._share.shown)))]
        return self._fail(Setback.STRANGER)

    def _on_message(self, message: Message) -> list[Output]:
        if isinstance(message, Asked) and self._child is None:
            return self._on_asked(message)
        if isinstance(message, Settled) and self._admitted:
            assert self._parent is not None
            assert self._child is not None
            check_sentence(message.why)
            return self._done(self._parent, self._child, message.why)
        raise PeerBroke("a message of the enrolment came out of its turn")

    def _on_asked(self, asked: Asked) -> list[Output]:
        assert self._transcript is not None
        assert self._parent is not None
        assert self.invitation is not None
        _check_hello(_JOINER, self._transcript, asked.hello)
        check_child(asked.child)
        if self.invitation.used:  # by another, while this one thought about it
            return [*self._tell(Declined(why=Setback.TICKET_USED)), *self._fail(Setback.TICKET_USED)]
        why = unfit(self._parent, asked.child)
        if why:
            return self.refuse(why)
        self.invitation.used = True
        self._child = asked.child
        return [Admit(child=asked.child, node=asked.hello.node)]

    def _broken(self, broken: WorldError) -> list[Output]:
        """Before the ticket was shown, whatever is wrong is a stranger's."""
        return self._fail(Setback.STRANGER if self._transcript is None else Setback.BROKE, str(broken))


class Joiner(_Side):
    """The side of the realm that has a ticket: ``start`` it, then feed it."""

    def __init__(self, *, ticket: Ticket, key: DeviceKey, site: str, child: Child, seed: bytes) -> None:
        super().__init__(key, site, seed)
        self.ticket = ticket
        self.child = child
        self._parent: Parent | None = None
        self._asked = False
        self._entering = False
        self._transcript = _transcript(ticket)

    def start(self) -> list[Output]:
        """Say the first words, once, when the connection stands."""
        return [Send(data=framed(self._transcript.say(COMMIT, self._share.commitment)))]

    def confirm(self) -> list[Output]:
        """Say that the person here wants to join."""
        if self.ended or self._asked:
            return []
        if self._parent is None:
            raise BadRequest("there is nothing to join yet")
        self._asked = True
        return self._tell(Asked(hello=self._hello(_JOINER, self._transcript), child=self.child))

    def decline(self) -> list[Output]:
        """Say no."""
        if self.ended:
            return []
        return [*self._tell(Declined(why="")), *self._fail(Setback.DECLINED_HERE)]

    def settle(self, why: str = "") -> list[Output]:
        """Say that the child has the parent in its charter, or why not."""
        assert self._parent is not None
        if self.ended:
            return []
        return [*self._tell(Settled(why=why[:512])), *self._done(self._parent, self.child, why)]

    def closed(self) -> list[Output]:
        """Say that the connection ended: without any answer, the ticket is not known there."""
        if self._in is None and not self.ended:
            return self._fail(Setback.NO_ANSWER)
        return super().closed()

    def _on_open(self, frame: bytes) -> list[Output]:
        answer = hear_answer(self._transcript, self._share, frame, _SPENT)
        if isinstance(answer, str):
            return self._fail(Setback[answer])
        shown, keys = answer
        self._seal(send=keys.joiner, receive=keys.inviter)
        return [Send(data=framed(shown))]

    def _on_message(self, message: Message) -> list[Output]:
        if isinstance(message, Offered) and self._parent is None:
            return self._on_offered(message)
        if isinstance(message, Accepted) and self._asked and not self._entering:
            assert self._parent is not None
            check_parent(message.parent)
            if message.parent.realm != self._parent.realm or unfit(message.parent, self.child):
                raise PeerBroke("the realm is another one than was offered")
            self._entering = True
            self._parent = message.parent
            return [Enter(parent=message.parent)]
        raise PeerBroke("a message of the enrolment came out of its turn")

    def _on_offered(self, offered: Offered) -> list[Output]:
        hello, parent = offered.hello, offered.parent
        _check_hello(_INVITER, self._transcript, hello)
        if not hello.node.startswith(self.ticket.inviter_prefix) or not hello.site.startswith(
            self.ticket.account_prefix
        ):
            return self._fail(Setback.WRONG_INVITER)
        check_parent(parent)
        self._parent = parent
        why = unfit(parent, self.child)
        if why:
            return [*self._tell(Declined(why=why)), *self._fail(Setback.REFUSED, why)]
        return [Consider(parent=parent)]


def check_parent(parent: Parent) -> None:
    """Raise PeerBroke unless a parent's words fit together and may be shown in a terminal."""
    check_realm_name(parent.name)
    check_sentence(parent.path)
    if parent.lineage[-1] != parent.realm or len(set(parent.lineage)) != len(parent.lineage):
        raise PeerBroke("a realm's lineage does not end with itself")
    _check_council(parent.council)


def check_child(child: Child) -> None:
    """Raise PeerBroke unless a child's words fit together and may be shown in a terminal."""
    check_realm_name(child.name)
    _check_council(child.council)


def check_realm_name(name: str) -> None:
    """Raise PeerBroke unless ``name`` may be a part of a path."""
    if not 1 <= len(name) <= NAME_CHARS_MAX or not name.isprintable() or "/" in name or name.strip() != name:
        raise PeerBroke(
            f"a realm's name has 1 to {NAME_CHARS_MAX} printable characters, no slash and no space around it"
        )


def check_sentence(text: str) -> None:
    """Raise PeerBroke unless ``text`` may be shown in a terminal."""
    if not text.isprintable():
        raise PeerBroke("a text that cannot be shown")


def _check_council(council: Contacts) -> None:
    if not council:
        raise PeerBroke("a realm that nobody stands for")
    for contact in council:
        check_name(contact.name)
        check_root(contact.node, contact.root_cert)


def _check_hello(role: str, transcript: Transcript, hello: Hello) -> None:
    unsigned = msgspec.structs.replace(hello, signature=b"")
    verify(public_of(hello.node), _DOMAIN, _hello_bytes(role, transcript, unsigned), hello.signature)


def _hello_bytes(role: str, transcript: Transcript, unsigned: Hello) -> bytes:
    return role.encode() + transcript.digest + _encode(unsigned)


def _transcript(ticket: Ticket) -> Transcript:
    return Transcript(derive(ticket.secret, b"enrolment", SECRET_BYTES))
