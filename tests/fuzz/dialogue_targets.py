"""What the fuzzers say to the two dialogues of machines that do not know each other yet: a device that joins, and a realm.

The other side is hostile and has the ticket, or has not. It says any bytes as the first words, after the first answer, or, with
keys agreed on, as a sealed message. Whatever it says is an end or an answer, never an error of ours; and nobody is admitted, and
no machine joins, since no person here said yes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.fuzz.samples import samples
from tests.fuzz.target import Target
from tests.trust.people import ACCOUNT
from tests.trust.test_enrolment import ACME, DESK, HOME, LAPTOP, MINE, NOW_S, ticket
from tests.trust.test_pairing import invitation, inviter, joiner
from worldos.trust import enrolment, pairing
from worldos.trust.channel import framed
from worldos.trust.dialogue import Invitation

STAGES = 4
HARM = (pairing.Admitted, pairing.Joined, enrolment.Admit, enrolment.Enter)


def _sent(outputs: Iterable[Any]) -> bytes:
    return b"".join(each.data for each in outputs if isinstance(each, pairing.Send))


def _sides(kind: int) -> tuple[Any, Any]:
    """Return who invites and who joins: a device, or a realm."""
    if kind:
        invited = invitation()
        return inviter(invited), joiner(invited.ticket)
    one = Invitation(ticket=ticket())
    return (
        enrolment.Inviter(invitations=[(one, ACME)], key=DESK, site=ACCOUNT, now_s=NOW_S, seed=b"i" * 32),
        enrolment.Joiner(ticket=one.ticket, key=LAPTOP, site=HOME, child=MINE, seed=b"j" * 32),
    )


def talk(data: bytes) -> None:
    """Say bytes to either side of either dialogue, at some stage of it."""
    choice, said = (data[0] if data else 0), data[1:]
    inviting, joining = _sides(choice & 1)
    is_joiner = bool(choice >> 1 & 1)
    victim, other = (joining, inviting) if is_joiner else (inviting, joining)
    first = _sent(joining.start())
    stage = (choice >> 2) % STAGES
    if stage == 0:  # the first words, raw
        outputs = victim.receive(said)
    elif stage == 1:  # the first words, in a frame
        outputs = victim.receive(framed(said[:1000]))
    else:
        answer = _sent(inviting.receive(first))
        if stage == 2:  # instead of the second words
            outputs = (joining if is_joiner else inviting).receive(framed(said[:1000]))
        else:  # with keys agreed on: a sealed message
            back = _sent(joining.receive(answer))
            onward = _sent(inviting.receive(back))
            joining.receive(onward)
            outputs = victim.receive(framed(other._out.seal(said[:2000]))) if other._out is not None else []
    outputs = [*outputs, *victim.receive(framed(said[:100])), *victim.closed()]
    assert not any(isinstance(each, HARM) for each in outputs)


_SEALED = bytes([0b1100, 0b1101, 0b1110, 0b1111])
_MESSAGES = (*samples(pairing.Message), *samples(enrolment.Message))

TARGETS: dict[str, Target] = {
    "dialogue": Target(
        talk,
        (
            *(bytes([choice]) + message for choice in _SEALED for message in _MESSAGES),
            *(bytes([choice]) + bytes(70) for choice in range(4 * STAGES)),
        ),
        slow=True,
    ),
}
