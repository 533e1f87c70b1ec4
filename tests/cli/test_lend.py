"""``wos lend``: a rule is made, shown and dropped; and what cannot be a rule gets a sentence."""

from __future__ import annotations

import json

import pytest
from tests.agent.agents import RunningAgent
from tests.cli.conftest import fails
from tests.cli.inside import inside

RULE = ("--cpu", "50%", "--when", "22:00-07:00", "--not-on-battery", "--to", "family", "--price", "0.02")


def test_a_rule_is_made_shown_and_dropped(agent: RunningAgent) -> None:
    assert "no rules" in inside(agent.home, "lend").stdout
    made = inside(agent.home, "lend", *RULE)
    assert "50% CPU, 50% memory" in made.stdout, made.stderr
    (row,) = json.loads(inside(agent.home, "lend", "--json").stdout)["rules"]
    assert (row["to"], row["price_uwos_hour"], row["on_battery"]) == ("family", 20_000, False)
    assert "lending is off" in inside(agent.home, "lend", "off").stdout
    assert "lending is off" not in inside(agent.home, "lend", "on").stdout
    fails(
        inside(agent.home, "lend", "--cpu", "20%", "--when", "20:00-23:00", "--to", "family"),
        2,
        "rules 1 and 2 contradict",
    )
    assert "no rules" in inside(agent.home, "lend", "forget", "all").stdout


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--cpu", "120%"), "no share"),
        (("--cpu", "0%"), "no share"),
        (("--cpu", "half"), "no share"),
        (("--cpu", "nan"), "no share"),
        (("--cpu", "33.33%"), "no share"),
        (("--to", "family"), "how much of this machine"),
        (("--cpu", "5%", "--when", "night"), "no day of the week"),
        (("--cpu", "5%", "--when", "09:00-09:00"), "contradicts itself"),
        (("--cpu", "5%", "--price", "-1"), "no price"),
        (("--cpu", "5%", "--price", "free"), "no price"),
        (("--cpu", "5%", "--on-battery", "--not-on-battery"), "contradict each other"),
        (("--cpu", "5%", "--isolation", "jail"), "no isolation"),
        (("--cpu", "5%", "--to", "anyone", "--isolation", "process"), "contradicts itself"),
        (("--cpu", "5%", "--to", "nobody at all"), "nobody is called"),
        (("forget", "0"), "not the number of a rule"),
        (("forget", "9"), "no rule 9"),
    ],
)
def test_what_cannot_be_a_rule_gets_a_sentence(agent: RunningAgent, words: tuple[str, ...], why: str) -> None:
    fails(inside(agent.home, "lend", *words), 2, why)
