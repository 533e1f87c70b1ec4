"""Machines of a lab with World OS on them, used as a person would: by the real command, with a home for each.

    with Lab() as lab, Realm(lab, ["a", "b", "c"]) as realm:
        a, b, c = realm.machines                 # up, joined by tickets, and linked
        program = realm.program(a, calls=60)      # programs.py, under a real ``use("CPU")``
        b.kill()

What an agent leaves behind (processes, sockets, scratch folders, cgroups) is looked for at the end of each realm:
all of it lies in the lab's own folder or carries a name that was seen there.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
from tests.e2e.lab import Lab, LabError, Run, inside, until

from worldos.agent import home as homes
from worldos.config import Home
from worldos.sdk.asking import Asking

WOS = (sys.executable, "-P", "-m", "worldos.cli.main")
PROGRAMS = Path(__file__).with_name("programs.py")
PORT = 7370
COMMAND_S = 40.0
READY_S = 15.0
ANSWER_S = 10.0


class Machine:
    """One host of the lab, and the home of its node."""

    def __init__(
        self, lab: Lab, name: str, *, environ: dict[str, str] | None = None, prefix: Sequence[str] = ()
    ) -> None:
        self.lab = lab
        self.name = name
        self.home = Home(lab.folder / f"home-{name}")
        self.scratch = lab.folder / f"tmp-{name}"  # two machines share no folder
        self.scratch.mkdir(mode=0o700, exist_ok=True)
        self.prefix = list(prefix)
        self.node = ""
        self._environ = {"TMPDIR": str(self.scratch), "COLUMNS": "200", "WORLDOS_PLAIN_GUESTS": "1", **(environ or {})}
        self._asleep: list[psutil.Process] = []

    # -- commands -------------------------------------------------------------------------------------------------------

    def start(self, *words: str, cwd: Path | None = None) -> Run:
        """Start ``wos WORDS`` here."""
        return self.run([*WOS, *words], cwd=cwd)

    def run(self, argv: Sequence[str | Path], *, cwd: Path | None = None) -> Run:
        """Start any program here; ``WORLDOS_HOME`` is this machine's home."""
        return self.lab.run(self.name, [*self.prefix, *argv], home=self.home.path, env=self._environ, cwd=cwd)

    def wos(self, *words: str, within_s: float = COMMAND_S) -> str:
        """Run ``wos WORDS`` to a good end; return what it printed."""
        run = self.start(*words)
        code = run.wait(within_s)
        if code:
            raise LabError(f"wos {' '.join(words)} on {self.name}: exit {code}\n{run.said()}")
        return run.text()

    def ask(self, *words: str) -> Any:
        """Run ``wos WORDS --json``; return the answer."""
        return json.loads(self.wos(*words, "--json"))

    def tell(self, order: str, **arguments: Any) -> Any:
        """Ask the agent as the command would, without starting one: for what is asked again and again."""
        with Asking(self.home) as agent:
            return agent.ask(order, timeout_s=ANSWER_S, **arguments)

    def refused(self, *words: str, within_s: float = COMMAND_S) -> tuple[int, str]:
        """Run a command that must fail; return its exit code and its one sentence. A traceback is never right."""
        run = self.start(*words)
        code = run.wait(within_s)
        said = run.err.read_text(errors="replace")
        assert code != 0, f"wos {words[0]} on {self.name} should have failed:\n{run.said()}"
        assert "Traceback" not in said, said
        assert "mistake of World OS itself" not in said, said
        return code, " ".join(said.split())

    # -- life -----------------------------------------------------------------------------------------------------------

    @property
    def listen(self) -> str:
        """Where it listens."""
        return f"{self.lab.host(self.name).address}:{PORT}"

    @property
    def pid(self) -> int:
        """The agent's process."""
        pid = homes.running_pid(self.home)
        if pid is None:
            raise LabError(f"no agent runs on {self.name}")
        return pid

    @property
    def running(self) -> bool:
        """Whether the agent's process is there."""
        return homes.running_pid(self.home) is not None

    def up(self, *words: str) -> dict[str, Any]:
        """Start the agent; return what ``wos up`` shows."""
        found = self.ask("up", "--name", self.name, "--listen", self.listen, *words)
        self.node = found["status"]["node"]
        return found

    def joining(self, ticket: str) -> Run:
        """Begin to join by a ticket."""
        return self.start("join", ticket, "--yes", "--name", self.name, "--listen", self.listen)

    def joined(self, joining: Run) -> None:
        """Wait until it has joined."""
        code = joining.wait(COMMAND_S)
        if code:
            raise LabError(f"wos join on {self.name}: exit {code}\n{joining.said()}")
        self.node = self.tell("status")["node"]

    def processes(self) -> list[psutil.Process]:
        """The agent and everything under it."""
        agent = psutil.Process(self.pid)
        return [agent, *agent.children(recursive=True)]

    def kill(self) -> int:
        """Kill the agent with SIGKILL; return the moment (steady clock, ns)."""
        pid = self.pid
        at_ns = time.monotonic_ns()
        os.kill(pid, signal.SIGKILL)
        return at_ns

    def sleep(self) -> int:
        """Stop the agent and everything under it with SIGSTOP; return the moment."""
        self._asleep = self.processes()
        at_ns = time.monotonic_ns()
        for process in self._asleep:
            with contextlib.suppress(psutil.Error):
                process.suspend()
        return at_ns

    def wake(self) -> None:
        """Let a stopped node go on."""
        for process in self._asleep:
            with contextlib.suppress(psutil.Error):
                process.resume()
        self._asleep = []

    def down(self) -> None:
        """Stop the agent in good order, if it runs."""
        self.wake()
        if self.running:
            self.wos("down")

    def nodes(self) -> dict[str, dict[str, Any]]:
        """What ``wos nodes`` shows, by name."""
        return {row["name"]: row for row in self.tell("nodes")}

    def granted(self) -> list[dict[str, Any]]:
        """The leases that this node granted."""
        return list(self.tell("leases")["granted"])


class Realm:
    """Several machines of one account on one switch, up and joined, while the ``with`` block runs."""

    def __init__(self, lab: Lab, names: Sequence[str], *, subnet: str = "10.1.0") -> None:
        self.lab = lab
        lab.site("home", subnet, names)
        self.machines = [Machine(lab, name) for name in names]
        self._programs = 0

    def __enter__(self) -> Realm:
        first, *others = self.machines
        first.up()
        inviting = [first.start("invite", "--yes", "--plain") for _ in others]
        joining = [machine.joining(ticket_of(each)) for machine, each in zip(others, inviting, strict=True)]
        for machine, each in zip(others, joining, strict=True):
            machine.joined(each)
        for each in inviting:
            assert each.wait(10) == 0, each.said()
        self.linked()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.lab.heal()
            end(self.lab, self.machines)

    def linked(self, within_s: float = READY_S) -> None:
        """Wait until every machine sees every other as alive."""
        all_linked(self.machines, within_s)

    def program(self, machine: Machine, **options: Any) -> Program:
        """Start ``programs.py`` on a machine with these options."""
        self._programs += 1
        return program_on(machine, f"calls-{self._programs}", **options)


class Call:
    """One beginning of a call at a worker, as the worker itself wrote it down. ``ended_ns`` is 0 where it never ended."""

    def __init__(self, index: int, node: str, pid: int, began_ns: int) -> None:
        self.index, self.node, self.pid, self.began_ns = index, node, pid, began_ns
        self.ended_ns = 0


class Program:
    """A run of ``programs.py``: its calls as the workers saw them, its results as the caller got them."""

    def __init__(self, run: Run, log: Path) -> None:
        self.run, self.log = run, log

    def calls(self) -> list[Call]:
        """Every beginning of a call so far, in order of time."""
        calls: list[Call] = []
        for line in self.log.read_text().splitlines():
            what, index, node, pid, at_ns = line.split()
            if what == "began":
                calls.append(Call(int(index), node, int(pid), int(at_ns)))
            else:
                began = [c for c in calls if (c.index, c.pid) == (int(index), int(pid)) and not c.ended_ns]
                began[-1].ended_ns = int(at_ns)
        return sorted(calls, key=lambda call: call.began_ns)

    def results(self) -> list[tuple[int, int]]:
        """What came back so far, in the order in which it came: index and value."""
        lines = [line.split() for line in self.run.text().splitlines() if line.startswith("result ")]
        return [(int(words[1]), int(words[2])) for words in lines if len(words) == 4]

    def came_ns(self) -> list[int]:
        """When each result came."""
        lines = [line.split() for line in self.run.text().splitlines() if line.startswith("result ")]
        return [int(words[3]) for words in lines if len(words) == 4]

    def wait_for(self, results: int, within_s: float = 30.0) -> None:
        """Wait until so many results have come."""
        self.run.expect(rf"^result {results - 1} ", within_s)

    def busy_on(self, node: str, within_s: float = 15.0) -> list[Call]:
        """Wait until calls run on a node; return those that run there now."""
        found: list[Call] = []

        def some() -> bool:
            found[:] = [call for call in self.calls() if call.node == node and not call.ended_ns]
            return bool(found)

        try:
            until(some, within_s, f"calls run on {node[:8]}")
        except LabError as error:
            raise LabError(f"{error}\n{self.run.said()}") from None
        return found

    def end(self, within_s: float = 60.0) -> dict[str, Any]:
        """Wait for the good end; return what it said last."""
        code = self.run.wait(within_s)
        if code:
            raise LabError(f"the program ended with {code}\n{self.run.said()}")
        return json.loads(self.run.expect(r"^done (.*)$", 1)[1])

    def rerun_ms(self, at_ns: int, node: str) -> list[float]:
        """For each call that ran on a node at a moment and did not end there: how long until it ran elsewhere."""
        calls = self.calls()
        lost = [c for c in calls if c.node == node and c.began_ns < at_ns and not 0 < c.ended_ns <= at_ns]
        again = {
            c.index: min((d.began_ns for d in calls if d.index == c.index and d.began_ns > at_ns), default=0)
            for c in lost
        }
        return sorted((began_ns - at_ns) / 1e6 for began_ns in again.values() if began_ns)


def program_on(machine: Machine, name: str, **options: Any) -> Program:
    """Start ``programs.py`` on a machine with these options; its log in the lab's folder has this name."""
    log = machine.lab.folder / name
    log.touch()
    words = json.dumps({"log": str(log), **options})
    return Program(machine.run([sys.executable, "-P", PROGRAMS, words], cwd=machine.lab.folder), log)


def invite_and_join(inviter: Machine, machine: Machine) -> None:
    """Let one machine join by a ticket of another."""
    inviting = inviter.start("invite", "--yes", "--plain")
    machine.joined(machine.joining(ticket_of(inviting)))
    assert inviting.wait(10) == 0, inviting.said()


def ticket_of(inviting: Run) -> str:
    """Return the ticket that a running ``wos invite --plain`` prints."""
    return inviting.expect(r"^(\S{40,})$", 15)[1]


def all_linked(machines: Sequence[Machine], within_s: float = READY_S) -> None:
    """Wait until every machine sees every other as alive, with its processors."""

    def seen() -> bool:
        for machine in machines:
            rows = {row["node"]: row for row in machine.tell("nodes")}
            for other in machines:
                row = rows.get(other.node)
                if row is None or row["status"] != "alive" or not row["cpu_capacity"]:
                    return False
        return True

    until(seen, within_s, f"{', '.join(m.name for m in machines)} see each other")


def no_leases(machines: Sequence[Machine], within_s: float = 15.0) -> None:
    """Wait until no node has granted anything."""
    try:
        until(lambda: not any(machine.granted() for machine in machines), within_s, "every lease is back")
    except LabError as error:
        raise LabError(f"{error}: {[machine.granted() for machine in machines]}") from None


def end(lab: Lab, machines: Sequence[Machine]) -> None:
    """Stop every agent in good order, and look for what is left of it: nothing may be."""
    scratches = [machine.scratch for machine in machines]
    cages = {folder.name.rsplit("-", 1)[-1] for scratch in scratches for folder in scratch.glob("wos-lanes-*")}
    running = [machine for machine in machines if machine.running]
    for machine in running:
        machine.wake()
    for machine, down in [(machine, machine.start("down")) for machine in running]:
        assert down.wait(COMMAND_S) == 0, f"wos down on {machine.name}\n{down.said()}"
    until(lambda: not inside(lab), 5, f"every process ended: {[_said(pid) for pid in inside(lab)]}")
    left = [str(path) for machine in machines for path in machine.home.path.rglob("*.sock")]
    left += [str(path) for scratch in scratches for path in scratch.iterdir()]
    groups = [where for where, _, _ in os.walk("/sys/fs/cgroup")]  # others come and go meanwhile: a glob would fail
    left += [where for where in groups if where.rpartition("/worldos-")[2] in cages]
    assert not left, f"left behind: {left}"


def _said(pid: int) -> str:
    try:
        return f"{pid} {' '.join(psutil.Process(pid).cmdline())}"
    except psutil.Error:
        return f"{pid} (ended)"


@contextlib.contextmanager
def realm_of(names: Sequence[str]) -> Iterator[Realm]:
    """A lab with a realm in it."""
    with Lab() as lab, Realm(lab, names) as realm:
        yield realm
