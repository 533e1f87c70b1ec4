"""``wos logs -f``: what a job puts out, as it comes, to its end."""

from __future__ import annotations

from pathlib import Path

from tests.agent.agents import RunningAgent
from tests.cli.inside import inside


def test_a_log_is_followed_to_its_end(agent: RunningAgent) -> None:
    script = "for i in 1 2 3; do echo line $i; sleep 0.4; done"
    job = inside(agent.home, "submit", "--", "sh", "-c", script).stdout.strip()
    assert inside(agent.home, "logs", "-f", job).stdout == "line 1\nline 2\nline 3\n"


def test_of_a_long_log_the_middle_is_cut_out_and_that_is_said(agent: RunningAgent) -> None:
    script = "head -c 12000000 /dev/zero | tr '\\0' x | fold -w 99; echo; echo the end"
    job = inside(agent.home, "submit", "--wait", "--", "sh", "-c", script).stdout.strip()
    text = inside(agent.home, "logs", job).stdout
    assert text.startswith("x" * 99 + "\n")
    assert "bytes are cut out here" in text
    assert text.endswith("the end\n")
    assert len(text) < 9_000_000


def test_nothing_yet_is_said(agent: RunningAgent, folder: Path) -> None:
    job = inside(agent.home, "submit", "--anyway", "--where", "arch == 'z80'", "--", "true").stdout.strip()
    run = inside(agent.home, "logs", job)
    assert "nothing was put out yet" in run.stderr
    assert "z80" in run.stderr
    inside(agent.home, "cancel", job)
