"""What the guard must not forget is on disk before anything leaves; with real agents: test_guard_orders.py."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.guard.fleet import BEGIN_S, a_roll
from tests.test_node import ME, node_of

from worldos.agent.guarded import Guarded, updates
from worldos.home import Home
from worldos.kernel.effects import Notice
from worldos.kernel.events import CommandCarried, Event, GuardSet
from worldos.kernel.guard.command import (
    Action,
    Command,
    Drain,
    Drive,
    Revoke,
    SetConfig,
    SetPolicy,
    Stop,
    command_id,
    encode_command,
)
from worldos.kernel.guard.levels import RULES
from worldos.kernel.guard.owner import RollSet, Unmuted, encode_change, remembered
from worldos.kernel.guard.pending import Pending
from worldos.kernel.guard.roll import encode_roll, roll_id
from worldos.kernel.quarantine import Narrow, read_said
from worldos.model.limits import SECOND
from worldos.model.realm import Level, RealmId
from worldos.model.rights import Impact
from worldos.model.statements import Topic

ROLL = a_roll(Level.PERSONAL, ["a"], ["anna"])


def command_of(action: Action) -> Command:
    rule = RULES[ROLL.level]
    return Command(
        realm=ROLL.realm,
        roll=roll_id(ROLL),
        level=ROLL.level,
        cls=Impact.PHYSICAL,
        action=action,
        waves_ppm=rule.waves_ppm,
        soak_s=rule.soak_s,
        beacon=bytes(32),
        not_before_s=BEGIN_S,
        expires_s=BEGIN_S + 60,
        blast=1,
        owner=RealmId("owner"),
    )


class Shell:
    """A guarded machine whose events go into a real node, and whose words are kept."""

    def __init__(self, path: Path) -> None:
        self.node, self.home = node_of(), Home(path)
        self.node.wall_ahead_ns = BEGIN_S * SECOND
        self.events: list[Event] = []
        self.stated: list[tuple[Topic, bytes]] = []
        self.proposed: list[RealmId] = []
        self.notices: list[Notice] = []
        self.carried = asyncio.Event()
        self.guarded = Guarded(self.home, self.node, self.feed, self.state, self.propose, self.notices.append)

    def feed(self, event: Event) -> None:
        self.events.append(event)
        effects = self.node.handle(event)
        self.guarded.save(event, effects)
        if isinstance(event, CommandCarried):
            self.carried.set()

    def state(self, topic: Topic, body: bytes) -> str:
        self.stated.append((topic, body))
        return ""

    async def propose(self, realm: RealmId, command: bytes) -> None:
        self.proposed.append(realm)

    def carry(self, action: Action) -> tuple[str, str]:
        """Carry a command out; return how it went, and why."""
        command = command_of(action)

        async def go() -> None:
            self.carried = asyncio.Event()
            self.guarded.carry(encode_command(command))
            await asyncio.wait_for(self.carried.wait(), 30)
            await self.guarded.close()

        asyncio.run(go())
        carried = self.events.pop()
        assert isinstance(carried, CommandCarried)
        return carried.outcome, carried.why


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def set_roll(shell: Shell) -> None:
    shell.feed(GuardSet(now_ns=SECOND, change=encode_change(RollSet(roll=encode_roll(ROLL)))))


def test_what_the_owner_sets_is_on_disk_and_in_the_next_life(shell: Shell) -> None:
    set_roll(shell)
    assert shell.home.guard_file.read_bytes() == remembered(shell.node.guard)
    later = Shell(shell.home.path)
    later.guarded.recall()
    assert later.node.guard.rolls == shell.node.guard.rolls


def test_what_did_not_change_is_not_written_again(shell: Shell) -> None:
    set_roll(shell)
    shell.home.guard_file.unlink()
    shell.feed(GuardSet(now_ns=SECOND, change=encode_change(Unmuted(key="nobody"))))
    assert not shell.home.guard_file.exists()


def test_where_nothing_can_be_written_nothing_is_carried_out_until_it_can_again(shell: Shell) -> None:
    in_the_way = shell.home.guard_file.with_name("guard.new")
    in_the_way.mkdir()
    set_roll(shell)
    outcome, why = shell.carry(Drain())
    assert outcome == "refused"
    assert "cannot be written" in why
    assert not shell.node.leases.drained
    in_the_way.rmdir()
    shell.feed(GuardSet(now_ns=SECOND, change=encode_change(Unmuted(key="nobody"))))
    assert shell.home.guard_file.exists()
    assert shell.carry(Drain())[0] == "done"


@pytest.mark.parametrize("damage", [b"\x00", b"guard", b"\xff" * 100])
def test_a_damaged_memory_is_laid_aside_and_said_and_nothing_is_carried_out_without_a_roll(
    shell: Shell, damage: bytes
) -> None:
    shell.home.guard_file.write_bytes(damage)
    shell.guarded.recall()
    assert [notice.name for notice in shell.notices] == ["guard forgot"]
    assert (shell.home.path / "guard.damaged").read_bytes() == damage
    assert shell.node.guard.rolls == {}


def test_a_choice_is_written_and_holds_from_the_next_start_on(shell: Shell) -> None:
    assert shell.carry(SetConfig(key="relay", value="false"))[0] == "done"
    assert "relay = false" in shell.home.config_file.read_text()


@pytest.mark.parametrize(
    ("action", "why"),
    [
        (SetConfig(key="realm", value="evil"), "no choice"),
        (SetConfig(key="listen", value="0.0.0.0:7370"), "no choice"),
        (SetConfig(key="store_for", value="others"), "no choice"),
        (SetConfig(key="relay", value="many"), "no value"),
        (SetConfig(key="relay", value="7"), "no value"),
        (Drive(path=("breaker",), verb="open"), "nothing at breaker"),
        (Drive(path=("actuators", "door"), verb="set"), "no actuator"),
        (Stop(path=("acme", "somebody")), "as a whole"),
    ],
)
def test_what_this_machine_cannot_or_may_not_is_refused_and_not_failed(shell: Shell, action: Action, why: str) -> None:
    outcome, said = shell.carry(action)
    assert outcome == "refused"
    assert why in said


def test_to_drain_and_to_stop_the_whole_node_is_to_grant_nothing_new(shell: Shell) -> None:
    for action in (Drain(), Stop(path=(shell.node.registry.owner, "node", ME))):
        shell.node.leases.drained = False
        assert shell.carry(action)[0] == "done"
        assert shell.node.leases.drained


def test_to_revoke_by_command_is_to_narrow_for_a_day(shell: Shell) -> None:
    assert shell.carry(Revoke(who="b" * 52))[0] == "done"
    ((topic, body),) = shell.stated
    said: Any = read_said(body)
    assert topic is Topic.QUARANTINE
    assert isinstance(said, Narrow)
    assert (said.principal, said.cls) == ("b" * 52, Impact.READ)


def test_a_rule_of_the_realm_waits_for_the_last_wave(shell: Shell) -> None:
    outcome, why = shell.carry(SetPolicy(key="lend", value="own"))
    assert (outcome, why) == ("done", "it changes with the last wave")
    assert shell.proposed == []
    command = command_of(SetPolicy(key="lend", value="own"))
    body = encode_command(command)
    known = command_id(body)
    shell.node.guard.commands[known] = Pending(
        id=known, body=body, command=command, proposer=ME, wave=0, seen_ns=0, seen_s=BEGIN_S
    )
    assert shell.carry(command.action) == ("done", "")
    assert shell.proposed == [ROLL.realm]


def test_no_update_lies_ready_where_none_was_fetched(shell: Shell) -> None:
    assert updates(shell.home) == []
    shell.home.updates_folder.mkdir()
    (shell.home.updates_folder / "worldos-9-py3-none-any.whl").write_bytes(b"wheel")
    (found,) = updates(shell.home)
    assert found["size_bytes"] == 5
    assert len(str(found["sha256"])) == 64
