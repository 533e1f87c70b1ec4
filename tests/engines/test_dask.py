"""Dask: what is installed and started for which words."""

from __future__ import annotations

import importlib.metadata
import sys

import pytest

from worldos.engines import dask
from worldos.engines.plan import Seat
from worldos.errors import BadRequest

SEATS = tuple(
    Seat(index=i, node=f"n{i}", address=f"10.0.0.{i + 1}", milli_cpu=milli, memory_bytes=1 << 30, ports=(7800, 7801))
    for i, milli in enumerate((4000, 2000))
)


def test_both_ends_have_the_version_of_this_program() -> None:
    software = dask.engine.software({"packages": ["scikit-learn==1.7.2"]})
    version = importlib.metadata.version("distributed")
    assert software.version == version
    assert software.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert software.requirements[0] == f"distributed=={version}"
    assert f"cloudpickle=={importlib.metadata.version('cloudpickle')}" in software.requirements
    assert software.requirements[-1] == "scikit-learn==1.7.2"


def test_the_page_is_asked_for_or_comes_with_an_environment() -> None:
    assert dask.engine.software({}).extras == dask.DASHBOARD
    assert dask.DASHBOARD[0] in dask.engine.software({"dashboard": True}).requirements


def test_a_scheduler_runs_on_the_first_seat_and_a_worker_on_each() -> None:
    plan = dask.engine.plan(SEATS, {})
    assert [[process.name for process in plan[index]] for index in sorted(plan)] == [
        ["scheduler", "worker"],
        ["worker"],
    ]
    scheduler, worker = plan[0][0], plan[1][0]
    assert scheduler.listens == (7800,)
    assert "tls://10.0.0.1:7800" in worker.argv
    assert worker.argv[worker.argv.index("--nthreads") + 1] == "2"
    assert worker.argv[worker.argv.index("--memory-limit") + 1] == str(1 << 30)
    assert worker.files == scheduler.files
    assert b"PRIVATE KEY" in worker.files["dask.pem"]


def test_each_use_has_a_certificate_of_its_own() -> None:
    one, other = (dask.engine.plan(SEATS, {})[0][0].files["dask.pem"] for _ in range(2))
    assert one != other


def test_threads_are_shared_out_among_processes() -> None:
    workers = dask.engine.plan(SEATS[:1], {"processes": 4})[0][1:]
    assert [worker.name for worker in workers] == ["worker-0", "worker-1", "worker-2", "worker-3"]
    assert all(worker.argv[worker.argv.index("--nthreads") + 1] == "1" for worker in workers)
    assert all(worker.again for worker in workers)  # the tender is their nanny
    assert "--no-nanny" in workers[0].argv
    with pytest.raises(BadRequest, match="1 to 2 on each node"):
        dask.engine.plan(SEATS, {"processes": 4})


@pytest.mark.parametrize("packages", ["pandas", [1], 7])
def test_packages_are_a_list_of_names(packages: object) -> None:
    with pytest.raises((BadRequest, TypeError)):
        dask.engine.software({"packages": packages})


def test_a_program_without_the_client_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask, "installed", lambda _name: "")
    with pytest.raises(BadRequest, match="no client of Dask") as refused:
        dask.engine.software({})
    assert refused.value.hint == 'install it: pip install "worldos[dask]"'
