"""A user's program: calls on leased cores. Each call writes down, at the worker, when and where it began and ended.

    python programs.py '{"log": FILE, "amount": 6, "calls": 60, "seconds": 0.1, "retries": 3}'

Says ``granted NODES``, ``result INDEX VALUE MOMENT`` for each result in the order in which it comes, and ``done STATISTICS``
or ``failed ERROR SENTENCE``. Moments are those of the steady clock, in ns: it is one clock for the whole lab.
"""

from __future__ import annotations

import json
import os
import sys
import time

from worldos import need, use
from worldos.errors import WorldError

DEFAULTS = {"amount": 6.0, "calls": 60, "seconds": 0.1, "retries": 3, "gang": 0, "hold": 0.0, "marker": "", "on": ""}


def work(index: int, log: str, seconds: float, marker: str) -> int:
    """Take a while, and leave word."""

    def note(what: str) -> None:
        line = f"{what} {index} {os.environ['WORLDOS_NODE']} {os.getpid()} {time.monotonic_ns()}\n"
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
        os.write(descriptor, line.encode())
        os.close(descriptor)

    note("began")
    time.sleep(seconds)
    note("ended")
    return index * index + len(marker) - len(marker)


def say(*words: object) -> None:
    print(*words, flush=True)


def main() -> int:
    options = {**DEFAULTS, **json.loads(sys.argv[1])}
    where = f"node == '{options['on']}'" if options["on"] else None
    try:
        if options["gang"]:
            with use(*(need("CPU", options["amount"], where=where) for _ in range(options["gang"]))) as handles:
                say("granted", *sorted({node for handle in handles for node in handle.nodes}))
                time.sleep(options["hold"])
                say("done", json.dumps({"parts": len(handles)}))
                return 0
        with use("CPU", options["amount"], retries=options["retries"], where=where) as cpu:
            cpu.activate()
            say("granted", *cpu.nodes)
            if options["hold"]:
                time.sleep(options["hold"])
            count = int(options["calls"])
            log, seconds, marker = options["log"], options["seconds"], options["marker"]
            results = cpu.map(work, range(count), [log] * count, [seconds] * count, [marker] * count)
            for index, value in enumerate(results):
                say("result", index, value, time.monotonic_ns())
            used = cpu.statistics()
            say("done", json.dumps({"reruns": used.reruns, "losses": used.losses, "delivered": used.delivered}))
    except WorldError as error:
        say("failed", type(error).__name__, error)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
