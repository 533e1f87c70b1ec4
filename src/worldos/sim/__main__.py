"""``python -m worldos.sim``: run many seeds, on several processors, and say how to replay each that fails."""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import sys
import time

from worldos.sim.run import Outcome, Settings, run_seed

FAILURES_SHOWN = 5


def main(words: list[str] | None = None) -> int:
    """Run the seeds; return 1 if any failed."""
    options = _parser().parse_args(words)
    settings = Settings(nodes=options.nodes, seconds=options.seconds, harsh=options.harsh)
    seeds = range(options.start, options.start + options.seeds)
    began_s = time.perf_counter()
    steps, programs, granted = 0, 0, 0
    failed: list[Outcome] = []
    jobs = min(options.jobs, len(seeds)) or 1
    with multiprocessing.Pool(jobs) as pool:
        work = functools.partial(run_seed, settings=settings)
        for done, outcome in enumerate(pool.imap(work, seeds, chunksize=max(1, min(8, len(seeds) // jobs))), 1):
            steps, programs, granted = steps + outcome.steps, programs + outcome.programs, granted + outcome.granted
            if outcome.failure:
                failed.append(outcome)
                _show(outcome, settings, full=len(failed) <= FAILURES_SHOWN)
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{done} of {len(seeds)} seeds, {len(failed)} failed ")
    wall_s = time.perf_counter() - began_s
    _say(
        f"{len(seeds)} seeds from {options.start}: {len(failed)} failed; {steps} events, {programs} programs, "
        f"{granted} granted; {wall_s:.1f} s, {steps / wall_s:.0f} events/s on {jobs} processors"
    )
    return 1 if failed else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _show(outcome: Outcome, settings: Settings, *, full: bool) -> None:
    _say(f"\nseed {outcome.seed} FAILED: {outcome.failure}")
    again = (
        f"python -m worldos.sim --seeds 1 --start {outcome.seed} --nodes {settings.nodes} --seconds {settings.seconds}"
    )
    _say(f"  replay: {again}{' --harsh' if settings.harsh else ''}")
    for line in outcome.trace if full else ():
        _say(f"  {line}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m worldos.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds (default 100)")
    parser.add_argument("--start", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--nodes", type=int, default=0, help="machines in each world (default: three to six, by seed)")
    parser.add_argument("--seconds", type=int, default=20, help="how long things break, in simulated seconds")
    parser.add_argument("--harsh", action="store_true", help="lose, double and reorder the messages themselves")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes (default 2)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
