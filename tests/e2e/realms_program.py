"""A user's program under faults between realms: it asks again and again, or holds one lease and calls without end.

    python realms_program.py '{"mode": "ask", "amount": 1, "realm": "acme/b"}'

``ask``: one ``use`` after the other, each with one call. ``hold``: one ``use``, and calls under it. Says a line of JSON for each
ask or call, with its moments on the steady clock (ns), and ends in good order with its input.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from typing import Any

from worldos import use
from worldos.errors import NoCapacity, WorldError
from worldos.sdk.compute import Compute

GRANTED_S = 20.0
DEFAULTS = {"mode": "ask", "amount": 1.0, "realm": None, "where": None, "pause": 0.1, "seconds": 0.01, "timeout": 10.0}


def where_it_runs(seconds: float) -> str:
    """Take a while at the worker, and say on which node that was."""
    time.sleep(seconds)
    return os.environ["WORLDOS_NODE"]


def say(**fields: object) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(fields), flush=True)


def goes_on(pause_s: float) -> bool:
    """Wait a little; tell whether the input is still open."""
    return not select.select([sys.stdin], [], [], pause_s)[0]


def ask(options: dict[str, Any]) -> None:
    while goes_on(options["pause"]):
        asked_ns = time.monotonic_ns()
        granted_ns, nodes, error = 0, list[str](), ""
        try:
            with use(
                "CPU",
                options["amount"],
                realm=options["realm"],
                where=options["where"],
                timeout=options["timeout"],
            ) as cpu:
                granted_ns, nodes = time.monotonic_ns(), list(cpu.nodes)
                cpu.submit(where_it_runs, options["seconds"]).result(options["timeout"])
        except (WorldError, TimeoutError) as refused:
            error = f"{type(refused).__name__}: {refused}"
        ended_ns = time.monotonic_ns()
        say(asked_ns=asked_ns, granted_ns=granted_ns, ended_ns=ended_ns, nodes=nodes, error=error)


def granted(options: dict[str, Any]) -> Compute:
    """Return a lease as soon as one can be had: what a realm lends since a moment ago is known elsewhere a little later."""
    end_s = time.monotonic() + GRANTED_S
    while True:
        try:
            return use("CPU", options["amount"], realm=options["realm"], where=options["where"], timeout=30)
        except NoCapacity:
            if time.monotonic() > end_s or not goes_on(options["pause"]):
                raise


def hold(options: dict[str, Any]) -> None:
    with granted(options) as cpu:
        cpu.activate()
        say(granted_ns=time.monotonic_ns(), nodes=list(cpu.nodes), leases=[terms.lease for terms in cpu.leases])
        while goes_on(options["pause"]):
            asked_ns, node, error = time.monotonic_ns(), "", ""
            try:
                node = cpu.submit(where_it_runs, options["seconds"]).result(options["timeout"])
            except (WorldError, TimeoutError) as lost:
                error = f"{type(lost).__name__}: {lost}"
            leases = [terms.lease for terms in cpu.leases]
            say(asked_ns=asked_ns, ended_ns=time.monotonic_ns(), node=node, leases=leases, error=error)


def main() -> int:
    options = {**DEFAULTS, **json.loads(sys.argv[1])}
    try:
        (hold if options["mode"] == "hold" else ask)(options)
    except WorldError as error:
        say(error=f"{type(error).__name__}: {error}")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
