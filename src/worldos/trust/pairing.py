"""Pairing: how a machine that has a ticket becomes a device of the account, in front of two people.

Two machines without I/O: bytes in, ``Output`` out, in the order to be done. The shell connects them, shows the code,
asks both people, and on ``Admitted`` makes the entry durable *before* it does the ``Send`` that follows. Nobody
without the ticket's secret gets one byte back: the inviter says ``Close`` and nothing else. A ticket is spent by the
first machine that proves to have it; a second one is told so.

1. joiner: a commitment, by which the inviter sees that it has the ticket;
2. inviter: its share; joiner: its share; both: who they are, sealed, and signed over all that was said so far;
3. both show the same six digits, and both people say yes: inviter sends ``Confirmed``;
4. joiner: ``Claimed``, the device's own acceptance; inviter: ``Welcome``, the whole key log with the new admission.

Either side's no ends it, with a name for why on both sides. Time (unix seconds) is the inviter's alone; two clocks
are never compared.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence

import msgspec

from worldos.errors import BadRequest, BadSignature, PeerBroke, WorldError
from worldos.model.ids import AccountId
from worldos.trust.channel import (
    ANSWER,
    COMMIT,
    SPENT,
    Frames,
    Sealed,
    Share,
    Transcript,
    framed,
    hear_answer,
    hear_share,
)
from worldos.trust.dialogue import (
    HINTS,
    Admitted,
    Claimed,
    Close,
    Confirmed,
    Failed,
    Failure,
    Hello,
    Invitation,
    Joined,
    Message,
    Output,
    PeerHint,
    Rejected,
    Send,
    ShowCode,
    Welcome,
    error_of,
)
from worldos.trust.entries import ClaimAccept, accept_claim, check_name
from worldos.trust.keylog import KeyLog, add_device
from worldos.trust.keys import DeviceKey, bytes_of, public_of, verify
from worldos.trust.roots import root_certificate
from worldos.trust.ticket import Ticket, new_ticket

__all__ = [
    "Ticket",
    "new_ticket",
    "Invitation",
    "Inviter",
    "Joiner",
    "PeerHint",
    "Send",
    "ShowCode",
    "Admitted",
    "Joined",
    "Failed",
    "Failure",
    "error_of",
    "Close",
    "Output",
]

INVITER_FRAME_BYTES_MAX = 8 * 1024
JOINER_FRAME_BYTES_MAX = 24 * 1024 * 1024
PEERS_MAX = 256
_DOMAIN = "pairing"
_INVITER, _JOINER = "inviter", "joiner"
_SPENT = frozenset({Failure.TICKET_USED.name, Failure.TICKET_EXPIRED.name})


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


class _Side(abc.ABC):
    """What both sides do alike: frames, the sealed channel, the two answers of a person, and the end."""

    def __init__(self, key: DeviceKey, name: str, seed: bytes) -> None:
        check_name(name)
        self.key = key
        self.name = name
        self.ended = False
        self.peer: Hello | None = None
        self._frames = Frames()
        self._share = Share(seed)
        self._out: Sealed | None = None
        self._in: Sealed | None = None
        self._code = ""

    def receive(self, data: bytes) -> list[Output]:
        """Take in what came on the connection, cut as it may be."""
        outputs: list[Output] = []
        if not self.ended:
            self._frames.feed(data)
        try:
            while (frame := self._next_frame()) is not None:
                outputs += self._on_frame(frame)
        except WorldError as broken:
            outputs += self._broken(broken)
        return outputs

    def confirm(self) -> list[Output]:
        """Say that the person here saw the same code on both machines."""
        if self.ended:
            return []
        if self.peer is None:
            raise BadRequest("there is no code to confirm yet")
        return self._on_yes()

    def reject(self) -> list[Output]:
        """Say no: the codes differ, or the person here does not want it."""
        if self.ended:
            return []
        return [*self._tell(Rejected(by_person=True)), *self._fail(Failure.REJECTED_HERE)]

    def closed(self) -> list[Output]:
        """Say that the connection ended; nothing follows if the pairing was done."""
        return [] if self.ended else self._fail(Failure.CUT)

    def _next_frame(self) -> bytes | None:
        return None if self.ended else self._frames.next()

    def _on_frame(self, frame: bytes) -> list[Output]:
        if self._in is None:
            return self._on_open(frame)
        try:
            message = _decode(self._in.open(frame))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
            raise PeerBroke("a message of the pairing cannot be read") from cause
        if isinstance(message, Rejected):
            return self._fail(Failure.REJECTED_THERE if message.by_person else Failure.REFUSED)
        return self._on_message(message)

    @abc.abstractmethod
    def _on_open(self, frame: bytes) -> list[Output]: ...

    @abc.abstractmethod
    def _on_message(self, message: Message) -> list[Output]: ...

    @abc.abstractmethod
    def _on_yes(self) -> list[Output]: ...

    def _broken(self, broken: WorldError) -> list[Output]:
        return self._fail(Failure.BROKE, str(broken))

    def _hello(self, role: str, transcript: Transcript, account: str) -> Hello:
        unsigned = Hello(node=self.key.node_id, name=self.name, account=account, signature=b"")
        signature = self.key.sign(_DOMAIN, _hello_bytes(role, transcript, unsigned))
        return msgspec.structs.replace(unsigned, signature=signature)

    def _meet(self, role: str, transcript: Transcript, hello: Hello) -> ShowCode:
        if self.peer is not None:
            raise PeerBroke("a second hello")
        check_name(hello.name)
        unsigned = msgspec.structs.replace(hello, signature=b"")
        verify(public_of(hello.node), _DOMAIN, _hello_bytes(role, transcript, unsigned), hello.signature)
        self.peer = hello
        return ShowCode(code=self._code, node=hello.node, name=hello.name)

    def _tell(self, message: Message) -> list[Output]:
        if self._out is None:
            return []
        return [Send(data=framed(self._out.seal(_encode(message))))]

    def _fail(self, why: Failure, detail: str = "") -> list[Output]:
        self.ended = True
        return [Failed(why=why, detail=detail, hint=HINTS.get(why, "")), Close()]

    def _done(self) -> list[Output]:
        self.ended = True
        return [Close()]


class Inviter(_Side):
    """The side of a device that is in the account: one for each connection, over all open invitations."""

    def __init__(
        self,
        *,
        invitations: Sequence[Invitation],
        key: DeviceKey,
        name: str,
        log: KeyLog,
        peers: Sequence[PeerHint],
        now_s: int,
        seed: bytes,
    ) -> None:
        super().__init__(key, name, seed)
        self.invitations = invitations
        self.log = log
        self.peers = tuple(peers)[:PEERS_MAX]
        self.now_s = now_s
        self.invitation: Invitation | None = None  # the one whose ticket the joiner showed
        self._transcript: Transcript | None = None
        self._commitment = b""
        self._said_yes = False

    def _on_open(self, frame: bytes) -> list[Output]:
        if self._transcript is None:
            return self._on_commitment(frame)
        keys = hear_share(self._transcript, self._share, self._commitment, frame)
        self._code = keys.code
        self._in, self._out = Sealed(keys.joiner), Sealed(keys.inviter)
        self._frames.size_max = INVITER_FRAME_BYTES_MAX
        return self._tell(self._hello(_INVITER, self._transcript, self.log.account))

    def _on_commitment(self, frame: bytes) -> list[Output]:
        for invitation in self.invitations:
            transcript = Transcript(invitation.ticket.secret)
            heard = transcript.hear(frame)
            if heard is not None and heard[0] == COMMIT:
                return self._on_ticket(invitation, transcript, heard[1])
        return self._fail(Failure.STRANGER)

    def _on_ticket(self, invitation: Invitation, transcript: Transcript, commitment: bytes) -> list[Output]:
        expired = self.now_s >= invitation.ticket.expires_s
        if invitation.used or expired:
            why = Failure.TICKET_USED if invitation.used else Failure.TICKET_EXPIRED
            return [Send(data=framed(transcript.say(SPENT, why.name.encode()))), *self._fail(why)]
        invitation.used = True
        self.invitation = invitation
        self._transcript, self._commitment = transcript, commitment
        return [Send(data=framed(transcript.say(ANSWER, self._share.shown)))]

    def _on_message(self, message: Message) -> list[Output]:
        assert self._transcript is not None
        if isinstance(message, Hello):
            return [self._meet(_JOINER, self._transcript, message)]
        if isinstance(message, Claimed) and self._said_yes:
            return self._on_claim(message.claim)
        raise PeerBroke("a message of the pairing came out of its turn")

    def _on_yes(self) -> list[Output]:
        if self._said_yes:
            return []
        self._said_yes = True
        return self._tell(Confirmed())

    def _on_claim(self, claim: ClaimAccept) -> list[Output]:
        assert self._transcript is not None
        assert self.peer is not None
        if (claim.device, claim.name, claim.nonce) != (self.peer.node, self.peer.name, self._transcript.digest):
            raise PeerBroke("the claim is not that of the machine whose code was confirmed")
        try:
            entry = add_device(self.log, self.key, claim)
        except (PeerBroke, BadSignature):
            raise
        except WorldError as refused:
            return [*self._tell(Rejected(by_person=False)), *self._fail(Failure.REFUSED, str(refused))]
        welcome = Welcome(entries=(*self.log.entries.values(), entry), peers=self.peers)
        admitted = Admitted(entry=entry, node=claim.device, name=claim.name)
        return [admitted, *self._tell(welcome), *self._done()]

    def _broken(self, broken: WorldError) -> list[Output]:
        """Before the ticket was shown, whatever is wrong is a stranger's."""
        return self._fail(Failure.STRANGER if self._transcript is None else Failure.BROKE, str(broken))


class Joiner(_Side):
    """The side of the machine that has a ticket: ``start`` it, then feed it."""

    def __init__(self, *, ticket: Ticket, key: DeviceKey, name: str, seed: bytes) -> None:
        super().__init__(key, name, seed)
        self.ticket = ticket
        self._transcript = Transcript(ticket.secret)
        self._they_said_yes = False
        self._we_said_yes = False

    def start(self) -> list[Output]:
        """Say the first words, once, when the connection stands."""
        return [Send(data=framed(self._transcript.say(COMMIT, self._share.commitment)))]

    def closed(self) -> list[Output]:
        """Say that the connection ended: without any answer, the ticket is not known there."""
        if self._in is None and not self.ended:
            return self._fail(Failure.NO_ANSWER)
        return super().closed()

    def _on_open(self, frame: bytes) -> list[Output]:
        answer = hear_answer(self._transcript, self._share, frame, _SPENT)
        if isinstance(answer, str):
            return self._fail(Failure[answer])
        shown, keys = answer
        self._code = keys.code
        self._out, self._in = Sealed(keys.joiner), Sealed(keys.inviter)
        self._frames.size_max = JOINER_FRAME_BYTES_MAX
        return [Send(data=framed(shown)), *self._tell(self._hello(_JOINER, self._transcript, ""))]

    def _on_message(self, message: Message) -> list[Output]:
        if isinstance(message, Hello):
            return self._on_hello(message)
        if isinstance(message, Confirmed) and self.peer is not None and not self._they_said_yes:
            self._they_said_yes = True
            return self._claim_if_both()
        if isinstance(message, Welcome) and self._we_said_yes and self._they_said_yes:
            return self._on_welcome(message)
        raise PeerBroke("a message of the pairing came out of its turn")

    def _on_hello(self, hello: Hello) -> list[Output]:
        shown = self._meet(_INVITER, self._transcript, hello)
        if not hello.node.startswith(self.ticket.inviter_prefix):
            return self._fail(Failure.WRONG_INVITER)
        bytes_of(hello.account)
        if not hello.account.startswith(self.ticket.account_prefix):
            return self._fail(Failure.WRONG_ACCOUNT)
        return [shown]

    def _on_yes(self) -> list[Output]:
        if self._we_said_yes:
            return []
        self._we_said_yes = True
        return self._claim_if_both()

    def _claim_if_both(self) -> list[Output]:
        if not (self._we_said_yes and self._they_said_yes):
            return []
        assert self.peer is not None
        root = root_certificate(self.key)
        account = AccountId(self.peer.account)
        return self._tell(Claimed(claim=accept_claim(self.key, account, self.name, root, self._transcript.digest)))

    def _on_welcome(self, welcome: Welcome) -> list[Output]:
        assert self.peer is not None
        log = KeyLog()
        log.merge(welcome.entries)
        if log.account != self.peer.account:
            return self._fail(Failure.WRONG_ACCOUNT)
        if not (log.is_member(self.key.node_id) and log.is_member(self.peer.node)):
            raise PeerBroke("the key log does not hold both machines")
        if len(welcome.peers) > PEERS_MAX:
            raise PeerBroke(f"more than {PEERS_MAX} peers")
        for peer in welcome.peers:
            public_of(peer.node)
            check_name(peer.name)
        joined = Joined(
            account=log.account, entries=tuple(log.entries.values()), inviter=self.peer.node, peers=welcome.peers
        )
        return [joined, *self._done()]


def _hello_bytes(role: str, transcript: Transcript, unsigned: Hello) -> bytes:
    return role.encode() + transcript.digest + _encode(unsigned)
