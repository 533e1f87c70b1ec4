"""Jobs on machines of another account: real agents of two, one of which lies when it is told to."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.accounts import KNOWN_S, Two, brought_in, tree
from tests.agent.agents import RunningAgent, new_home, running, until

from worldos.jobs.desk import ENDED, Desk
from worldos.jobs.providers import Maker, Providers
from worldos.jobs.words import new_job_id
from worldos.kernel.line.view import State, TaskView
from worldos.lanes import sandbox
from worldos.model.ids import NodeId
from worldos.model.need import Need
from worldos.model.work import JobSpec
from worldos.sdk.connection import Connection

LIAR = Path(__file__).with_name("liar.py")
THERE = Need(kind="CPU", amount=1000, realm="acme/office")
END_S = 60


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    """``office``, whose realm lends and whose machine lies; and ``den``, another account below the same realm."""
    if not sandbox.bubblewrap():
        pytest.skip("bubblewrap is not installed: nothing is lent to others")
    with tempfile.TemporaryDirectory(prefix="wos-p-") as folder:
        office = RunningAgent(new_home(Path(folder) / "o", "office"), prefix=(sys.executable, str(LIAR)))
        try:
            with running(new_home(Path(folder) / "d", "den")) as den:
                for agent in (office, den):
                    until(lambda agent=agent: tree(agent), "it has a center")
                office.ask("realm_create", name="acme", level="enterprise")
                brought_in(den, office)
                until(lambda: {"acme/office", "acme/den"} <= tree(office).keys(), "acme knows both", KNOWN_S)
                until(lambda: "acme/den" in tree(den), "den knows where it is", KNOWN_S)
                office.ask("realm_policy", realm="acme/office", key="lend", value="kin")
                office.ask("lend_rule", rule={"to": "realm", "cpu_permille": 1000, "memory_permille": 1000})
                until(lambda: office.ask("lend_show")["realm"] == "kin", "the realm lends")
                yield office, den
        finally:
            office.end()


def done(agent: RunningAgent, script: str, **words: object) -> TaskView:
    """Have one task done, by one machine after the other; return how it ended."""
    desk, job = Desk(agent.ask), new_job_id()
    desk.submit(job, JobSpec(argv=("sh", "-c", script), need=THERE, together=1, **words))  # type: ignore[arg-type]
    until(lambda: desk.job(job).state in ENDED, "it ends", END_S)
    return desk.task(job, 0)


def record(agent: RunningAgent) -> dict[str, object] | None:
    """What is known of the only machine of others that did tasks for us."""
    return next((row for row in agent.ask("providers") if row["of"] == "tasks"), None)


def test_where_nothing_waits_our_own_machine_does_it_beside_the_strangers(two: Two) -> None:
    _, den = two
    desk, job = Desk(den.ask), new_job_id()
    desk.submit(job, JobSpec(argv=("sleep", "100"), need=THERE))
    until(lambda: len([run for run in desk.job(job).runs if run.begun_ms]) == 2, "two run at once", END_S)
    first, second = desk.job(job).runs
    assert (first.attempt.number, second.attempt.number) == (1, 2)
    assert (first.at, second.at) == (two[0].ask("status")["node"], den.ask("status")["node"])
    desk.cancel(job)
    until(lambda: den.ask("leases") == {"granted": [], "held": []}, "both are stopped", END_S)


def test_a_stranger_is_checked_and_outvoted_by_our_own_machine_when_it_lies(two: Two) -> None:
    _, den = two
    unchecked = done(den, 'echo "${WOS_LIES:-0}"; echo noise >&2', copies=1)
    assert unchecked.outcome is not None
    assert b"1" in unchecked.outcome.tail.split(), "it was taken as it was"
    assert unchecked.copies == 0
    assert record(den) is None

    honest = done(den, "echo right; echo at $WOS_NODE on try $WOS_ATTEMPT >&2")
    assert (honest.state, honest.agree, honest.copies, honest.number) == (State.DONE, 2, 2, 2)
    row = record(den)
    assert row is not None
    assert (row["node"], row["checks"], row["out"]) == (two[0].ask("status")["node"], 1, "")

    lied = done(den, 'echo "${WOS_LIES:-0}"')
    assert lied.outcome is not None
    assert (lied.state, lied.agree, lied.copies, lied.outcome.tail) == (State.DONE, 2, 3, b"0\n")
    row = record(den)
    assert row is not None
    assert "wrong" in str(row["out"])

    connection = Connection(den.home.socket_file)
    providers, node = Providers(connection), NodeId(two[0].ask("status")["node"])
    assert providers.maker(node) == Maker(str(two[0].ask("status")["account"]), node)
    assert not providers.may_do(node, ()), "it gets no more"
    connection.close()
