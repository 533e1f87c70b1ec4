"""The orders about lending: what they show of a machine on which nothing was said, and that off and on keep the rules."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.agent.agents import new_home, running


def test_off_and_on_keep_the_rules_and_forget_drops_them() -> None:
    with tempfile.TemporaryDirectory(prefix="wos-l-") as folder, running(new_home(Path(folder) / "o")) as agent:
        shown = agent.ask("lend_show")
        assert (shown["rules"], shown["off"], shown["guests"], shown["rests"]) == ([], False, [], "")
        told = agent.ask("lend_rule", rule={"cpu_permille": 500, "memory_permille": 500})
        assert told["rules"][0]["holds"]
        off = agent.ask("lend_off")
        assert off["off"]
        assert off["rules"][0]["why"] == "lending is off"
        assert agent.ask("lend_off", off=False)["rules"][0]["holds"]
        assert agent.ask("lend_forget", number=1)["rules"] == []
