"""Two machines joined by a fake wire: what each is told, what each says, and every way it can end."""

from collections import deque

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.trust.people import ACCOUNT, DESK, LAPTOP, PHONE, RECOVERY, THIEF, active, add, log_of, remove

from worldos.errors import BadRequest, PeerBroke
from worldos.trust import channel
from worldos.trust.certs import root_certificate
from worldos.trust.channel import framed
from worldos.trust.dialogue import Claimed, Confirmed, Message, Welcome
from worldos.trust.entries import accept_claim, hash_of
from worldos.trust.keylog import KeyLog, new_account
from worldos.trust.keys import DeviceKey, bytes_of
from worldos.trust.pairing import (
    Admitted,
    Close,
    Failed,
    Failure,
    Invitation,
    Inviter,
    Joined,
    Joiner,
    Output,
    PeerHint,
    Send,
    ShowCode,
    Ticket,
    new_ticket,
)

NOW_S = 1_800_000_000
PEERS = (PeerHint(node=PHONE.node_id, name="phone", addresses=("10.0.0.2:7447",)),)


def home() -> KeyLog:
    log = log_of()
    add(log, RECOVERY, LAPTOP)
    add(log, LAPTOP, PHONE)
    return log


def invitation(inviter: DeviceKey = LAPTOP, account: str = ACCOUNT, secret: bytes = b"s" * 16) -> Invitation:
    return Invitation(
        ticket=new_ticket(
            addresses=("10.0.0.1:7447",), secret=secret, inviter=inviter.node_id, account=account, expires_s=NOW_S + 600
        )
    )


def inviter(
    *invitations: Invitation, key: DeviceKey = LAPTOP, log: KeyLog | None = None, now_s: int = NOW_S
) -> Inviter:
    return Inviter(
        invitations=invitations,
        key=key,
        name="laptop",
        log=log or home(),
        peers=PEERS,
        now_s=now_s,
        seed=b"i" * 32,
    )


def joiner(ticket: Ticket, key: DeviceKey = DESK, name: str = "desk", seed: bytes = b"j" * 32) -> Joiner:
    return Joiner(ticket=ticket, key=key, name=name, seed=seed)


class Wire:
    """Joins two machines; keeps what each told its shell, and the bytes each way."""

    def __init__(self, left: Joiner, right: Inviter, *, cut: int = 1 << 20) -> None:
        self.sides = (left, right)
        self.told: tuple[list[Output], list[Output]] = ([], [])
        self.sent: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self.open = True
        self.cut = cut
        self.coming: deque[tuple[int, bytes | None]] = deque()

    def do(self, side: int, outputs: list[Output]) -> None:
        """Carry out what one side wants, then deliver until both are quiet."""
        self.take(side, outputs)
        while self.coming:
            to, data = self.coming.popleft()
            self.take(to, self.sides[to].closed() if data is None else self.sides[to].receive(data))

    def take(self, side: int, outputs: list[Output]) -> None:
        for output in outputs:
            self.told[side].append(output)
            if isinstance(output, Send) and self.open:
                data = self.passing(side, output.data)
                self.sent[side].extend(data)
                self.coming.extend((1 - side, data[at : at + self.cut]) for at in range(0, len(data), self.cut))
            elif isinstance(output, Close):
                self.open = False
                self.coming.append((1 - side, None))

    def passing(self, side: int, data: bytes) -> bytes:
        return data

    def start(self) -> "Wire":
        self.do(0, self.sides[0].start())
        return self

    def say(self, side: int, word: str) -> None:
        self.do(side, getattr(self.sides[side], word)())

    def last(self, side: int, kind: type) -> Output | None:
        return next((output for output in reversed(self.told[side]) if isinstance(output, kind)), None)

    def why(self, side: int) -> Failure | None:
        failed = self.last(side, Failed)
        return failed.why if isinstance(failed, Failed) else None


JOINER, INVITER = 0, 1


def code(wire: Wire, side: int) -> str:
    shown = wire.last(side, ShowCode)
    assert isinstance(shown, ShowCode)
    return shown.code


def met(**changes) -> Wire:
    asked = invitation()
    return Wire(joiner(asked.ticket), inviter(asked, **changes)).start()


# -- the way it should go --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [JOINER, INVITER])
@pytest.mark.parametrize("cut", [1, 7, 1 << 20])
def test_two_people_say_yes_and_the_machine_belongs_to_the_account(first: int, cut: int) -> None:
    asked, log = invitation(), home()
    wire = Wire(joiner(asked.ticket), inviter(asked, log=log), cut=cut).start()
    left, right = wire.last(JOINER, ShowCode), wire.last(INVITER, ShowCode)
    assert (left.node, left.name) == (LAPTOP.node_id, "laptop")
    assert (right.node, right.name) == (DESK.node_id, "desk")
    assert left.code == right.code
    wire.say(first, "confirm")
    assert wire.last(INVITER, Admitted) is None
    wire.say(1 - first, "confirm")
    admitted, joined = wire.last(INVITER, Admitted), wire.last(JOINER, Joined)
    assert (admitted.node, admitted.name) == (DESK.node_id, "desk")
    assert joined.account == ACCOUNT
    assert joined.inviter == LAPTOP.node_id
    assert joined.peers == PEERS
    assert log.merge([admitted.entry]) == [hash_of(admitted.entry)]
    theirs = KeyLog()
    theirs.merge(joined.entries)
    assert theirs == log
    assert active(log) == {"laptop", "phone", "desk"}
    assert asked.used
    assert wire.why(JOINER) is wire.why(INVITER) is None
    assert not wire.open


def test_the_entry_comes_before_the_welcome_is_sent() -> None:
    """Journal, then send: the shell does outputs in order."""
    wire = met()
    wire.say(JOINER, "confirm")
    wire.say(INVITER, "confirm")
    kinds = [type(output).__name__ for output in wire.told[INVITER]]
    assert kinds[-3:] == ["Admitted", "Send", "Close"]


def test_a_machine_that_was_removed_joins_again_by_a_new_ticket() -> None:
    log = home()
    add(log, LAPTOP, DESK)
    remove(log, LAPTOP, DESK)
    asked = invitation()
    wire = Wire(joiner(asked.ticket), inviter(asked, log=log)).start()
    wire.say(JOINER, "confirm")
    wire.say(INVITER, "confirm")
    log.merge([wire.last(INVITER, Admitted).entry])
    assert log.is_member(DESK.node_id)


def test_one_inviter_finds_the_ticket_among_several() -> None:
    first, second = invitation(secret=b"1" * 16), invitation(secret=b"2" * 16)
    wire = Wire(joiner(second.ticket), inviter(first, second)).start()
    assert code(wire, JOINER) == code(wire, INVITER)
    assert (first.used, second.used) == (False, True)


def test_the_code_is_another_each_time() -> None:
    codes = set()
    for number in range(20):
        asked = invitation()
        wire = Wire(joiner(asked.ticket, seed=bytes([number]) * 32), inviter(asked)).start()
        codes.add(code(wire, JOINER))
    assert len(codes) >= 19


# -- every way it can end otherwise ------------------------------------------------------------------------------------


@pytest.mark.parametrize("no", [JOINER, INVITER])
@pytest.mark.parametrize("after_yes", [True, False])
def test_either_no_ends_it_on_both_sides(no: int, after_yes: bool) -> None:
    wire = met()
    if after_yes:
        wire.say(1 - no, "confirm")
    wire.say(no, "reject")
    assert wire.why(no) is Failure.REJECTED_HERE
    assert wire.why(1 - no) is Failure.REJECTED_THERE
    wire.say(JOINER, "confirm")
    wire.say(INVITER, "confirm")
    assert wire.last(INVITER, Admitted) is None
    assert wire.last(JOINER, Joined) is None


def test_a_yes_before_the_code_is_a_mistake() -> None:
    with pytest.raises(BadRequest, match="no code"):
        joiner(invitation().ticket).confirm()


def test_a_second_yes_changes_nothing() -> None:
    wire = met()
    for side in (JOINER, JOINER, INVITER, INVITER):
        wire.say(side, "confirm")
    assert wire.last(JOINER, Joined) is not None
    assert sum(isinstance(output, Admitted) for output in wire.told[INVITER]) == 1


def test_a_ticket_is_good_for_one_machine() -> None:
    asked = invitation()
    Wire(joiner(asked.ticket), inviter(asked)).start()
    second = Wire(joiner(asked.ticket, key=THIEF), inviter(asked)).start()
    assert second.why(JOINER) is second.why(INVITER) is Failure.TICKET_USED
    assert second.last(JOINER, ShowCode) is None


def test_a_ticket_that_is_too_old_is_refused_by_the_inviters_clock() -> None:
    asked = invitation()
    wire = Wire(joiner(asked.ticket), inviter(asked, now_s=NOW_S + 600)).start()
    assert wire.why(JOINER) is wire.why(INVITER) is Failure.TICKET_EXPIRED
    assert not asked.used


def test_a_ticket_of_another_account_gets_no_answer() -> None:
    elsewhere = invitation(secret=b"o" * 16)
    wire = Wire(joiner(elsewhere.ticket), inviter(invitation())).start()
    assert wire.why(JOINER) is Failure.NO_ANSWER
    assert wire.why(INVITER) is Failure.STRANGER
    assert bytes(wire.sent[INVITER]) == b""


def test_an_inviter_of_another_account_is_found_out() -> None:
    asked = invitation(account="b" * 52)
    wire = Wire(joiner(asked.ticket), inviter(asked)).start()
    assert wire.why(JOINER) is Failure.WRONG_ACCOUNT
    assert wire.last(JOINER, ShowCode) is None


def test_another_device_that_has_the_ticket_cannot_answer_for_the_inviter() -> None:
    asked = invitation()
    wire = Wire(joiner(asked.ticket), inviter(asked, key=PHONE)).start()
    assert wire.why(JOINER) is Failure.WRONG_INVITER


def test_a_device_that_was_removed_meanwhile_admits_nobody() -> None:
    log = home()
    wire = met(log=log)
    wire.say(JOINER, "confirm")
    remove(log, RECOVERY, LAPTOP)
    wire.say(INVITER, "confirm")
    assert wire.why(INVITER) is wire.why(JOINER) is Failure.REFUSED
    assert "removed" in wire.last(INVITER, Failed).detail


def test_a_machine_that_the_inviter_comes_from_must_take_a_new_key() -> None:
    log = home()
    remove(log, RECOVERY, LAPTOP)
    asked = invitation(inviter=PHONE)
    wire = Wire(joiner(asked.ticket, key=LAPTOP), inviter(asked, key=PHONE, log=log)).start()
    wire.say(JOINER, "confirm")
    wire.say(INVITER, "confirm")
    assert wire.why(JOINER) is wire.why(INVITER) is Failure.REFUSED


def test_a_cut_connection_is_named_on_both_sides() -> None:
    wire = met()
    for side in wire.sides:
        (failed, closed) = side.closed()
        assert failed.why is Failure.CUT
        assert isinstance(closed, Close)
        assert side.closed() == []
        assert side.receive(b"more") == []


def test_a_name_that_would_spoil_a_terminal_is_not_taken() -> None:
    with pytest.raises(PeerBroke):
        joiner(invitation().ticket, name="\x1b[2J")


# -- strangers, and the one in the middle ------------------------------------------------------------------------------


@given(st.binary(max_size=400))
def test_a_strangers_bytes_get_nothing_back(data: bytes) -> None:
    asked = invitation()
    side = inviter(asked)
    outputs = side.receive(data) + side.closed()
    assert not any(isinstance(output, Send) for output in outputs)
    assert not asked.used


def test_a_megabyte_of_anything_gets_nothing_back_and_is_not_kept() -> None:
    for data in (b"\x00" * 1_000_000, b"\x16\x03\x01" + bytes(1_000_000), framed(bytes(100)) * 10_000):
        side = inviter(invitation())
        outputs = side.receive(data)
        assert [type(output) for output in outputs] == [Failed, Close]
        assert outputs[0].why is Failure.STRANGER
        assert side.receive(data) == []


@given(st.sampled_from([JOINER, INVITER]), st.integers(0, 3000), st.integers(1, 255))
@settings(max_examples=150)
def test_a_byte_changed_on_the_wire_never_ends_in_an_admission(who: int, place: int, flip: int) -> None:
    """Except where it is only the length of what never comes: then nothing happens until the connection is cut."""

    class Noisy(Wire):
        passed = 0

        def passing(self, side: int, data: bytes) -> bytes:
            if side != who:
                return data
            at, self.passed = place - self.passed, self.passed + len(data)
            return data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :] if 0 <= at < len(data) else data

    asked = invitation()
    wire = Noisy(joiner(asked.ticket), inviter(asked)).start()
    for side in (JOINER, INVITER):
        if wire.last(side, ShowCode) is not None:
            wire.say(side, "confirm")
    if place < wire.passed:
        assert wire.last(JOINER, Joined) is None
        # What the joiner says must be whole for an admission; the inviter's last word may still be lost.
        assert who == INVITER or wire.last(INVITER, Admitted) is None


def test_who_stole_the_ticket_and_sits_in_the_middle_shows_two_codes() -> None:
    """The middle has the ticket and even its own copy with its own name in it; it relays between two pairings."""
    asked = invitation()
    forged = invitation(inviter=THIEF)
    different = 0
    for number in range(10):
        asked.used = forged.used = False
        real = inviter(asked)
        towards_joiner = Wire(joiner(forged.ticket, seed=bytes([number]) * 32), inviter(forged, key=THIEF)).start()
        towards_inviter = Wire(joiner(asked.ticket, key=THIEF, seed=bytes([100 + number]) * 32), real).start()
        different += code(towards_joiner, JOINER) != code(towards_inviter, INVITER)
    assert different == 10


def test_who_has_only_the_ticket_cannot_play_the_inviter() -> None:
    asked = invitation()
    wire = Wire(joiner(asked.ticket), inviter(asked, key=THIEF)).start()
    assert wire.why(JOINER) is Failure.WRONG_INVITER
    assert wire.last(JOINER, ShowCode) is None


def test_the_joiner_cannot_choose_its_share_after_it_saw_the_other() -> None:
    """Without the commitment a thief could try a million shares until its code is the one that it needs."""
    asked = invitation()
    side, said = inviter(asked), channel.Transcript(asked.ticket.secret)
    first, better = channel.Share(b"1" * 32), channel.Share(b"2" * 32)
    (answer,) = side.receive(framed(said.say(channel.COMMIT, first.commitment)))
    said.hear(answer.data[4:])
    outputs = side.receive(framed(said.say(channel.REVEAL, better.shown)))
    assert outputs[0].why is Failure.BROKE
    assert not any(isinstance(output, Send) for output in outputs)


def test_the_joiners_share_is_not_seen_before_the_inviters() -> None:
    asked = invitation()
    (first,) = joiner(asked.ticket).start()
    assert channel.Share(b"j" * 32).shown[:32] not in first.data


def test_a_replayed_first_message_gets_no_further_than_its_answer() -> None:
    asked = invitation()
    wire = Wire(joiner(asked.ticket), inviter(asked)).start()
    again = inviter(asked)
    outputs = again.receive(bytes(wire.sent[JOINER]))
    assert outputs[1].why is Failure.TICKET_USED


def test_the_device_key_never_crosses_the_wire_and_names_are_sealed() -> None:
    wire = met()
    wire.say(JOINER, "confirm")
    wire.say(INVITER, "confirm")
    for sent in wire.sent:
        for secret in (b"d" * 32, b"l" * 32, bytes_of(DESK.node_id), DESK.node_id.encode(), b"desk", b"s" * 16):
            assert secret not in bytes(sent)


@given(st.binary(min_size=5, max_size=400))
def test_garbage_for_the_joiner_ends_it_or_waits(data: bytes) -> None:
    side = joiner(invitation().ticket)
    side.start()
    outputs = side.receive(data) + side.closed()
    assert [type(output) for output in outputs] == [Failed, Close]
    assert outputs[0].why in (Failure.BROKE, Failure.NO_ANSWER)


# -- one that has the ticket, and lies after it -------------------------------------------------------------------------


def told_by_joiner(wire: Wire, message: Message) -> Failed | None:
    """Let the joiner's side say something else than it would."""
    wire.do(JOINER, wire.sides[JOINER]._tell(message))
    return wire.last(INVITER, Failed)


def claim_in(wire: Wire, key: DeviceKey = DESK, name: str = "desk", nonce: bytes | None = None) -> Claimed:
    nonce = wire.sides[JOINER]._transcript.digest if nonce is None else nonce
    return Claimed(claim=accept_claim(key, ACCOUNT, name, root_certificate(key), nonce))


def test_a_claim_before_the_inviters_yes_is_refused() -> None:
    wire = met()
    assert told_by_joiner(wire, claim_in(wire)).why is Failure.BROKE
    wire.say(INVITER, "confirm")
    assert wire.last(INVITER, Admitted) is None


@pytest.mark.parametrize(
    "other", [{"key": THIEF}, {"name": "another"}, {"nonce": bytes(32)}], ids=["device", "name", "nonce"]
)
def test_a_claim_for_another_than_was_shown_is_refused(other) -> None:
    wire = met()
    wire.say(INVITER, "confirm")
    assert told_by_joiner(wire, claim_in(wire, **other)).why is Failure.BROKE
    assert wire.last(INVITER, Admitted) is None


def test_a_claim_that_the_device_did_not_sign_is_refused() -> None:
    wire = met()
    wire.say(INVITER, "confirm")
    right = claim_in(wire).claim
    forged = Claimed(claim=msgspec.structs.replace(right, signature=bytes(64)))
    assert told_by_joiner(wire, forged).why is Failure.BROKE
    assert wire.last(INVITER, Admitted) is None


def test_a_second_hello_or_an_inviters_word_from_the_joiner_is_refused() -> None:
    for message in (Confirmed(), Welcome(entries=(), peers=())):
        assert told_by_joiner(met(), message).why is Failure.BROKE
    wire = met()
    hello = wire.sides[JOINER]._hello("joiner", wire.sides[JOINER]._transcript, "")
    assert told_by_joiner(wire, hello).why is Failure.BROKE


def test_a_hello_of_another_pairing_or_role_is_refused() -> None:
    """The middle relays who the real joiner is; the signature is over a transcript that is not this one."""
    other = met()
    for role, transcript in (("joiner", other.sides[JOINER]._transcript), ("inviter", None)):
        asked = invitation()
        side = joiner(asked.ticket, seed=b"x" * 32)
        honest = side._hello
        side._hello = lambda _role, own, account, r=role, t=transcript, say=honest: say(r, t or own, account)
        wire = Wire(side, inviter(asked)).start()
        assert wire.why(INVITER) is Failure.BROKE
        assert wire.last(INVITER, ShowCode) is None


def welcomed(message: Welcome) -> Wire:
    """Bring both to yes, with an inviter that then says this instead of the truth."""
    wire = met()
    right = wire.sides[INVITER]
    right._on_claim = lambda _claim: right._tell(message)
    wire.say(JOINER, "confirm")
    wire.say(INVITER, "confirm")
    return wire


def test_a_welcome_without_this_machine_or_with_a_damaged_log_is_refused() -> None:
    log = home()
    entries = tuple(log.entries.values())
    broken = (*entries[:-1], msgspec.structs.replace(entries[-1], signature=bytes(64)))
    for wrong in (entries, broken, ()):
        wire = welcomed(Welcome(entries=wrong, peers=()))
        assert wire.why(JOINER) in (Failure.BROKE, Failure.WRONG_ACCOUNT)
        assert wire.last(JOINER, Joined) is None


def test_a_welcome_to_another_account_is_refused() -> None:
    other = new_account(b"o" * 32)
    assert welcomed(Welcome(entries=(other,), peers=())).why(JOINER) is Failure.WRONG_ACCOUNT


def test_peers_with_names_that_spoil_a_terminal_are_refused() -> None:
    log = home()
    entries = (*log.entries.values(), add(log, LAPTOP, DESK))
    peers = (PeerHint(node=PHONE.node_id, name="\x1b[2J", addresses=()),)
    assert welcomed(Welcome(entries=entries, peers=peers)).why(JOINER) is Failure.BROKE
    assert welcomed(Welcome(entries=entries, peers=())).why(JOINER) is None
