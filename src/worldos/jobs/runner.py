"""The runner: the process that brings a node's attempts to leases and tells the line what became of them.

``python -m worldos.jobs.runner HOME NODE ACCOUNT``, started by the agent of that home when the first attempt is given. It says
``ready`` on standard output; the end of standard input is its end. It keeps nothing that must last: what it had when it was
killed, the line gives again, and its leases end with its connection to the agent. It stops what it has when it reached no line
for ``SILENT_S``, for by then others may have been given the same. Source: DESIGN.md 1; the fence of M. Kleppmann, "How to do
distributed locking", 2016: results are taken in by the number of their attempt.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from worldos.errors import NodeGone, Unreachable, WorldError
from worldos.home import Home
from worldos.jobs.attempt import Run
from worldos.jobs.berth import Berth, Ran
from worldos.jobs.crew import Crew
from worldos.jobs.limits import (
    CLOSERS,
    CUT_OFF_S,
    GRACE_SILENT_S,
    HOLDS_APART_S,
    HOLDS_EVERY_S,
    KEEP_AGAIN_S,
    KEEP_PATIENCE_S,
    LOGS_KEPT_MAX,
    PULSE_EVERY_S,
    PULSE_WAIT_S,
    SILENT_S,
    SWEEP_AGE_NS,
    SWEEP_EVERY_S,
    SWEEP_LOOK_S,
)
from worldos.jobs.logs import Log
from worldos.jobs.providers import OURS, Maker, Providers
from worldos.jobs.shelf import Shelf
from worldos.jobs.stay import More, Stay
from worldos.jobs.teller import Teller, Word
from worldos.kernel.work.look import read_job
from worldos.lanes.resident import is_resident
from worldos.model.ids import NodeId
from worldos.model.need import LeaseTerms, Need
from worldos.model.runner import LogAsk, LogPiece
from worldos.model.work import Applied, Attempt, Began, Finished, Lost, WorkAnswer
from worldos.model.work_wire import TasksGiven, TasksStop
from worldos.sdk.asking import Asking
from worldos.sdk.connection import Connection

PROGRAM: Final = "jobs of the line"  # what its leases are listed under
FOLDER: Final = "jobs"
SWEPT: Final = "jobs.swept"  # its time is that of the last sweep
_given = msgspec.msgpack.Decoder(TasksGiven)
_stop = msgspec.msgpack.Decoder(TasksStop)
_log = msgspec.msgpack.Decoder(LogAsk)
_encode = msgspec.msgpack.Encoder().encode


class Runner:
    """All attempts of one node. What the agent says comes in one thread; berths and answers in others."""

    def __init__(self, agent: Connection, node: NodeId, shelf: Shelf, folder: Path) -> None:
        self._agent = agent
        self._node = node
        self._shelf = shelf
        self._folder = folder
        self._lock = threading.RLock()
        self._runs: dict[Attempt, Run] = {}
        self._crews: dict[tuple[Need, tuple[str, ...]], Crew] = {}
        self._logs: OrderedDict[Attempt, Log] = OrderedDict()  # of those that have ended
        self._teller = Teller(lambda data: bytes(agent.ask("work", {"command": data})))
        self._closers = ThreadPoolExecutor(CLOSERS, "closer")
        self._answerers = ThreadPoolExecutor(1, "answers")
        self._cut_off: list[tuple[float, Run, Word]] = []  # what is to be said of whom, and when
        self._changed = threading.Event()  # what is held here
        self._stopped = threading.Event()
        self._names: dict[NodeId, str] = {}
        self._providers = Providers(agent)
        self._heard_s = time.monotonic()

    # -- what the agent says ---------------------------------------------------------------------------------------------------

    def hear(self, word: dict[str, bytes]) -> None:
        """Take in one word of the agent."""
        for name, data in word.items():
            match name:
                case "given":
                    self.given(_given.decode(data))
                case "stop":
                    self.stop(_stop.decode(data))
                case "log":
                    self._answerers.submit(self._answer_log, _log.decode(data))
                case _:
                    sys.stderr.write(f"the agent says {name!r}, which this runner does not know\n")

    def given(self, tasks: TasksGiven) -> None:
        """Take attempts in; those that are here already are told again, and that is all."""
        fresh: dict[tuple[str, ...], list[Run]] = {}
        with self._lock:
            for task in tasks.tasks:
                attempt = Attempt(tasks.job, task.index, task.number)
                if attempt not in self._runs:
                    apart = tuple(sorted(set(tasks.apart.get(task.index, ()))))
                    run = Run(attempt, tasks.spec, task.checkpoint, self._folder, apart)
                    self._runs[attempt] = run
                    fresh.setdefault(run.apart, []).append(run)
            for runs in fresh.values():
                self._crew(runs[0]).add(runs)
        self._changed.set()

    def stop(self, tasks: TasksStop) -> None:
        """Stop attempts: to make way, or because nobody waits for them."""
        for attempt in tasks.attempts:
            with self._lock:
                run = self._runs.get(attempt)
            if run is None:
                continue
            if tasks.preempt:
                run.make_way(tasks.why)
            else:
                run.drop()
            if self._crew(run).withdraw(run):
                self._say(run, run.unbegun())

    def piece(self, ask: LogAsk) -> LogPiece:
        """Return what was asked of a log."""
        with self._lock:
            run = self._runs.get(ask.attempt)
            log = run.log if run is not None else self._logs.get(ask.attempt)
        if log is None:
            return LogPiece(offset=ask.offset, gone=True)
        ended = log.ended
        offset, data = log.read(ask.offset, ask.size)
        return LogPiece(offset=offset, data=data, written=log.written, ended=ended)

    def _answer_log(self, ask: LogAsk) -> None:
        try:
            self._agent.ask("runner_told", {"request": ask.request, "piece": _encode(self.piece(ask))})
        except WorldError as error:  # who asked will ask again
            sys.stderr.write(f"a piece of a log could not be sent: {error}\n")

    # -- berths ----------------------------------------------------------------------------------------------------------------

    def at_berth(self, run: Run, berth: Berth, terms: LeaseTerms, more: More) -> bool:
        """Carry an attempt out, and more of its job if they share an interpreter; return whether the berth is still good."""
        try:
            maker = OURS if berth.is_own else self._providers.maker(terms.node)
            begun = functools.partial(self._begun, terms, maker)
            node = self._name_of(terms.node)
            if is_resident(run.spec.argv):
                stay = berth.stay
                if stay is None or stay.job != run.attempt.job:
                    stay = berth.stay = Stay(berth, run, node, maker, self._shelf)
                return stay.serve(run, more, begun, functools.partial(self._at_end, terms))
            begun(run)
            self._at_end(terms, run, run.carry_out(berth, self._shelf, node, maker))
        except (WorldError, OSError) as error:
            self._at_end(terms, run, error if isinstance(error, WorldError) else WorldError(str(error)))
            return False
        return True

    def _begun(self, terms: LeaseTerms, maker: Maker, run: Run) -> None:
        self._teller.say(Began(attempt=run.attempt, at=terms.node, owner=maker.owner))

    def _at_end(self, terms: LeaseTerms, run: Run, ran: Ran | Word | WorldError | None) -> None:
        """See to it that the line hears how an attempt ended, or what befell the berth that it was at.

        A node that is gone may only be cut off: what runs there ends with its lease at the latest; it is lost then.
        """
        run.price_uwos_hour = terms.price_uwos_hour
        if isinstance(ran, WorldError):
            word = run.broken(ran)
            if isinstance(ran, NodeGone) and terms.node != self._node and word is not None and not run.spec.twice:
                with self._lock:
                    self._cut_off.append((time.monotonic() + CUT_OFF_S, run, word))
            else:
                self._say(run, word)
        elif not isinstance(ran, Ran):
            self._say(run, ran)
        elif run.needs_files(ran):
            self._closers.submit(self._guarded, run, lambda: run.ended(ran, self._shelf))
        else:
            self._say(run, run.ended(ran, self._shelf))

    def _name_of(self, node: NodeId) -> str:
        """Return what a node is called; asked once for each."""
        name = self._names.get(node)
        if name is None:
            self._names.update({NodeId(row["node"]): str(row["name"]) for row in self._agent.ask("nodes")})
            name = self._names.setdefault(node, node[:8])  # of another account
        return name

    def admits(self, node: NodeId, apart: tuple[str, ...]) -> bool:
        """Tell whether the machine of another account may do what these machines and owners have done already."""
        return self._providers.may_do(node, apart)

    def nowhere(self, run: Run, why: str) -> None:
        """No lease can be had for this one: the line may know another node."""
        what = (
            "no machine of another owner can be had to do it, too (or: --unchecked)"
            if run.apart
            else "no lease can be had"
        )
        self._say(run, Lost(attempt=run.attempt, why=f"{what}: {why}"[:1000]))

    def _guarded(self, run: Run, make: Callable[[], Word | None]) -> None:
        """Make a word that needs the realm's files, as long as they may yet be reached, and say it."""
        until_s = time.monotonic() + KEEP_PATIENCE_S
        while True:
            try:
                self._say(run, make())
            except Unreachable as error:
                if time.monotonic() < until_s and not run.dropped and not self._stopped.wait(KEEP_AGAIN_S):
                    continue
                self._say(run, run.broken(error))
            except (WorldError, OSError) as error:
                self._say(run, run.broken(error if isinstance(error, WorldError) else WorldError(str(error))))
            return

    def _say(self, run: Run, word: Word | None) -> None:
        """Say what became of an attempt; None: nothing, it is just over."""
        run.close()
        if word is None:
            self._over(run)
        else:
            self._teller.say(word, lambda answer: self._said(run, word, answer))

    def _said(self, run: Run, word: Word, answer: WorkAnswer) -> None:
        """Take in what the line made of an attempt's end."""
        if isinstance(answer, Applied):
            self._over(run)
            if run.continues or answer.attempts:
                self._closers.submit(run.settled, word, answer.attempts, self._shelf)
        elif isinstance(word, Finished) and word.outcome.result:
            self._closers.submit(self._guarded, run, lambda: run.moved_out(word, self._shelf))
        else:
            self._over(run)
            self._closers.submit(run.refused, word, self._shelf)

    def _over(self, run: Run) -> None:
        """Forget an attempt; its log is kept for a while."""
        with self._lock:
            self._runs.pop(run.attempt, None)
            self._logs[run.attempt] = run.log
            forgotten = [self._logs.popitem(last=False)[1]] if len(self._logs) > LOGS_KEPT_MAX else []
            last = not any(other.job == run.attempt.job for other in self._runs) if run.spec.parcel_file else False
        for log in forgotten:
            log.close()
        if last:
            self._shelf.forget(run.attempt.job)
        self._changed.set()

    def _crew(self, run: Run) -> Crew:
        need, apart = key = run.spec.need, run.apart
        with self._lock:
            crew = self._crews.get(key)
            if crew is None:
                crew = self._crews[key] = Crew(self._agent, self, need, self._node, self._tidy, apart)
            return crew

    def _tidy(self) -> None:
        """Drop crews of which nothing is left."""
        with self._lock:
            for key in [key for key, crew in self._crews.items() if crew.empty]:
                del self._crews[key]
        self._changed.set()

    # -- the line -------------------------------------------------------------------------------------------------------------

    def hold(self) -> None:
        """Tell the agent what is held here, until the end."""
        while not self._stopped.is_set():
            with self._lock:
                attempts = [[each.job, each.index, each.number] for each in self._runs]
                leased: Counter[str] = Counter()
                for crew in self._crews.values():
                    leased.update(crew.leased)
            with suppress(WorldError):  # an agent that is gone ends this runner too
                self._agent.ask("runner_holds", {"attempts": attempts, "leased": dict(leased)})
            self._changed.wait(HOLDS_EVERY_S)
            self._changed.clear()
            self._stopped.wait(HOLDS_APART_S)  # what changes together is told together

    def listen(self) -> None:
        """See that the line is heard of while something runs here; stop what it may have given to others meanwhile."""
        while not self._stopped.wait(PULSE_EVERY_S):
            self.give_up()
            with self._lock:
                job = next((attempt.job for attempt in self._runs), "")
            if not job:
                self._heard_s = time.monotonic()
                continue
            if time.monotonic() < self._teller.heard_s + PULSE_EVERY_S:
                continue
            try:
                self._agent.ask("work_look", {"what": f"job {job}", "count": 0}, timeout=PULSE_WAIT_S)
                self._heard_s = time.monotonic()
            except WorldError:
                self._mind_silence()

    def give_up(self) -> None:
        """Say of attempts at nodes that are cut off that they are lost, once they cannot run there any more."""
        with self._lock:
            over = [each for each in self._cut_off if each[0] <= time.monotonic()]
            self._cut_off = [each for each in self._cut_off if each not in over]
        for _, run, word in over:
            self._say(run, None if run.dropped else word)

    def sweep(self) -> None:
        """Now and then drop the files of jobs that the line has forgotten; over the lives of all runners of this home."""
        while not self._stopped.wait(SWEEP_LOOK_S):
            mark = self._folder.with_name(SWEPT)
            if mark.exists() and time.time() - mark.stat().st_mtime < SWEEP_EVERY_S:
                continue
            mark.touch()
            with suppress(WorldError):
                self._shelf.sweep(self._is_known, time.time_ns() - SWEEP_AGE_NS)

    def _is_known(self, job: str) -> bool:
        data = bytes(self._agent.ask("work_look", {"what": f"job {job}", "count": 0}))
        return read_job(data).job is not None

    def _mind_silence(self) -> None:
        """Stop what may not run beside its successor, once the line was silent for long enough to have named one."""
        if time.monotonic() < max(self._heard_s, self._teller.heard_s) + SILENT_S:
            return
        with self._lock:
            lone = [run for run in self._runs.values() if not run.spec.twice and not run.dropped]
        for run in lone:
            run.drop(GRACE_SILENT_S)
            if self._crew(run).withdraw(run):
                self._say(run, None)

    def close(self) -> None:
        """Stop everything."""
        self._stopped.set()
        self._changed.set()
        with self._lock:
            crews = list(self._crews.values())
        for crew in crews:
            crew.close()
        self._teller.close()


def main() -> int:
    """Run what the agent gives until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m worldos.jobs.runner")
    parser.add_argument("home", type=Path)
    parser.add_argument("node")
    parser.add_argument("account")
    options = parser.parse_args()
    sys.argv[0] = PROGRAM
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the agent, whose end is ours
    threading.stack_size(512 * 1024)
    threading.Thread(target=_end_with_agent, name="agent's end", daemon=True).start()
    try:
        run(Home(options.home), NodeId(options.node))
    except (WorldError, OSError) as error:
        _say(f"failed {error}")
        return error.exit_code if isinstance(error, WorldError) else 1
    return 0


def run(home: Home, node: NodeId) -> None:
    """Serve one agent."""
    folder = home.path / FOLDER
    shutil.rmtree(folder, ignore_errors=True)  # what a runner before this one left: the line gives it again
    folder.mkdir(mode=0o700, parents=True)
    agent = Connection(home.socket_file)
    runner = Runner(agent, node, Shelf(home, folder), folder)
    with Asking(home, PROGRAM) as asking:
        threading.Thread(target=runner.hold, name="holds", daemon=True).start()
        threading.Thread(target=runner.listen, name="listens", daemon=True).start()
        threading.Thread(target=runner.sweep, name="sweeps", daemon=True).start()
        _say("ready")
        try:
            asking.ask("runner_hear", progress=runner.hear, timeout_s=None)
        finally:
            runner.close()


def _end_with_agent() -> None:
    """End when the agent does. Our leases end with our connection, and with them all that runs there."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def _say(line: str) -> None:
    try:
        os.write(1, line.replace("\n", " ").encode() + b"\n")
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
