"""Row 2: one approval too few with all witnesses; one approver many times; approvals of other bytes; two keys of one owner.

Run: the real guard in the simulator, 10^5 nodes (10^6 with TRUST_LONG=1) for the first, 10^4 for the others; passkeys with real
signatures. Outcome: no node acts.
"""

from __future__ import annotations

import msgspec
import pytest
from tests.attacks.rolls import DAY_S, HOUR_S, LONG, QUORUM, WITNESSES, a_planet, an_order, approve, person
from tests.kernel.guard.fleet import Fleet, a_command, a_roll
from tests.trust.soft_passkey import SoftPasskey

from worldos.kernel.guard.command import Drive, SetConfig, command_id, encode_command
from worldos.kernel.guard.quorum import APPROVAL_DOMAIN
from worldos.kernel.guard.roll import Approver, Roll, passkey_id
from worldos.kernel.guard.said import Approval
from worldos.model.ids import NodeId
from worldos.model.realm import Level
from worldos.model.rights import Impact
from worldos.sim.guard_scale import BEGIN_S, Campaign
from worldos.trust.passkeys import write_assertion

OPEN = Drive(path=("grid", "breaker"), verb="open")
SLOWLY = {"not_before_s": BEGIN_S + 3600}


def run(attack: Campaign) -> int:
    attack.run(3600, 600)
    attack.run(30 * DAY_S, 12 * HOUR_S)
    return attack.reached


@pytest.mark.timeout(600 if LONG else 60)
def test_one_person_too_few_with_all_witnesses() -> None:
    roll = a_planet()
    attack = Campaign(roll, an_order(roll, OPEN, **SLOWLY), stolen=WITNESSES)
    attack.propose(QUORUM[0])
    approve(attack, *QUORUM[:-1])
    assert run(attack) == 0


def test_all_persons_of_too_few_nations() -> None:
    roll = a_planet(size=10_000)
    attack = Campaign(roll, an_order(roll, OPEN, **SLOWLY), stolen=WITNESSES)
    attack.propose(QUORUM[0])
    approve(attack, *(person(nation, number) for nation in range(7) for number in range(7)))
    assert run(attack) == 0


def test_the_same_approver_forty_times() -> None:
    roll = a_planet(size=10_000)
    attack = Campaign(roll, an_order(roll, OPEN, **SLOWLY), stolen=WITNESSES)
    attack.propose(QUORUM[0])
    approve(attack, *QUORUM[:1] * 40)
    assert run(attack) == 0


def test_approvals_of_other_bytes() -> None:
    roll = a_planet(size=10_000)
    harmless = command_id(encode_command(an_order(roll, SetConfig(key="color", value="blue"), **SLOWLY)))
    attack = Campaign(roll, an_order(roll, OPEN, **SLOWLY), stolen=WITNESSES)
    attack.propose(QUORUM[0])
    for key in QUORUM:
        attack.say(key, Approval(command=harmless, key=key))
    assert run(attack) == 0


def test_approvals_that_others_carry() -> None:
    roll = a_planet(size=10_000)
    attack = Campaign(roll, an_order(roll, OPEN, **SLOWLY), stolen=WITNESSES)
    attack.propose(QUORUM[0])
    for key in QUORUM:
        attack.say(QUORUM[0], Approval(command=attack.known, key=key))
    assert run(attack) == 0


def test_two_keys_of_one_owner() -> None:
    whole = a_planet(size=10_000)
    twice = [msgspec.structs.replace(each, key=NodeId(f"{each.key}-2")) for each in whole.approvers]
    roll = msgspec.structs.replace(whole, approvers=(*whole.approvers, *twice))
    attack = Campaign(roll, an_order(roll, OPEN, **SLOWLY), stolen=WITNESSES)
    attack.propose(QUORUM[0])
    few = [person(nation, number) for nation in range(8) for number in range(3)]
    approve(attack, *few, *(NodeId(f"{key}-2") for key in few))
    assert run(attack) == 0


def test_a_passkeys_signature_of_other_bytes_and_the_same_passkey_twice() -> None:
    passkeys = [SoftPasskey(f"https://p{number}.example", number) for number in range(2)]
    approvers = tuple(
        Approver(key=NodeId(passkey_id(p.public)), owner=f"person {n}", passkey=p.public, rp=p.rp)
        for n, p in enumerate(passkeys)
    )
    plain = a_roll(Level.HOME, [f"node{number}" for number in range(6)], (), [f"node{number}" for number in range(5)])
    roll: Roll = msgspec.structs.replace(plain, approvers=approvers)
    fleet = Fleet(6, roll)
    wanted = a_command(roll, OPEN, cls=Impact.PHYSICAL)
    harmless = a_command(roll)
    fleet.propose("node0", wanted)
    fleet.approve_by_passkey(wanted, "node0", passkeys[0])
    kept = [verdict.keep for verdict in fleet.approve_by_passkey(wanted, "node1", passkeys[0])]
    assert not any(kept), "another signature by the same passkey is no other voice"
    body = encode_command(harmless)
    moved = Approval(
        command=command_id(encode_command(wanted)),
        key=NodeId(passkey_id(passkeys[1].public)),
        assertion=write_assertion(passkeys[1].assertion(APPROVAL_DOMAIN, body)),
    )
    assert not any(verdict.keep for verdict in fleet.say("node0", moved))
    fleet.run(600, step_s=10)
    assert fleet.acted() == []
