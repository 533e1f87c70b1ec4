"""``python -m worldos.sim``: run many seeds, on several processors, and say how to replay each that fails."""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import sys
import time

from worldos.sim.planet_run import Planet, PlanetSettings
from worldos.sim.realm_run import RealmOutcome, RealmSettings, run_realm_seed
from worldos.sim.run import Outcome, Settings, run_seed
from worldos.sim.storage_year import YearSettings, run_year
from worldos.sim.work_run import WorkOutcome, WorkSettings, run_work_seed
from worldos.store.erasure import Code
from worldos.store.limits import HOUR_NS

FAILURES_SHOWN = 5


def main(words: list[str] | None = None) -> int:
    """Run the seeds; return 1 if any failed."""
    options = _parser().parse_args(words)
    options.seconds = options.seconds or (WorkSettings().seconds if options.work else Settings().seconds)
    if options.planet:
        return _run_planet(options)
    if options.storage_year:
        return _run_storage_year(options)
    if options.realms:
        return _run_realms(options)
    if options.work:
        return _run_work(options)
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
                again = f"--nodes {settings.nodes} --seconds {settings.seconds}{' --harsh' if settings.harsh else ''}"
                _tell_failure(outcome, again, full=len(failed) <= FAILURES_SHOWN)
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{done} of {len(seeds)} seeds, {len(failed)} failed ")
    wall_s = time.perf_counter() - began_s
    _say(
        f"{len(seeds)} seeds from {options.start}: {len(failed)} failed; {steps} events, {programs} programs, "
        f"{granted} granted; {wall_s:.1f} s, {steps / wall_s:.0f} events/s on {jobs} processors"
    )
    return 1 if failed else 0


def _run_realms(options: argparse.Namespace) -> int:
    settings = RealmSettings(nodes=options.nodes or 50, levels=options.levels or 3, seconds=options.seconds)
    seeds = range(options.start, options.start + options.seeds)
    began_s = time.perf_counter()
    done: list[RealmOutcome] = []
    jobs = min(options.jobs, len(seeds)) or 1
    with multiprocessing.Pool(jobs) as pool:
        for outcome in pool.imap_unordered(functools.partial(run_realm_seed, settings=settings), seeds):
            done.append(outcome)
            if outcome.failure:
                again = f"--realms --nodes {settings.nodes} --levels {settings.levels} --seconds {settings.seconds}"
                full = sum(bool(each.failure) for each in done) <= FAILURES_SHOWN
                _tell_failure(outcome, again, full=full)
            if sys.stderr.isatty():
                failed = sum(bool(each.failure) for each in done)
                sys.stderr.write(f"\r{len(done)} of {len(seeds)} seeds, {failed} failed ")
    wall_s = time.perf_counter() - began_s
    steps = sum(each.steps for each in done)
    failed = sum(bool(each.failure) for each in done)
    _say(
        f"{len(seeds)} seeds from {options.start}, {settings.nodes} nodes, {settings.levels} levels, {settings.seconds} s of "
        f"faults: {failed} failed; {steps} events, {sum(each.programs for each in done)} programs, "
        f"{sum(each.granted for each in done)} granted; {wall_s:.1f} s, {steps / wall_s:.0f} events/s on {jobs} processors"
    )
    for name, times_ms in (
        ("founded", [each.founded_ms for each in done]),
        ("one tree after all faults", [each.healed_ms for each in done]),
        ("one tree after an island", [each.merged_ms for each in done]),
        ("a need filled", [time_ms for each in done for time_ms in each.filled_ms]),
    ):
        known = sorted(time_ms for time_ms in times_ms if time_ms >= 0)
        if known:
            _say(
                f"  {name}: median {known[len(known) // 2]} ms, 99 of 100 {known[len(known) * 99 // 100]} ms, most {known[-1]} ms"
            )
    return 1 if failed else 0


def _run_work(options: argparse.Namespace) -> int:
    settings = WorkSettings(nodes=options.nodes, seconds=options.seconds)
    seeds = range(options.start, options.start + options.seeds)
    began_s = time.perf_counter()
    done: list[WorkOutcome] = []
    failed = 0
    jobs = min(options.jobs, len(seeds)) or 1
    with multiprocessing.Pool(jobs) as pool:
        for outcome in pool.imap_unordered(functools.partial(run_work_seed, settings=settings), seeds):
            done.append(outcome)
            if outcome.failure:
                failed += 1
                again = f"--work --nodes {settings.nodes} --seconds {settings.seconds}"
                _tell_failure(outcome, again, full=failed <= FAILURES_SHOWN)
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{len(done)} of {len(seeds)} seeds, {failed} failed ")
    wall_s = time.perf_counter() - began_s
    steps = sum(each.steps for each in done)
    _say(
        f"{len(seeds)} seeds from {options.start}, {settings.seconds} s of faults: {failed} failed; {steps} events, "
        f"{sum(each.jobs for each in done)} jobs, {sum(each.attempts for each in done)} attempts, "
        f"{sum(each.messages for each in done)} messages; {wall_s:.1f} s, {steps / wall_s:.0f} events/s on {jobs} processors"
    )
    known = sorted(each.ended_ms for each in done if each.ended_ms >= 0)
    if known:
        _say(f"  all ended after all faults: median {known[len(known) // 2]} ms, most {known[-1]} ms")
    return 1 if failed else 0


def _run_planet(options: argparse.Namespace) -> int:
    parts = {"third": 3, "half": 2, "tenth": 10}[options.cut]
    settings = PlanetSettings(
        nodes=options.nodes or 10_000,
        levels=options.levels or 5,
        cut_parts=parts,
        cut_seconds=options.cut_seconds,
        slower=options.slower,
    )
    _say(
        f"a planet of {settings.nodes} nodes, {settings.levels} levels; one part of {parts} is cut off for "
        f"{settings.cut_seconds} s; in the middle of that, rounds of which nothing comes (probes, offers, key logs, "
        f"heartbeats) are {settings.slower} times less often than on machines"
    )
    figures = Planet(options.start, settings).run()
    for name in figures.__struct_fields__:
        value = getattr(figures, name)
        if isinstance(value, list):
            value = f"median {sorted(value)[len(value) // 2]}" if value else "none"
        _say(f"  {name}: {value}")
    _say(f"  events/s: {figures.steps / figures.wall_s:.0f}")
    return 1 if figures.failure else 0


def _run_storage_year(options: argparse.Namespace) -> int:
    failed = 0
    for code, devices in ((Code(3, 6), 9), (Code(4, 12), 16)):
        settings = YearSettings(code=code, devices=options.nodes or devices)
        for seed in range(options.start, options.start + options.seeds):
            year = run_year(seed, settings)
            waits_ns = sorted(year.waits_ns)
            middle_h, worst_h = (waits_ns[len(waits_ns) // 2] / HOUR_NS, waits_ns[-1] / HOUR_NS) if waits_ns else (0, 0)
            _say(
                f"{code} on {settings.devices} laptops, {settings.objects} objects, {settings.days} days, seed {seed}: "
                f"{year.deaths} died with {year.shares_lost} shares, {year.repaired} made again, "
                f"{year.false_per_object_year:.3f} false repairs for each object and year, {year.objects_lost} lost; "
                f"repaired {middle_h:.1f} h after they could be (median; worst {worst_h:.1f} h)"
            )
            for complaint in year.complaints():
                failed += 1
                _say(f"  FAILED: {complaint}")
    return 1 if failed else 0


def _tell_failure(outcome: Outcome, again: str, *, full: bool) -> None:
    _say(f"\nseed {outcome.seed} FAILED: {outcome.failure}")
    _say(f"  replay: python -m worldos.sim --seeds 1 --start {outcome.seed} {again}")
    for line in outcome.trace if full else ():
        _say(f"  {line}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m worldos.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds (default 100)")
    parser.add_argument("--start", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--nodes", type=int, default=0, help="machines in each world (default: three to six, by seed)")
    parser.add_argument(
        "--seconds", type=int, default=0, help="how long things break, in simulated seconds (default 20; work 25)"
    )
    parser.add_argument("--realms", action="store_true", help="worlds of several sites under a tree of realms")
    parser.add_argument("--work", action="store_true", help="sites that keep a line of jobs and queues")
    parser.add_argument(
        "--levels", type=int, default=0, help="of the tree, sites and top among them (default 3; planet 5)"
    )
    parser.add_argument(
        "--planet", action="store_true", help="one large world, a part of it cut off for long, and healed"
    )
    parser.add_argument(
        "--storage-year", action="store_true", help="a year of laptops that come, go and die, and what is kept on them"
    )
    parser.add_argument("--cut", choices=["third", "half", "tenth"], default="third", help="which part of the planet")
    parser.add_argument("--cut-seconds", type=int, default=3600, help="for how long, in simulated seconds")
    parser.add_argument(
        "--slower", type=int, default=60, help="how much less often quiet rounds are in the cut's middle"
    )
    parser.add_argument("--harsh", action="store_true", help="lose, double and reorder the messages themselves")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes (default 2)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
