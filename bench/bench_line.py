"""How fast is the state machine of a site's work, what does it take up, and how long is a plan?

One process, no disk, no network: what a replica does with each command of the log once a majority has it. Beside it SQLite in
memory doing the same as one row a task or message (what one would take else), and as the floor a loop that stores each command
in a dict. Guess on the back of an envelope: a command is a call by type, one or two look-ups and one small object: 1 us of
Python each step, 3 to 6 us in all, 200 000 a second; SQLite parses nothing (prepared) and moves pages: 2 to 4 us a statement
plus 1 us of binding. An array of 10^6 is its two ends until tasks are begun, and two ends again when all are done.

    uv run python bench/bench_line.py [--commands 100000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from worldos.kernel.line.plan import plan  # noqa: E402
from worldos.kernel.line.scene import Scene  # noqa: E402
from worldos.kernel.question import View  # noqa: E402
from worldos.kernel.work.state import Work  # noqa: E402
from worldos.model.ids import AccountId, NodeId, ResourceId  # noqa: E402
from worldos.model.need import Need  # noqa: E402
from worldos.model.offer import Offer  # noqa: E402
from worldos.model.resource import Resource  # noqa: E402
from worldos.model.work import (  # noqa: E402
    ARRAY_TASKS_MAX,
    BATCH_MAX,
    Ack,
    Applied,
    Assign,
    Attempt,
    Began,
    Finished,
    JobSpec,
    LineCommand,
    Message,
    Outcome,
    Put,
    QueueCommand,
    QueueMade,
    Span,
    Submit,
    Take,
    WorkCommand,
)

NEED = Need(kind="CPU", amount=1000)
NODE = NodeId("n" * 52)
RATE_TARGET = 100_000
QUEUED_AT_ONCE = 256
NODES = 100
Said = list[LineCommand | QueueCommand]


def commands(number: int) -> dict[str, Said]:
    """Make the commands of each step, for so many jobs, tasks and messages."""
    spec = JobSpec(argv=("true",), need=NEED)
    array = JobSpec(argv=("true",), need=NEED, array=(Span(0, number - 1),))
    ids = [index.to_bytes(16, "big") for index in range(number)]
    chunks = [ids[at : at + QUEUED_AT_ONCE] for at in range(0, number, QUEUED_AT_ONCE)]
    done = Outcome(code=0, cpu_us=10, wall_us=20)
    return {
        "submit": [Submit(job=f"job-{index}", spec=spec, by=NODE) for index in range(number)],
        "array": [Submit(job="array", spec=array, by=NODE)],
        "assign": [
            Assign(job="array", indices=tuple(range(at, min(at + BATCH_MAX, number))), node=NODE)
            for at in range(0, number, BATCH_MAX)
        ],
        "began": [Began(attempt=Attempt("array", index, 1), at=NODE) for index in range(number)],
        "finished": [Finished(attempt=Attempt("array", index, 1), outcome=done) for index in range(number)],
        "made": [QueueMade(queue="q", bytes_max=2**34)],
        "put": [Put(queue="q", messages=(Message(one, b"x" * 100),)) for one in ids],
        "take": [
            Take(queue="q", consumer="ann-1", request=turn + 1, count=len(chunk)) for turn, chunk in enumerate(chunks)
        ],
        "ack": [Ack(queue="q", consumer="ann-1", ids=(one,)) for one in ids],
    }


def apply_all(work: Work, said: Said) -> None:
    """Apply in batches, as replicas do; all must be done."""
    for at in range(0, len(said), BATCH_MAX):
        answers = work.apply(WorkCommand(said=tuple(said[at : at + BATCH_MAX]), wall_ms=1))
        assert all(type(answer) is Applied for answer in answers), answers[:3]


def ours(number: int) -> dict[str, float]:
    """Return seconds per unit (job, task, message) of each step."""
    steps = commands(number)
    work = Work()
    took = {}
    for name, said in steps.items():
        begun = time.process_time()
        if name in ("assign", "began", "finished"):  # no more run at once than may
            took[name] = 0.0
            continue
        apply_all(work, said)
        took[name] = (time.process_time() - begun) / number
    for at in range(0, number, BATCH_MAX):
        for name, share in (("assign", 1), ("began", BATCH_MAX), ("finished", BATCH_MAX)):
            first = at // BATCH_MAX if name == "assign" else at
            part = steps[name][first : first + share]
            begun = time.process_time()
            apply_all(work, part)
            took[name] += (time.process_time() - begun) / number
    return {name: took[name] for name in ("submit", "assign", "began", "finished", "put", "take", "ack")}


SQL = {
    "submit": ("INSERT INTO jobs VALUES (?, ?, 'waiting')", lambda index: (f"job-{index}", b"x" * 60)),
    "assign": ("UPDATE tasks SET state = 'running', number = number + 1 WHERE id = ?", lambda index: (index,)),
    "began": ("UPDATE tasks SET began = 1 WHERE id = ? AND number = 1", lambda index: (index,)),
    "finished": ("UPDATE tasks SET state = 'done' WHERE id = ? AND number = 1", lambda index: (index,)),
    "put": ("INSERT OR IGNORE INTO messages VALUES (?, ?, '', 0)", lambda index: (index, b"x" * 100)),
    "take": ("UPDATE messages SET holder = 'ann', until = 9 WHERE id = ?", lambda index: (index,)),
    "ack": ("DELETE FROM messages WHERE id = ? AND holder = 'ann'", lambda index: (index,)),
}


def sqlite(number: int) -> dict[str, float]:
    """The same with a row for each, in one transaction a step, nothing on disk."""
    base = sqlite3.connect(":memory:")
    base.execute("CREATE TABLE jobs (id TEXT PRIMARY KEY, spec BLOB, state TEXT)")
    base.execute("CREATE TABLE tasks (id INTEGER PRIMARY KEY, state TEXT, number INTEGER, began INTEGER)")
    base.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, body BLOB, holder TEXT, until INTEGER)")
    base.executemany("INSERT INTO tasks VALUES (?, 'waiting', 0, 0)", ((index,) for index in range(number)))
    took = {}
    for name, (statement, words) in SQL.items():
        begun = time.process_time()
        for index in range(number):
            base.execute(statement, words(index))
        base.commit()
        took[name] = (time.process_time() - begun) / number
    return took


def floor(number: int) -> float:
    """Seconds to look a command up by type and store it."""
    said = commands(number)["submit"]
    kept = {}
    calls = {Submit: lambda one: kept.__setitem__(one.job, one)}
    begun = time.process_time()
    for one in said:
        calls[type(one)](one)
    return (time.process_time() - begun) / number


def array_of_a_million() -> None:
    """What an array of 10^6 takes up while it waits, runs and is done, and what it costs to bring it there."""
    work = Work()
    empty = len(work.snapshot())
    spec = JobSpec(argv=("true",), need=NEED, array=(Span(0, ARRAY_TASKS_MAX - 1),))
    begun = time.process_time()
    apply_all(work, [Submit(job="array", spec=spec, by=NODE)])
    submit_us = (time.process_time() - begun) * 1e6
    waiting = len(work.snapshot()) - empty
    done = Outcome(code=0, wall_us=20)
    begun = time.process_time()
    for at in range(0, ARRAY_TASKS_MAX, BATCH_MAX):
        indices = tuple(range(at, min(at + BATCH_MAX, ARRAY_TASKS_MAX)))
        apply_all(work, [Assign(job="array", indices=indices, node=NODE)])
        if at == BATCH_MAX:
            running = len(work.snapshot()) - empty
        apply_all(work, [Finished(attempt=Attempt("array", index, 1), outcome=done) for index in indices])
    took = time.process_time() - begun
    ended = len(work.snapshot()) - empty
    print(
        f"\narray of 10^6: submitted in {submit_us:.0f} us; {waiting} bytes while it waits, {running} while 1 024 run,"
    )
    print(f"{ended} when all are done; begun and ended at {ARRAY_TASKS_MAX / took:,.0f} tasks/s")


def offer(number: int) -> Offer:
    node = NodeId(f"node-{number:03}")

    def part(kind: str, amount: int) -> Resource:
        return Resource(
            id=ResourceId(f"{node}/{kind}"), kind=kind, name=kind, node=node, owner=AccountId("me"), place="", uri="",
            unit="", capacity=amount, free=amount,
        )  # fmt: skip

    return Offer(
        node=node, name=node, owner=AccountId("me"), place="", boot=1, number=1,
        resources=(part("CPU", 8000), part("Memory", 32 * 10**9)), facts={"speed_mips": 5000 + number},
    )  # fmt: skip


def plans() -> None:
    """How long one plan takes: many jobs or one array, over nodes of 8 cores, empty and full."""
    offers = {one.node: one for one in map(offer, range(NODES))}
    scene = Scene(
        offers=offers, view=View(home=NodeId("node-000"), account=AccountId("me"), nonce=b"n"), wall_ms=1,
        runners=frozenset(offers),
    )  # fmt: skip
    for label, said in (
        ("one array of 10^6", commands(ARRAY_TASKS_MAX // 1000)["array"]),
        ("50 000 jobs", commands(50_000)["submit"]),
    ):
        work = Work()
        apply_all(work, said)
        begun = time.process_time()
        steps = plan(work.line, scene)
        first_ms = (time.process_time() - begun) * 1e3
        apply_all(work, list(steps))
        begun = time.process_time()
        again = plan(work.line, scene)
        full_ms = (time.process_time() - begun) * 1e3
        tasks = sum(len(step.indices) for step in steps if isinstance(step, Assign))
        print(f"plan over {NODES} nodes, {label}: {tasks} tasks placed in {first_ms:.1f} ms; "
              f"all full: {full_ms:.1f} ms, {len(again)} steps")  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    words = parser.parse_args()
    rounds = [(ours(words.commands), sqlite(words.commands), floor(words.commands)) for _ in range(words.rounds)]
    bare = statistics.median(each[2] for each in rounds)
    print(
        f"floor (stored in a dict): {1 / bare:,.0f}/s; medians of {words.rounds} rounds of {words.commands}; per unit"
    )
    print(f"{'':10} {'ours/s':>10} {'SQLite/s':>10} {'ratio':>6} {'of floor':>9}")
    middle: Callable[[int, str], float] = lambda which, name: statistics.median(each[which][name] for each in rounds)  # noqa: E731
    for name in SQL:
        us, peer = middle(0, name), middle(1, name)
        print(f"{name:10} {1 / us:>10,.0f} {1 / peer:>10,.0f} {peer / us:>6.2f} {bare / us:>9.2f}")
    slowest = max(middle(0, name) for name in SQL)
    print(f"slowest: {1 / slowest:,.0f}/s (wished for: {RATE_TARGET:,})")
    array_of_a_million()
    plans()


if __name__ == "__main__":
    main()
