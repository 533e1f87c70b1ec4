"""What every test stands on: a home of its own, skips that are counted and named, and nothing left running.

Tests with real processes get a second try on a machine whose processors are shared, counted and named like a skip: one that
needs it often hides a mistake.

A suite that must run somewhere is named with ``--must-run MARKER``: if no test of it runs there, the run fails. Without it a
skip stays a skip; every one is listed by name, with its reason, under the results.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import hypothesis
import psutil
import pytest
import pytest_timeout
from _pytest.mark.expression import Expression

from tests.patience import patient_s

HERE = Path(__file__).parent
LEFT_RUNNING_WAIT_S = 5.0
NOT_OURS = ("resource_tracker", "forkserver", "loky", "cli/warm.py")  # these end with the interpreter

# What `make check` leaves to `make test`: files whose tests start agents or whole programs, and those that search thousands of
# cases. One file of the first kind, sdk/test_use.py, stays, so that a broken whole is seen at once.
SLOW = (
    *("agent/", "attacks/", "cli/", "e2e/", "sdk/", "tui/", "drivers/test_guide.py", "test_aio.py"),
    *(
        "lanes/test_command.py",
        "lanes/test_conversation.py",
        "lanes/test_host.py",
        "lanes/test_sandbox.py",
        "lanes/test_shm.py",
        "lanes/test_private_net.py",
    ),
    *("jobs/test_crew.py", "jobs/test_desk.py", "jobs/test_job.py", "jobs/test_providers.py"),
    *("jobs/test_runner.py", "jobs/test_shelf.py", "jobs/test_submit.py"),
    *("kernel/test_match_gang.py", "kernel/test_match_index.py", "kernel/test_membership_faults.py"),
    *("sim/", "store/test_every_share_set.py", "trust/test_standing.py"),
    *("web/test_page.py", "web/test_talk.py", "web/test_passkeys.py", "web/test_serving.py"),
    *("web/test_tools.py", "web/test_work.py", "web/test_mcp.py", "web/test_official_client.py"),
)
# The longest of what earlier parts are proved by: left out where CI's twenty minutes count, unless NIGHT=1; skipped by name.
NIGHTLY = (
    "e2e/test_realms_faults.py::test_a_line_that_flaps",
    "e2e/test_realms_faults.py::test_a_line_that_carries_one_direction_only[in]",
    "e2e/test_demo.py::test_the_demo_shows_a_table_to_a_person",
    "e2e/test_private_net.py::test_what_talks_goes_on_after_a_cut",
    "e2e/test_join.py::test_a_port_that_is_taken",
    "e2e/test_council.py::test_a_seat_whose_log_is_damaged_is_mended_by_the_others_before_it_counts[old backup]",
    "e2e/test_council.py::test_a_seat_that_answers_reads_from_memory_is_caught",
    "e2e/test_council.py::test_every_seat_of_a_council_is_replaced_under_load",
    "store/test_every_share_set.py",
    "files/test_keepers.py::test_a_machine_that_lost_its_depot",
    "depot/test_powercut.py",
    "attacks/test_row_15_log_rewritten.py::test_a_log_that_was_truncated",
    "attacks/test_row_17_killed_book.py",
    "attacks/test_rows_01_to_06_on_machines.py::test_row_3",
    "attacks/test_row_10_cloned_disk.py::test_a_snapshot_that_is_brought_back",
    *(
        f"kernel/test_membership_faults.py::test_a_silent_lease_partner_is_suspected_within_a_second[50-{seed}]"
        for seed in range(2, 10)
    ),
    "sim/test_run.py::test_seeds",  # `make test` runs seeds by themselves
    "sim/test_realm_run.py::test_seeds",
    "sim/test_planet_run.py::test_a_small_planet",
    "sim/test_work_run.py::test_seeds",
    "sim/test_work_run.py::test_what_runs_at_a_machine_that_is_cut_off",
)
# Each worker takes a whole file of tests/e2e: the longest first, the shortest last, so that both end at about one time.
LONG_FIRST = (
    *(
        "e2e/test_queue.py",
        "e2e/test_engines.py",
        "e2e/test_jobs.py",
        "e2e/test_realms_faults.py",
        "e2e/test_storage.py",
    ),
    *("e2e/test_joblib.py", "e2e/test_page.py", "e2e/test_faults.py", "e2e/test_council.py", "e2e/test_realms.py"),
    *("e2e/test_council_oracle.py", "e2e/test_elastic.py", "e2e/test_join.py", "e2e/test_strangers.py"),
)
SHORT_LAST = ("e2e/test_run.py", "e2e/test_revoke.py", "e2e/test_offers.py", "e2e/test_lab.py")
QUICK_ALL_THE_SAME = "sdk/test_use.py"
# Rooms with real processes, links and disks: what fails there once gets a second try, and is named at the end.
REAL = ("contract/", "depot/", "drivers/", "engines/", "fabric/", "files/", "jobs/", "lanes/", "web/")

hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("quick", deadline=None, max_examples=20)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True, max_examples=20)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--must-run",
        action="append",
        default=[],
        metavar="MARKER",
        help="fail if no test with MARKER runs",
    )


def pytest_configure(config: pytest.Config) -> None:
    """No test may touch the home of the person who runs it."""
    if not config.getoption("--hypothesis-profile"):
        hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")
    config.stash[_HOME] = tempfile.mkdtemp(prefix="wos-")  # short: a Unix socket's path ends at 107 bytes
    os.environ["WORLDOS_HOME"] = config.stash[_HOME]
    if "loadscopereorder" in config.option:  # what counts is how long a file takes, not how many tests it has
        config.option.loadscopereorder = False
    config.stash[_RAN] = Ran(config.getoption("must_run"))
    config.pluginmanager.register(config.stash[_RAN])


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_HOME], ignore_errors=True)


_HOME = pytest.StashKey[str]()
_RAN = pytest.StashKey["Ran"]()


def why_no_namespaces() -> str:
    """Say what keeps this user from making network namespaces, or nothing."""
    if shutil.which("ip") is None:
        return "`ip` is not installed (package iproute2)"
    if os.geteuid() == 0:
        return ""
    tried = subprocess.run(["unshare", "-Urnm", "true"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"neither root nor user namespaces: {tried.stderr.strip()}"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out a file none of whose tests ``-m`` can choose: to load all takes each worker as long as to run many of them."""
    words = config.getoption("markexpr")
    if not words or collection_path.suffix != ".py" or not set(words.split()) <= {"e2e", "slow", "not", "and", "or"}:
        return None
    where = collection_path.relative_to(HERE).as_posix() if collection_path.is_relative_to(HERE) else ""
    if where == QUICK_ALL_THE_SAME or not where.startswith(SLOW):
        kinds = [set(), {"slow"}] if "mark.slow" in collection_path.read_text() else [set()]
    else:
        kinds = [{"slow", "e2e"} if where.startswith("e2e/") else {"slow"}]
    return None if any(_chooses(words, kind) for kind in kinds) else True


def _chooses(words: str, kind: set[str]) -> bool:
    return Expression.compile(words).evaluate(lambda name, /, **_: name in kind)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by where they lie; skip those in tests/e2e, saying why, where namespaces cannot be made."""
    items.sort(key=_turn)
    is_day = bool(os.environ.get("CI")) and not os.environ.get("NIGHT")
    for item in items:
        where = item.path.relative_to(HERE).as_posix() if item.path.is_relative_to(HERE) else ""
        if where.startswith(SLOW) and where != QUICK_ALL_THE_SAME:
            item.add_marker("slow")
        if where.startswith("e2e/"):
            item.add_marker("e2e")
        if is_day and f"{where}::{item.name}".startswith(NIGHTLY):
            item.add_marker(pytest.mark.skip(reason="left to the night: NIGHT=1"))
        if not os.environ.get("NO_RERUN") and where.startswith((*SLOW, *REAL)):
            item.add_marker(pytest.mark.flaky(reruns=1))
        named = item.get_closest_marker("timeout")
        item.add_marker(
            pytest.mark.timeout(patient_s(float(named.args[0] if named else config.getini("timeout")))), append=False
        )
    real = [item for item in items if item.get_closest_marker("e2e")]
    why_not = why_no_namespaces() if real else ""
    if why_not and "e2e" in config.getoption("must_run"):
        raise pytest.UsageError(f"the end-to-end tests must run here, and cannot: {why_not}")
    for item in real if why_not else []:
        item.add_marker(pytest.mark.skip(reason=why_not))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give a second try its timeout too: the plugin sets it once for all tries, and the first failure ends it."""
    marker = item.get_closest_marker("timeout")
    if getattr(item, "execution_count", 1) > 1 and marker is not None:
        bound = pytest_timeout.Settings(marker.args[0], "signal", func_only=False, disable_debugger_detection=False)
        item.ihook.pytest_timeout_set_timer(item=item, settings=bound)


def _turn(item: pytest.Item) -> int:
    where = item.path.relative_to(HERE).as_posix() if item.path.is_relative_to(HERE) else ""
    if where in LONG_FIRST:
        return LONG_FIRST.index(where) - len(LONG_FIRST)
    return 1 + SHORT_LAST.index(where) if where in SHORT_LAST else 0


class Ran:
    """Which of the suites that must run were seen to run. It listens to reports, so it also hears those of xdist's workers."""

    def __init__(self, names: list[str]) -> None:
        self.absent = set(names)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self.absent -= set(report.keywords)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail when a suite that must run has no test, or when a test left a process behind."""
    config = session.config
    if hasattr(config, "workerinput"):
        return
    absent = sorted(config.stash[_RAN].absent)
    _, running = psutil.wait_procs(_children(), timeout=LEFT_RUNNING_WAIT_S if _children() else 0)
    config.stash[_FAULTS] = [f"no test with marker {name!r} ran, and it must" for name in absent] + [
        f"left running: {_said(process)}" for process in running
    ]
    if config.stash[_FAULTS] and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


_FAULTS = pytest.StashKey[list[str]]()


def _children() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if not any(name in _said(child) for name in NOT_OURS)
    ]


def _said(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline()) or process.name()}"
    except psutil.Error:
        return f"{process.pid} (ended)"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name each skip with its reason, each test that needed a second try, and each fault of the whole session."""
    tried_again = terminalreporter.stats.get("rerun", [])
    if tried_again:
        terminalreporter.section(f"{len(tried_again)} tried a second time")
        for report in tried_again:
            terminalreporter.line(f"{report.nodeid}: {str(report.longrepr).splitlines()[-1]}")
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section(f"{len(skipped)} skipped")
        for report in skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            terminalreporter.line(f"{report.nodeid}: {reason.removeprefix('Skipped: ')}")
    for fault in config.stash.get(_FAULTS, []):
        terminalreporter.line(f"ERROR {fault}", red=True)
