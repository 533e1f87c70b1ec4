"""Mistakes put into the guard on purpose: each lets an attack through, so the tests of the attack would see it.

Every attack is a function that says how many nodes it reached, or what is wrong; without a mistake the answer is none.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest
from tests.kernel.guard.fleet import REALM, Fleet, a_command, a_roll, id_of
from tests.trust.soft_passkey import SoftPasskey

from worldos.kernel.guard import budget, hearing, pending, quorum, waves, witness
from worldos.kernel.guard.budget import Purse, spent_in_all
from worldos.kernel.guard.command import SetConfig, command_id, encode_command
from worldos.kernel.guard.levels import Need
from worldos.kernel.guard.limits import SHARE_WINDOW_S
from worldos.kernel.guard.quorum import APPROVAL_DOMAIN, Tally
from worldos.kernel.guard.roll import Approver, Roll, approvers_of, passkey_id
from worldos.kernel.guard.said import Approval, Health, Spent
from worldos.model.ids import NodeId
from worldos.model.realm import Level, RealmId
from worldos.model.rights import Impact
from worldos.trust.passkeys import write_assertion

NODES = [f"node{number}" for number in range(6)]
PEOPLE = ["ada", "bob", "cyd"]
LOOKERS = [f"w{number}" for number in range(5)]
FIRM = a_roll(Level.ENTERPRISE, NODES, PEOPLE, LOOKERS)


def with_keys(*keys: tuple[str, str]) -> Roll:
    approvers = tuple(Approver(key=id_of(key), owner=owner, human=True) for key, owner in keys)
    return msgspec.structs.replace(FIRM, approvers=approvers)


def two_keys_of_one_owner() -> int:
    roll = with_keys(("phone", "ada"), ("laptop", "ada"), ("b", "bob"), ("c", "cyd"))
    fleet = Fleet(6, roll)
    command = a_command(roll)
    fleet.propose("phone", command)
    fleet.approve(command, "phone", "laptop")
    fleet.run(5)
    return len(fleet.acted())


def one_passkey_signs_twice() -> int:
    passkey = SoftPasskey("http://localhost:7381")
    roll = msgspec.structs.replace(
        FIRM,
        approvers=(
            Approver(key=NodeId(passkey_id(passkey.public)), owner="ada", passkey=passkey.public, rp=passkey.rp),
            *FIRM.approvers[1:],
        ),
    )
    fleet = Fleet(6, roll)
    command = a_command(roll)
    fleet.propose("node0", command)
    fleet.approve_by_passkey(command, "node0", passkey)
    fleet.approve_by_passkey(command, "node1", passkey)
    fleet.run(5)
    return len(fleet.acted())


def a_passkey_signed_other_bytes() -> int:
    passkey = SoftPasskey("http://localhost:7381")
    approver = Approver(key=NodeId(passkey_id(passkey.public)), owner="ada", passkey=passkey.public, rp=passkey.rp)
    roll = msgspec.structs.replace(FIRM, approvers=(approver,))
    fleet = Fleet(6, roll)
    harmless, wanted = a_command(roll, cls=Impact.REVERSIBLE), a_command(roll, SetConfig(key="x", value="bad"))
    wanted = msgspec.structs.replace(wanted, level=Level.ENTERPRISE, cls=Impact.COSTLY)
    fleet.propose("node0", wanted)
    assertion = write_assertion(passkey.assertion(APPROVAL_DOMAIN, encode_command(harmless)))
    approval = Approval(command=command_id(encode_command(wanted)), key=NodeId(approver.key), assertion=assertion)
    return sum(verdict.keep for verdict in fleet.say("node0", approval))


def approvals_of_another_command() -> int:
    fleet = Fleet(6, FIRM)
    harmless, wanted = a_command(FIRM), a_command(FIRM, SetConfig(key="x", value="bad"))
    fleet.approve(harmless, "ada", "bob")
    fleet.propose("ada", wanted)
    fleet.run(5)
    return len([machine for machine in fleet.machines if wanted in machine.acted])


def witnesses_vouch_for_nodes_that_did_nothing() -> int:
    """Approvers are stolen, and four witnesses; the canaries are switched off, so nobody executed anything."""
    fleet = Fleet(6, FIRM)
    command = a_command(FIRM)
    known = fleet.propose("ada", command)
    waves_of = {machine.node: machine.guard.commands[known].wave for machine in fleet.machines}
    canaries = tuple(sorted(node for node, wave in waves_of.items() if wave == 0))
    fleet.machines = [machine for machine in fleet.machines if machine.node not in canaries]
    fleet.approve(command, "ada", "bob")
    for wave in range(4):
        named = tuple(sorted(node for node, mine in waves_of.items() if mine == wave))
        for name in LOOKERS[:4]:
            fleet.say(name, Health(command=known, wave=wave, at_s=2_000_000_000, well=named or canaries))
    fleet.run(3600, step_s=60, looks=False)
    return len(fleet.acted())


def an_empty_first_wave() -> list[str]:
    waves.ends.cache_clear()
    said = []
    for size in (1, 2, 6, 20):
        roll = a_roll(Level.GROUP, [f"n{number}" for number in range(size)], ["ada"])
        command = a_command(roll)
        known = command_id(encode_command(command))
        if not any(waves.wave_of(command, known, roll, node) == 0 for node in roll.nodes):
            said.append(f"of {size} nodes none is first")
    drawn = a_roll(Level.PLANET, approvers=["ada"], population=100_000)
    command = a_command(drawn)
    if waves.ends(command, drawn)[0] * drawn.population < 8 * waves.RANKS:
        said.append("of 100 000 hardly any is first")
    waves.ends.cache_clear()
    return said


def twenty_islands_and_their_merge() -> int:
    """Return by how much 20 islands together spent more than the cap."""
    cap, places = 100, [RealmId(f"region{number}") for number in range(20)]
    purses = {place: Purse(place=place, amount=cap // 20) for place in places}
    holders = {place: id_of(place) for place in places}
    said: list[tuple[NodeId, Spent]] = []
    for number in range(2000):
        place = places[number % 20]
        spent = purses[place].spend(f"command{number}", 1, SHARE_WINDOW_S)
        if spent is not None:
            said.append((holders[place], spent))
    for place, purse in purses.items():  # they meet again, and hear what each of them spent
        for holder, spent in said:
            if holder == holders[place]:
                purse.gave(spent)
        again = purse.spend(f"after {place}", 1, SHARE_WINDOW_S)
        if again is not None:
            said.append((holders[place], again))
    return len(said) - cap


def test_without_a_mistake_no_attack_gets_through() -> None:
    assert two_keys_of_one_owner() == 0
    assert one_passkey_signs_twice() == 0
    assert a_passkey_signed_other_bytes() == 0
    assert approvals_of_another_command() == 0
    assert witnesses_vouch_for_nodes_that_did_nothing() == 0
    assert an_empty_first_wave() == []
    assert twenty_islands_and_their_merge() == 0


def by_keys(roll: Roll, need: Need, keys: Iterable[str]) -> Tally:
    """Count keys, and each as often as it comes."""
    known = [key for key in keys if key in approvers_of(roll)]
    missing = "" if len(known) >= need.approvals else "too few"
    return Tally(owners=tuple(known), institutions=(), missing=missing)


class Forgetful(list[str]):
    """Approvals that never remember who is there."""

    def __contains__(self, key: object) -> bool:
        return False


def test_keys_counted_in_place_of_owners_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "tally", by_keys)
    assert two_keys_of_one_owner() > 0


def test_the_same_key_counted_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "tally", by_keys)
    whole = hearing.Pending
    monkeypatch.setattr(hearing, "Pending", lambda **fields: whole(**fields, approvals=Forgetful()))
    assert one_passkey_signs_twice() > 0


def test_approvals_that_are_not_over_the_exact_bytes_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as planted:
        planted.setattr(quorum, "verify_assertion", lambda *_: None)
        assert a_passkey_signed_other_bytes() > 0
    harmless = command_id(encode_command(a_command(FIRM)))
    monkeypatch.setattr(hearing, "command_id", lambda _: harmless)
    assert approvals_of_another_command() > 0


def test_a_first_wave_without_nodes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waves, "canaries", lambda _: 0)
    monkeypatch.setattr(waves, "CANARIES_DRAWN", 0)
    assert "of 100 000 hardly any is first" in an_empty_first_wave()


def test_witnesses_of_nodes_that_executed_nothing_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness, "_proves", lambda *_: True)
    assert witnesses_vouch_for_nodes_that_did_nothing() > 0


def test_a_budget_that_adds_up_after_the_merge_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def refilled(self: Purse, spent: Spent) -> None:
        self.amount += spent.count  # what others have left is added to what is left here

    monkeypatch.setattr(budget.Purse, "gave", refilled)
    assert twenty_islands_and_their_merge() > 0


def test_a_budget_for_each_island_in_place_of_a_share_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def unbounded(self: Purse, command: str, count: int, now_s: int) -> Spent:
        first, self.next_unit = self.next_unit, self.next_unit + count
        return Spent(command=command, place=self.place, window=now_s // SHARE_WINDOW_S, first=first, count=count)

    monkeypatch.setattr(budget.Purse, "spend", unbounded)
    assert twenty_islands_and_their_merge() > 0


def test_units_counted_twice_after_a_merge_would_be_seen() -> None:
    spent = Spent(command="c" * 52, place=REALM, window=1, first=0, count=3)
    assert spent_in_all([(id_of("w"), spent)] * 4) == 3
