"""Whether a command's turn has come: one thing that is missing is enough for no."""

from __future__ import annotations

import msgspec
from tests.kernel.guard.fleet import BEGIN_S, a_command, a_roll, id_of

from worldos.kernel.guard.breaker import Breaker
from worldos.kernel.guard.command import Command, Resume, command_id, encode_command
from worldos.kernel.guard.limits import SETTLE_S
from worldos.kernel.guard.pending import Pending, Stage, agreed, has_budget, is_bare, sick_wave, turn
from worldos.kernel.guard.roll import Roll, Share
from worldos.kernel.guard.said import Did, Health, Outcome, Spent
from worldos.kernel.guard.waves import wave_of
from worldos.model.limits import SECOND
from worldos.model.realm import Level, RealmId
from worldos.model.rights import Impact

NODES = [f"node{number}" for number in range(6)]
HOME = a_roll(Level.HOME, NODES, ["ada", "bob"], NODES[:5])
LATE_S = BEGIN_S + 100


def a_pending(command: Command, roll: Roll = HOME, wave: int = 0, approvals: tuple[str, ...] = ("ada",)) -> Pending:
    body = encode_command(command)
    known = command_id(body)
    named = [id_of(name) for name in approvals]
    return Pending(
        id=known,
        body=body,
        command=command,
        proposer=id_of("ada"),
        wave=wave,
        seen_ns=SECOND,
        seen_s=BEGIN_S,
        approvals=list(named),
    )


def ask(pending: Pending, roll: Roll | None = HOME, now_s: int = LATE_S, **more: object) -> str:
    said = turn(pending, roll, more.pop("breaker", Breaker()), (now_s - BEGIN_S) * SECOND, now_s, **more)  # type: ignore[arg-type]
    assert said.go == (not said.why)
    return said.why


def test_with_all_that_is_needed_it_is_its_turn() -> None:
    assert ask(a_pending(a_command(HOME))) == ""


def test_each_thing_that_is_missing_is_a_no() -> None:
    pending = a_pending(a_command(HOME))
    assert "does not know the time" in ask(pending, now_s=0)
    assert "time is over" in ask(pending, now_s=BEGIN_S + 40 * 86400)
    assert "another roll" in ask(pending, roll=None)
    assert "another roll" in ask(pending, roll=msgspec.structs.replace(HOME, number=2))
    assert "stays as it is" in ask(pending, breaker=Breaker(why="sick"))
    assert "0 of 1" in ask(a_pending(a_command(HOME), approvals=()))
    assert "0 of 1" in ask(pending, void={id_of("ada")})
    assert "1 of 2" in ask(a_pending(a_command(HOME, cls=Impact.PHYSICAL)))
    assert "not yet" in ask(a_pending(a_command(HOME, not_before_s=LATE_S + 1)))
    pending.wave = None
    assert "not for this node" in ask(pending)
    for stage in (Stage.CARRYING, Stage.DID, Stage.HALTED, Stage.ENDED):
        pending.stage = stage
        assert ask(pending)


def test_what_closes_the_breaker_goes_though_it_is_open() -> None:
    resume = a_pending(a_command(HOME, Resume(), cls=Impact.PHYSICAL), approvals=("ada", "bob"))
    assert ask(resume, breaker=Breaker(why="sick")) == ""


def test_a_later_wave_waits_for_witnesses_its_time_and_the_stops_on_their_way() -> None:
    command = a_command(HOME)
    pending = a_pending(command, wave=1)
    assert "vouched" in ask(pending)
    first = tuple(sorted(n for n in HOME.nodes if wave_of(command, pending.id, HOME, n) == 0))
    pending.did = {node: Did(command=pending.id, wave=0, outcome=Outcome.DONE) for node in first}
    for witness in HOME.witnesses:
        others = tuple(node for node in first if node != witness.node)
        seen = pending.healths.setdefault(0, {})
        seen[witness.node] = Health(command=pending.id, wave=0, at_s=BEGIN_S + 60, well=others)
    pending.gates.clear()
    assert ask(pending, now_s=BEGIN_S + 59) == "wave 1 is not yet"
    assert ask(pending, now_s=BEGIN_S + 61) == ""
    pending.seen_ns = 61 * SECOND
    assert "stops" in ask(pending, now_s=BEGIN_S + 61)
    assert SETTLE_S >= 60
    assert sick_wave(pending, HOME) == ""


def test_a_command_that_was_backdated_waits_from_when_it_was_seen() -> None:
    pending = a_pending(a_command(HOME, not_before_s=BEGIN_S - 1000))
    pending.seen_s = LATE_S + 1
    assert "not yet" in ask(pending)


def test_what_goes_without_a_quorum_needs_a_share_of_its_place_that_is_large_enough() -> None:
    share = Share(place=RealmId("west"), holder=id_of("w"), amount=10)
    roll = a_roll(Level.GROUP, NODES, ["ada", "bob"], ["x"], shares=(share,))
    pending = a_pending(a_command(roll, cls=Impact.REVERSIBLE), roll)
    assert is_bare(pending, roll)
    assert not is_bare(a_pending(a_command(roll), roll), roll)
    assert ask(pending, roll, places=("west",)) == "no budget was given to it"
    for count, first, is_enough in ((5, 0, False), (6, 5, False), (6, 4, True)):
        spent = Spent(command=pending.id, place=share.place, window=1, first=first, count=count)
        pending.spent = [(share.holder, spent)]
        assert has_budget(pending, roll, ("west",)) == is_enough
    assert ask(pending, roll, places=("west",)) == ""
    assert ask(pending, roll, places=("east",))
    assert ask(pending, roll, places=("west",), void={share.holder})


def test_approvals_are_counted_without_those_that_are_void() -> None:
    pending = a_pending(a_command(HOME), approvals=("ada", "bob", "eve"))
    assert agreed(pending, HOME).owners == ("ada", "bob")
    assert agreed(pending, HOME, {id_of("bob")}).owners == ("ada",)
