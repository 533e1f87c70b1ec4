"""Attacks 1 to 6 once more, against real agents: a stolen key, too few persons, approvers and witnesses stolen, many small
commands, and the guard itself as the weapon.

Run: processes with real links on this machine: three of one account (``desk``, ``attic``, ``loft``) below the realm ``acme``,
each with an actuator whose owner lets it go from 5 to 24; and ``den``, of another account below the same realm, whose program
was changed to say anything and believe anything. The sizes of the table (10^5 to 10^6 nodes) are run by the files of each row.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.agent.accounts import brought_in, tree
from tests.agent.agents import RunningAgent, new_home, until
from tests.agent.sites import node_of, notices, running_hostile, running_site

from worldos.drivers.setpoint import read_about, where
from worldos.errors import WorldError
from worldos.kernel.guard.command import Command, Drain, Drive, command_id, encode_command
from worldos.kernel.guard.levels import RULES
from worldos.kernel.guard.roll import read_roll, roll_id
from worldos.kernel.guard.said import Approval, encode_said
from worldos.kernel.quarantine import NARROWS_PER_SIGNER_HOUR, Narrow
from worldos.kernel.quarantine import encode_said as encode_quarantine
from worldos.model.ids import NodeId
from worldos.model.realm import Level, RealmId
from worldos.model.rights import Impact
from worldos.model.statements import Topic

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

HEATING = "actuators/heating"
NOTHING_S = 1.5  # so long nothing happens before we say that nothing happens
PPM = 1_000_000


class World(NamedTuple):
    """The honest three, and the thief's machine."""

    honest: list[RunningAgent]
    den: RunningAgent

    def nodes(self) -> list[str]:
        return sorted(node_of(agent) for agent in (*self.honest, self.den))


def actuator(agent: RunningAgent) -> None:
    """Give a machine something that it drives, and its owner's limits for it."""
    folder = agent.home.path / "actuators"
    folder.mkdir(exist_ok=True)
    (folder / "heating.toml").write_text('name = "heating"\nunit = "C"\nstart_milli = 18000\n')
    limit = {"path": ["actuators", "heating"], "min_milli": 5000, "max_milli": 24_000}
    agent.ask("guard_envelope", limits=[limit])


def temperature(agent: RunningAgent) -> int:
    home = str(agent.home.path)
    return where(home, "heating", read_about(home, "heating")).value_milli


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with (
        tempfile.TemporaryDirectory(prefix="wos-g-") as name,
        running_site(Path(name), "desk", "attic", "loft") as honest,
        running_hostile(new_home(Path(name) / "den", "den")) as den,
    ):
        desk = honest[0]
        for agent in (desk, den):
            until(lambda agent=agent: tree(agent), "it has a center", 20)
        desk.ask("realm_create", name="acme", level="enterprise")
        brought_in(den, desk)
        for agent in (*honest, den):
            until(
                lambda agent=agent: any(row["path"] == "acme" for row in agent.ask("realm_tree")), "it knows acme", 20
            )
        for agent in honest:
            actuator(agent)
        yield World(honest, den)


def set_roll(world: World, level: str, approvers: dict[str, str], shares: tuple[dict[str, Any], ...] = ()) -> bytes:
    """Let all machines go by a roll for acme: approvers are machines with their owners, all three honest ones bear witness."""
    desk = world.honest[0]
    plan = {
        "approvers": [
            {"who": who, "owner": owner, "institution": owner, "human": True} for who, owner in approvers.items()
        ],
        "witnesses": [{"who": node_of(agent), "owner": f"witness {n}"} for n, agent in enumerate(world.honest)]
        if level in {"personal", "home"}
        else [],
        "nodes": world.nodes(),
        "level": level,
        "shares": shares,
    }
    roll: bytes = desk.ask("guard_roll", realm="acme", plan=plan)["roll"]
    for agent in (*world.honest[1:], world.den):
        agent.ask("guard_take", roll=roll)
    return roll


def a_command(roll: bytes, action: Any, **more: Any) -> Command:
    """A command made by hand, as somebody without our program would."""
    read, now_s = read_roll(roll), int(time.time())
    chosen: dict[str, Any] = {
        "realm": read.realm,
        "roll": roll_id(read),
        "level": read.level,
        "cls": Impact.PHYSICAL,
        "action": action,
        "waves_ppm": (PPM,),
        "soak_s": 0,
        "beacon": bytes(32),
        "not_before_s": now_s,
        "expires_s": now_s + 86_400,
        "blast": read.population,
        "owner": RealmId("thief"),
    }
    return Command(**{**chosen, **more})


def say(agent: RunningAgent, topic: Topic, body: bytes) -> None:
    agent.ask("say", topic=topic.value, body=body)


def known_to_all(world: World, command: str) -> None:
    for agent in world.honest:
        until(lambda agent=agent: any(r["id"] == command for r in agent.ask("guard_status")), "it heard of it")


def carried_out(world: World, command: str) -> list[str]:
    """The honest machines that did it."""
    done = [agent for agent in world.honest for n in notices(agent, "command carried out") if n["command"] == command]
    return [agent.home.path.name for agent in done]


def drive(value_milli: int) -> list[Any]:
    return ["drive", ["actuators", "heating"], "set", value_milli]


OPEN = Drive(path=("actuators", "heating"), verb="set", value_milli=23_000)


def alarms(agent: RunningAgent, thief: str, begun_ns: int) -> list[int]:
    """How long after ``begun_ns`` the alarms about this key came, in ms."""
    found = [n["at_ns"] for n in notices(agent, "guard alarm") if n["key"] == thief and n["at_ns"] >= begun_ns]
    return [(at_ns - begun_ns) // 1_000_000 for at_ns in found]


def test_row_1_in_haste_a_stolen_planet_key_counts_no_more_where_it_first_comes(world: World) -> None:
    roll, thief, desk = set_roll(world, "planet", {node_of(world.den): "a person"}), node_of(world.den), world.honest[0]
    begun_ns = time.time_ns()
    say(world.den, Topic.COMMAND, encode_command(a_command(roll, OPEN)))
    assert until(lambda: alarms(desk, thief, begun_ns), "the alarm")[0] <= 1000
    assert thief in desk.ask("guard_state")["muted"]
    assert all(agent.ask("guard_status") == [] for agent in world.honest), "it is not even passed on"
    desk.ask("guard_unmute", key=thief)


def test_row_1_with_patience_it_moves_nothing_and_all_are_told(world: World) -> None:
    roll, thief = set_roll(world, "planet", {node_of(world.den): "a person"}), node_of(world.den)
    rule, now_s = RULES[Level.PLANET], int(time.time())
    slow = {"waves_ppm": rule.waves_ppm, "soak_s": rule.soak_s, "expires_s": now_s + 60 * 86_400}
    body = encode_command(a_command(roll, OPEN, **slow))
    begun_ns = time.time_ns()
    say(world.den, Topic.COMMAND, body)
    say(world.den, Topic.APPROVAL, encode_said(Approval(command=command_id(body), key=NodeId(thief))))
    for agent in world.honest:
        assert until(lambda agent=agent: alarms(agent, thief, begun_ns), "the alarm")[0] <= 2000
    time.sleep(NOTHING_S)
    assert [temperature(agent) for agent in world.honest] == [18_000] * 3
    assert carried_out(world, command_id(body)) == []
    world.honest[0].ask("guard_stop", command=command_id(body), mute=True)
    for agent in world.honest:
        until(lambda agent=agent: thief in agent.ask("guard_state")["muted"], "one key of ours mutes it everywhere")
        agent.ask("guard_unmute", key=thief)


def test_row_2_too_few_persons_however_many_keys_they_show(world: World) -> None:
    desk, attic, loft = world.honest
    them = {node_of(desk): "anna", node_of(attic): "anna", node_of(loft): "ben"}
    set_roll(world, "home", them)
    row = desk.ask("guard_propose", realm="acme", action=drive(22_000))
    other = desk.ask("guard_propose", realm="acme", action=drive(21_000))
    for each in (row, other):
        known_to_all(world, each["id"])
    desk.ask("guard_approve", command=row["id"])
    with pytest.raises(WorldError):
        desk.ask("guard_approve", command="0" * 52)
    attic.ask("guard_approve", command=row["id"])  # another key of the same person
    loft.ask("guard_approve", command=other["id"])  # the second person, but for other bytes
    forged = Approval(command=NodeId(row["id"]), key=NodeId(node_of(loft)))
    say(world.den, Topic.APPROVAL, encode_said(forged))  # in the name of the second person
    for agent in world.honest:
        until(lambda agent=agent: status(agent, row)["missing"].startswith("1 of 2"), "it counts one person")
    time.sleep(NOTHING_S)
    assert carried_out(world, row["id"]) == []
    assert [temperature(agent) for agent in world.honest] == [18_000] * 3
    loft.ask("guard_approve", command=row["id"])  # now it is two
    until(lambda: carried_out(world, row["id"]), "the first wave")
    desk.ask("guard_stop", command=row["id"])
    desk.ask("guard_stop", command=other["id"])


def status(agent: RunningAgent, row: dict[str, Any]) -> dict[str, Any]:
    found: list[dict[str, Any]] = agent.ask("guard_status", command=row["id"])
    return found[0]


def test_row_4_with_approvers_and_witnesses_stolen_no_actuator_leaves_its_owners_envelope(world: World) -> None:
    set_roll(world, "personal", {node_of(world.den): "thief", node_of(world.honest[0]): "anna"})
    before = [temperature(agent) for agent in world.honest]
    row = world.honest[0].ask("guard_propose", realm="acme", action=drive(90_000))
    known_to_all(world, row["id"])
    world.honest[0].ask("guard_approve", command=row["id"])
    for agent in world.honest:
        until(lambda agent=agent: status(agent, row)["outcome"] == "refused", "it refuses", 20)
        assert "outside 5000 to 24000" in status(agent, row)["why"]
    assert [temperature(agent) for agent in world.honest] == before
    inside = world.honest[0].ask("guard_propose", realm="acme", action=drive(20_500))
    world.honest[0].ask("guard_approve", command=inside["id"])
    for agent in world.honest:
        until(lambda agent=agent: temperature(agent) == 20_500, "what the owner lets it do, it does", 20)


LEASES_IT = """
import sys
from worldos import use
from worldos.errors import NotAllowed
with use("Actuator", 1) as thing:
    print(thing.command("set", 21_000))
    for value in (24_001, 90_000, -1, 10**15):
        try:
            thing.command("set", value)
        except NotAllowed as refused:
            print("refused" if "outside 5000 to 24000" in str(refused) else refused)
    print(thing.command("at"))
"""


def test_row_4_a_program_that_leases_an_actuator_does_not_get_it_out_of_the_envelope_either(world: World) -> None:
    home = world.honest[1].home
    until(lambda: any(r["kind"] == "Actuator" for r in world.honest[1].ask("resources")), "it is offered")
    done = subprocess.run(
        [sys.executable, "-c", LEASES_IT],
        env={**os.environ, "WORLDOS_HOME": str(home.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["21000", *["refused"] * 4, "21000"], done.stderr
    assert temperature(world.honest[1]) == 21_000


def test_row_5_many_small_commands_reach_no_more_than_the_budget(world: World) -> None:
    desk, attic, loft = world.honest
    share = {"place": "acme", "holder": node_of(desk), "amount": 2}
    thieves = {node_of(attic): "thief", node_of(loft): "somebody"}
    set_roll(world, "enterprise", thieves, (share,))
    rows = []
    for number in range(12):
        target = node_of((desk, loft)[number % 2])
        action = ["config", "relay", "false" if number % 3 else "true"]
        rows.append(attic.ask("guard_propose", realm="acme", action=action, plan={"to": [target]}))
        attic.ask("guard_approve", command=rows[-1]["id"])
    until(lambda: sum(len(carried_out(world, row["id"])) for row in rows) >= 2, "as many as the budget has", 20)
    time.sleep(NOTHING_S)
    assert sum(len(carried_out(world, row["id"])) for row in rows) == 2


def test_row_6_one_key_that_stops_services_stops_a_first_wave_and_may_be_stopped(world: World) -> None:
    roll = set_roll(world, "home", {node_of(world.honest[0]): "anna"})
    proposer = node_of(world.den)
    order = a_command(roll, Drain(), cls=Impact.COSTLY, waves_ppm=(100_000, PPM), soak_s=60)
    body = encode_command(order)
    say(world.den, Topic.COMMAND, body)
    known_to_all(world, command_id(body))
    time.sleep(NOTHING_S)
    drained = [agent for agent in world.honest if agent.ask("status")["drained"]]
    assert len(drained) <= 2, "of four machines at most the first wave"
    assert len(world.honest) - len(drained) >= 1
    world.honest[0].ask("guard_stop", command=command_id(body), mute=True)
    for agent in world.honest:
        until(lambda agent=agent: proposer in agent.ask("guard_state")["muted"], "it is muted everywhere")
        agent.ask("drain", drained=False)
        agent.ask("guard_unmute", key=proposer)


def test_row_6_quarantine_as_the_weapon_leaves_every_device_what_can_be_taken_back(world: World) -> None:
    desk, attic, loft = world.honest
    before = len(desk.ask("security")["narrowings"])
    for number in range(2 * NARROWS_PER_SIGNER_HOUR):
        narrow = Narrow(
            principal=node_of((desk, loft)[number % 2]),
            cls=Impact.READ,
            per_minute=1 + number,
            human=True,
            at_s=int(time.time()),
            for_s=3600,
            why="because I say so",
        )
        say(world.den, Topic.QUARANTINE, encode_quarantine(narrow))
    time.sleep(1)
    assert len(desk.ask("security")["narrowings"]) == before, "an account does not hear of another's quarantine"
    assert attic.ask("security")["narrowings"] == []


@pytest.mark.timeout(120)
def test_row_3_when_the_first_ones_fall_over_it_stops_by_itself() -> None:
    """Approvers are stolen, witnesses are honest: of four machines only the canaries carry it out, and fall over."""
    with tempfile.TemporaryDirectory(prefix="wos-c-") as name, running_site(Path(name), "a", "b", "c", "d") as agents:
        plan = {
            "approvers": [{"who": "a", "owner": "thief"}],
            "witnesses": [{"who": who, "owner": who} for who in "abcd"],
        }
        roll = agents[0].ask("guard_roll", plan=plan)["roll"]
        for agent in agents[1:]:
            agent.ask("guard_take", roll=roll)
        asked = {"waves_ppm": [250_000, PPM], "soak_s": 4}
        row = agents[0].ask("guard_propose", action=["config", "discover", "false"], plan=asked)
        names = {node_of(agent): agent for agent in agents}
        until(lambda: all(agent.ask("guard_status") for agent in agents), "all know of it")
        agents[0].ask("guard_approve", command=row["id"])
        canaries = until(lambda: [a for a in agents if status(a, row)["outcome"]], "the first wave", 10)
        time.sleep(0.5)
        canaries = [agent for agent in agents if status(agent, row)["outcome"]]
        assert len(canaries) == 2
        assert len(names) == 4
        rest = [agent for agent in agents if agent not in canaries]
        for agent in canaries:  # what they were told to do was bad for them
            agent.end(signal.SIGKILL)
        for agent in rest:
            until(lambda agent=agent: agent.ask("guard_state")["frozen"], "it freezes by itself", 30)
            assert not status(agent, row)["outcome"]
            assert agent.ask("leases") is not None, "and what runs goes on"
        for agent in canaries:
            agent.code = 0  # it was meant to die
