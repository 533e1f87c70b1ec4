"""``wos guard``: what its commands say of themselves, and a command from its proposal to the machine that it moves."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.agents import RunningAgent, running_pair, until
from tests.cli.conftest import wos
from typer.testing import CliRunner

from worldos.cli import guard, main

NAMES = ("policy", "propose", "approve", "status", "stop", "envelope", "resume", "unmute", "apply")


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    guard.register(main.app)


@pytest.mark.parametrize("name", NAMES)
def test_each_command_explains_itself(expected, name: str) -> None:
    runner = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"})
    done = runner.invoke(main.app, ["guard", name, "--help"], prog_name="wos")
    assert done.exit_code == 0, done.output
    expected(f"wos-guard-{name}", done.output)


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[RunningAgent, RunningAgent]]:
    with tempfile.TemporaryDirectory(prefix="wos-gc-") as folder, running_pair(Path(folder)) as agents:
        for agent in agents:
            (agent.home.path / "actuators").mkdir()
            (agent.home.path / "actuators" / "heating.toml").write_text('name = "heating"\nstart_milli = 18000\n')
        yield agents


def test_without_a_roll_it_says_that_nothing_is_carried_out_and_how_to_begin(agent: RunningAgent) -> None:
    said = wos(agent.home, "guard", "policy").stdout
    assert "carries out no command" in said
    assert "wos guard policy --approver" in said
    assert wos(agent.home, "guard", "status").stdout.strip() == "no command is proposed"
    assert "nobody drive anything" in wos(agent.home, "guard", "envelope").stdout
    assert wos(agent.home, "guard", "apply").stdout.strip() == "no update lies ready"


def test_a_command_goes_from_a_person_to_the_machines_and_no_further_than_their_owner_lets_it(
    pair: tuple[RunningAgent, RunningAgent], tmp_path: Path
) -> None:
    desk, attic = pair
    roll = str(tmp_path / "roll")
    people = ("--approver", "desk=anna", "--approver", "attic=ben", "--witness", "desk=anna", "--witness", "attic=ben")
    said = wos(desk.home, "guard", "policy", *people, "--save", roll).stdout
    assert "desk (anna), attic (ben)" in said
    wos(attic.home, "guard", "policy", "--take", roll)
    assert "24" in wos(attic.home, "guard", "envelope", "heating", "5", "24", "--yes").stdout
    row = json.loads(wos(desk.home, "guard", "propose", "drive", "heating", "21.5", "--note", "cold", "--json").stdout)
    short = row["id"][:10]
    until(lambda: attic.ask("guard_status"), "the other knows of it")
    assert "enough have approved it" in wos(attic.home, "guard", "approve", short, "--yes").stdout
    until(lambda: attic.ask("guard_status")[0]["outcome"], "it is carried out")
    assert "21.5" in wos(attic.home, "guard", "envelope").stdout
    told = wos(desk.home, "guard", "status", short).stdout
    assert "set actuators/heating 21.5" in told
    assert "its owner lets nobody drive actuators/heating" in told
    assert short in wos(desk.home, "guard", "status").stdout
    assert json.loads(wos(desk.home, "guard", "status", "--json").stdout)["commands"][0]["id"] == row["id"]
    second = json.loads(wos(desk.home, "guard", "propose", "config", "relay", "false", "--json").stdout)
    assert "stopped" in wos(desk.home, "guard", "stop", second["id"][:10]).stdout
    assert "by nobody" not in wos(attic.home, "guard", "envelope", "heating", "--remove", "--yes").stdout
    assert attic.ask("guard_envelope") == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("propose", "explode"), "there is no command"),
        (("propose", "config", "relay"), "written otherwise"),
        (("status", "zzzzzz"), "no command begins"),
        (("approve", "zzzzzz", "--yes"), "no command begins"),
        (("policy", "--approver", "desk"), "does not say whose"),
        (("policy", "--approver", "nobody=anna"), "no machine is called"),
        (("policy", "--take", "/nowhere/roll"), "cannot be read"),
        (("envelope", "heating", "--yes"), "between which values"),
        (("envelope", "heating", "9", "5", "--yes"), "lower to a higher"),
        (("unmute", "zzzzzz", "--yes"), "no muted key"),
        (("propose", "drain", "--to", "nobody"), ""),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    pair: tuple[RunningAgent, RunningAgent], words: tuple[str, ...], why: str
) -> None:
    done = wos(pair[0].home, "guard", *words)
    assert done.returncode in {2, 3}
    assert why in done.stderr
    assert "Traceback" not in done.stderr
