"""Thieves with all keys but one of a quorum, all witnesses and half of the nodes say whatever they like, in any order.

Searched by chance over many sequences: no honest node ever carries out what was not agreed on; whatever is agreed on by honest
approvers is carried out by canaries only, as long as the witnesses are honest and silent.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.guard.fleet import BEGIN_S, Fleet, a_command, a_roll, id_of

from worldos.errors import PeerBroke
from worldos.kernel.guard.command import Drive, SetConfig, command_id, encode_command
from worldos.kernel.guard.envelope import Limit
from worldos.kernel.guard.limits import PPM
from worldos.kernel.guard.said import Approval, Did, Halt, Health, Outcome, Spent
from worldos.model.limits import SECOND
from worldos.model.realm import Level, RealmId
from worldos.model.rights import Impact

NODES = [f"node{number}" for number in range(8)]
HONEST = NODES[:4]
APPROVERS = [f"p{number}" for number in range(5)]
LOOKERS = [f"w{number}" for number in range(5)]
FIRM = a_roll(Level.ENTERPRISE, NODES, APPROVERS, LOOKERS)
OPEN = Drive(path=("grid",), verb="open")
STOLEN = [*APPROVERS[:2], *LOOKERS, *NODES[4:], "stranger"]
COMMANDS = [
    a_command(FIRM, OPEN, cls=Impact.PHYSICAL),
    a_command(FIRM, OPEN, cls=Impact.IRREVERSIBLE, not_before_s=BEGIN_S - 3600),
    a_command(FIRM, OPEN, cls=Impact.PHYSICAL, to=(id_of("node0"),), blast=1),
    a_command(FIRM, OPEN, cls=Impact.PHYSICAL, waves_ppm=(PPM,), soak_s=0),
    a_command(FIRM, OPEN, cls=Impact.PHYSICAL, level=Level.HOME),
    a_command(FIRM, SetConfig(key="a", value="b"), cls=Impact.REVERSIBLE),
]
IDS = [command_id(encode_command(command)) for command in COMMANDS]

whose = st.sampled_from(STOLEN)
which = st.integers(0, len(COMMANDS) - 1)
wave = st.integers(0, 3)
names = st.lists(st.sampled_from(NODES), max_size=8, unique=True).map(lambda few: tuple(sorted(map(id_of, few))))
acts = st.one_of(
    st.tuples(st.just("propose"), whose, which),
    st.tuples(st.just("approve"), whose, which, st.sampled_from([*APPROVERS, "stranger"])),
    st.tuples(st.just("did"), whose, which, wave),
    st.tuples(st.just("health"), whose, which, wave, names),
    st.tuples(st.just("spend"), whose, which),
    st.tuples(st.just("halt"), whose, which, st.sampled_from(APPROVERS)),
    st.tuples(st.just("wait"), st.integers(1, 3600)),
)


def do(fleet: Fleet, act: tuple) -> None:  # type: ignore[type-arg]
    if act[0] == "wait":
        fleet.now_ns += act[1] * SECOND
        fleet.tick()
        return
    who, known = act[1], IDS[act[2]]
    match act[0]:
        case "propose":
            try:
                fleet.propose(who, COMMANDS[act[2]])
            except PeerBroke:
                return
        case "approve":
            fleet.say(who, Approval(command=known, key=id_of(act[3])))
        case "did":
            fleet.say(who, Did(command=known, wave=act[3], outcome=Outcome.DONE))
        case "health":
            fleet.say(who, Health(command=known, wave=act[3], at_s=2 * BEGIN_S, well=act[4]))
        case "spend":
            fleet.say(who, Spent(command=known, place=RealmId("site"), window=BEGIN_S // 3600, first=0, count=8))
        case "halt":
            fleet.say(who, Halt(command=known, mute=id_of(act[3])))


def a_fleet() -> Fleet:
    fleet = Fleet(len(HONEST), FIRM)
    for machine in fleet.machines:
        machine.guard.set_envelope((Limit(path=("grid",), min_milli=0, max_milli=0, verbs=("open",)),))
    return fleet


@given(st.lists(acts, max_size=60))
def test_below_the_quorum_nobody_honest_acts_whatever_is_said(said: list[tuple]) -> None:  # type: ignore[type-arg]
    fleet = a_fleet()
    for act in [("propose", "p0", 0), ("approve", "p0", 0, "p0"), ("approve", "p1", 0, "p1"), *said, ("wait", 86_400)]:
        do(fleet, act)
    assert fleet.acted() == []


@given(st.lists(acts.filter(lambda act: act[0] != "wait" and not act[1].startswith("w")), max_size=40))
def test_with_a_quorum_and_silent_witnesses_only_canaries_act(said: list[tuple]) -> None:  # type: ignore[type-arg]
    fleet = a_fleet()
    known = fleet.propose("p3", COMMANDS[0])
    fleet.approve(COMMANDS[0], "p2", "p3", "p4")
    for act in [*said, *[("wait", 600)] * 12]:
        do(fleet, act)
    waves = {machine.name: machine.guard.commands[known].wave for machine in fleet.machines}
    assert {waves[machine.name] for machine in fleet.machines if COMMANDS[0] in machine.acted} <= {0}


def test_with_one_key_more_the_canaries_do_act() -> None:
    """So that it is the missing key, and nothing else, that held the thieves."""
    fleet = a_fleet()
    for act in [("propose", "p0", 0), *(("approve", who, 0, who) for who in ("p0", "p1")), ("wait", 5)]:
        do(fleet, act)
    assert fleet.acted() == []
    fleet.approve(COMMANDS[0], "p2")
    assert fleet.acted() != []
