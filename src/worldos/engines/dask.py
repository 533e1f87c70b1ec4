"""Dask: a scheduler on the first seat, workers on all; the client is ``dask.distributed.Client``, the real one.

Both ends have the version that this program has, and TLS with a certificate made for this use. The usual packages of data
work that the program has go along in the same versions, so that what is pickled here is read there.
Source: distributed.dask.org, "TLS/SSL" and "Command line".
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worldos.engines import credentials
from worldos.engines.engine import Engaged, Engine, Words
from worldos.engines.keeping import Load
from worldos.engines.plan import Process, Seat
from worldos.engines.software import PythonSoftware
from worldos.errors import BadRequest

ALONG = (
    "numpy",
    "pandas",
    "pyarrow",
    "cloudpickle",
    "msgpack",
    "lz4",
)  # what the program has of these, the workers have
DASHBOARD = ("bokeh>=3.1",)
SCHEDULER, WEB = 0, 1
TLS = ("--tls-ca-file", "{work}/dask-ca.pem", "--tls-cert", "{work}/dask.pem", "--tls-key", "{work}/dask.pem")


class Dask(Engine):
    """dask.distributed."""

    name = "Dask"
    summary = "dask.distributed: arrays, dataframes and tasks; the client is distributed.Client"
    words = frozenset({"processes", "packages", "dashboard"})
    ports = 2
    head_first = False  # workers go on trying to reach the scheduler
    grows = True
    client_module = "distributed"

    def software(self, words: Words) -> PythonSoftware:
        """Return the versions that this program has."""
        along = [f"{name}=={version}" for name in ALONG if (version := installed(name))]
        dashboard = DASHBOARD if words.get("dashboard") else ()
        return PythonSoftware(
            name="dask",
            version=_version(),
            python=f"{sys.version_info.major}.{sys.version_info.minor}",
            requirements=(f"distributed=={_version()}", *along, *dashboard, *packages(words)),
            extras=() if dashboard else DASHBOARD,
        )

    def plan(self, seats: Sequence[Seat], words: Words) -> Mapping[int, Sequence[Process]]:
        """Return a scheduler beside the first worker, and a worker a seat."""
        pair = credentials.certificate("dask of a lease")
        self_signed = {"dask-ca.pem": pair.certificate.encode(), "dask.pem": (pair.key + pair.certificate).encode()}
        head = seats[0]
        at = _at(head)
        scheduler = Process(
            name="scheduler",
            argv=(
                *("{python}", "-m", "distributed.cli.dask_scheduler", "--host", at, "--no-jupyter", *TLS),
                *("--dashboard-address", f"{head.address}:{head.ports[WEB]}"),
            ),
            files=self_signed,
            env=_ENV,
            end_signal=9,  # it keeps nothing that must be saved
            ready="Scheduler at:",
            listens=(head.ports[SCHEDULER],),
        )
        return {
            seat.index: [*([scheduler] if seat is head else []), *_workers(seat, at, self_signed, words)]
            for seat in seats
        }

    def client(self, engaged: Engaged) -> Any:
        """Return a ``distributed.Client`` of the scheduler."""
        import dask  # noqa: PLC0415
        import distributed  # noqa: PLC0415 - only who uses Dask loads it
        from distributed.security import Security  # noqa: PLC0415

        files = engaged.plan[0][0].files
        ca, pair = files["dask-ca.pem"].decode(), files["dask.pem"].decode()
        security = Security(  # type: ignore[no-untyped-call]
            tls_ca_file=ca, tls_client_cert=pair, tls_client_key=pair, require_encryption=True
        )
        engaged.dashboard = f"http://{engaged.address(0, WEB)}/status"
        dask.config.set({"distributed.dashboard.link": engaged.dashboard})  # what client.dashboard_link says
        client = distributed.Client(  # type: ignore[no-untyped-call]
            f"tls://{engaged.address(0, SCHEDULER)}", security=security, direct_to_workers=False, set_as_default=True
        )
        client.wait_for_workers(sum(_shape(seat, engaged.words)[0] for seat in engaged.seats), timeout=60)
        return client

    def another(self, engaged: Engaged, seat: Seat) -> Sequence[Process]:
        """Return the workers of a seat more."""
        return _workers(seat, _at(engaged.seats[0]), engaged.plan[0][0].files, engaged.words)

    def load(self, engaged: Engaged) -> Load | None:
        """Ask the scheduler what waits, and who has nothing to do."""

        def load_of(dask_scheduler: Any) -> tuple[int, list[str]]:  # sent as it is, so it knows nothing of this module
            workers = dask_scheduler.workers.values()
            tasks = sum(len(worker.processing) for worker in workers)
            tasks += len(getattr(dask_scheduler, "queued", ())) + len(dask_scheduler.unrunnable)
            return tasks, [str(worker.name) for worker in workers if worker.processing]

        try:
            tasks, busy = engaged.client.run_on_scheduler(load_of)
        except (OSError, RuntimeError, TimeoutError):  # it is closed, or its scheduler has no time now
            return None
        at_work = {int(name.split("-")[1]) for name in busy}
        return Load(cores=tasks, idle=frozenset(seat.index for seat in engaged.seats) - at_work)

    def let_go(self, engaged: Engaged, seat: Seat) -> None:
        """Move what the workers of a seat have to others."""
        names = [f"seat-{seat.index}-{number}" for number in range(_shape(seat, engaged.words)[0])]
        with contextlib.suppress(OSError, RuntimeError, TimeoutError):  # its node was faster
            engaged.client.retire_workers(names=names, close_workers=True)

    def leave(self, engaged: Engaged) -> None:
        """Close the client; its scheduler ends with the lease."""
        engaged.client.close()
        if engaged.state is not None:
            engaged.state.cleanup()

    def told(self, engaged: Engaged) -> dict[str, str]:
        """Return its address, and what another program says to be let in; the certificate lies in a folder meanwhile."""
        engaged.state = folder = tempfile.TemporaryDirectory(prefix="wos-dask-")
        files = engaged.plan[0][0].files
        for name in sorted(files):
            (Path(folder.name) / name).write_bytes(files[name])
        ca, pair = (f"{folder.name}/{name}" for name in sorted(files))
        address = f"tls://{engaged.address(0, SCHEDULER)}"
        security = f"Security(tls_ca_file={ca!r}, tls_client_cert={pair!r}, tls_client_key={pair!r})"
        return {
            "address": address,
            "dashboard": engaged.dashboard,
            "client": f"Client({address!r}, security={security})",
        }


_ENV = {"DASK_DISTRIBUTED__COMM__TLS__MIN_VERSION": "1.2", "PYTHONUNBUFFERED": "1"}


def _at(head: Seat) -> str:
    return f"tls://{head.address}:{head.ports[SCHEDULER]}"


def _workers(seat: Seat, at: str, files: dict[str, bytes], words: Words) -> list[Process]:
    """Return the workers of a seat. The tender is their nanny: Dask's own would be as many interpreters more."""
    processes, threads = _shape(seat, words)
    memory = ("--memory-limit", str(seat.memory_bytes // processes)) if seat.memory_bytes else ()
    return [
        Process(
            name=f"worker-{number}" if processes > 1 else "worker",
            argv=(
                *("{python}", "-m", "distributed.cli.dask_worker", at, *TLS, *memory, "--no-nanny"),
                *("--nthreads", str(threads), "--host", seat.address, "--name", f"seat-{seat.index}-{number}"),
                *("--local-directory", "{work}", "--no-dashboard", "--death-timeout", "60"),
            ),
            files=files,
            env=_ENV,
            end_signal=9,
            ready="Registered to:",
            again=True,
        )
        for number in range(processes)
    ]


def _shape(seat: Seat, words: Words) -> tuple[int, int]:
    """Return how many worker processes a seat has, and the threads of each."""
    processes = words.get("processes")
    if processes is None:
        return 1, seat.cores
    if isinstance(processes, bool) or not isinstance(processes, int) or not 1 <= processes <= seat.cores:
        raise BadRequest(f"processes={processes!r}: 1 to {seat.cores} on each node, as many as it has cores")
    return processes, max(1, seat.cores // processes)


def packages(words: Words) -> tuple[str, ...]:
    """Return what else the program wants to have there."""
    said = words.get("packages") or ()
    if isinstance(said, str) or not all(isinstance(each, str) for each in said):
        raise BadRequest(f"packages={said!r}: a list of names as pip knows them", hint='packages=["scikit-learn==1.7"]')
    return tuple(said)


def installed(name: str) -> str:
    """Return the version of a package that this program has, or nothing."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _version() -> str:
    version = installed("distributed")
    if not version:
        raise BadRequest("this program has no client of Dask", hint='install it: pip install "worldos[dask]"')
    return version


engine = Dask()
