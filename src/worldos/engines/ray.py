"""Ray: a head on the first seat, a node on each other (ray_seat.py); ``ray.init`` is done, by Ray's own client protocol.

Both ends have the version and the Python that this program has, as Ray demands. It listens at all addresses and asks nobody who
they are, so it runs in a private network only. Nothing of the program's machine is in the cluster: ``ray.init`` goes to the
head's client server. Source: docs.ray.io, "Ray Client" and "Configuring Ray".
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from worldos.engines import ray_seat, tender
from worldos.engines.dask import installed, packages
from worldos.engines.engine import Engaged, Engine, Words
from worldos.engines.keeping import Load
from worldos.engines.plan import Process, Seat
from worldos.engines.software import PythonSoftware
from worldos.errors import BadRequest, Unreachable

ALONG: Final = ("numpy", "pandas", "pyarrow", "cloudpickle")
GCS, CLIENT, WEB = 0, 1, 2
CONNECTS_MAX: Final = 3  # each waits for half a minute
BUSY: Final = "its nodes are busy or slow: try again, or with fewer nodes="
STORE_BYTES: Final = 256 << 20  # of shared memory for objects, where the lease says nothing of memory
STORE_BYTES_MIN: Final = 80 << 20
# Its token is for networks that others are in; it would be read from the home of whoever runs the agent.
ENV: Final = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_gcs_server_port_wait_time_s": "100",  # a busy machine needs its time
    "RAY_agent_register_timeout_ms": "100000",
    "RAY_worker_register_timeout_seconds": "100",
    "PYTHONUNBUFFERED": "1",
}


class Ray(Engine):
    """Ray."""

    name = "Ray"
    summary = "Ray: tasks, actors and what stands on them; ray.init is done for you"
    words = frozenset({"packages", "dashboard"})
    ports = 3
    grows = True
    head_first = False  # the others wait for it by themselves
    client_module = "ray.util.client"
    loopback = False  # it listens on all addresses of the host, whatever it is told

    def software(self, words: Words) -> PythonSoftware:
        """Return the versions that this program has."""
        version = installed("ray")
        if not version:
            raise BadRequest("this program has no Ray", hint='install it: pip install "worldos[ray]"')
        along = [f"{name}=={version}" for name in ALONG if (version := installed(name))]
        which = "ray[client,default]" if words.get("dashboard") else "ray[client]"
        return PythonSoftware(
            name="ray",
            version=installed("ray"),
            python=f"{sys.version_info.major}.{sys.version_info.minor}",
            requirements=(f"{which}=={installed('ray')}", *along, *packages(words)),
        )

    def plan(self, seats: Sequence[Seat], words: Words) -> Mapping[int, Sequence[Process]]:
        """Return the head, and a node for each other seat."""
        head, page = seats[0], bool(words.get("dashboard"))
        return {seat.index: [_node(seat, head, page=page)] for seat in seats}

    def client(self, engaged: Engaged) -> Any:
        """Initialise ``ray`` for this program, and return the module."""
        import ray  # noqa: PLC0415 - only who uses Ray loads it

        if engaged.words.get("dashboard"):
            engaged.dashboard = f"http://{engaged.address(0, WEB)}"
        logging.getLogger("ray.client_builder").setLevel(logging.WARNING)  # it tells everybody what it tells its server
        address = f"ray://{engaged.address(0, CLIENT)}"
        for left in reversed(range(CONNECTS_MAX)):
            try:
                ray.init(address)
            except (ConnectionError, RuntimeError, TimeoutError) as error:  # its server for us was too slow to start
                ray.shutdown()
                if left == 0:
                    last = tender.last_words(str(error))
                    raise Unreachable(f"Ray runs, and does not let its client in: {last}", hint=BUSY) from None
            else:
                break
        return ray

    def another(self, engaged: Engaged, seat: Seat) -> Sequence[Process]:
        """Return what runs on a seat more."""
        return [_node(seat, engaged.seats[0], page=False)]

    def load(self, engaged: Engaged) -> Load | None:
        """Return what the head said last: how many cores have something to do, and at which addresses nothing is done."""
        said = ray_seat.LOAD.findall(engaged.cluster.said.get(0, ""))
        if not said:
            return None
        cores, idle = said[-1]
        return Load(
            cores=int(cores), idle=frozenset(seat.index for seat in engaged.seats if seat.address in idle.split(","))
        )

    def leave(self, engaged: Engaged) -> None:
        """Let the client go; the cluster ends with the lease."""
        engaged.client.shutdown()

    def told(self, engaged: Engaged) -> dict[str, str]:
        """Return its address."""
        dashboard = {"dashboard": engaged.dashboard} if engaged.dashboard else {}
        address = f"ray://{engaged.address(0, CLIENT)}"
        return {"address": address, **dashboard, "client": f"ray.init({address!r})"}

    def check(self, words: Words) -> None:
        """Ray has one cluster a program."""
        ray = sys.modules.get("ray")
        if ray is not None and ray.is_initialized():
            raise BadRequest("ray is initialised in this program already", hint="call ray.shutdown() first")


def _node(seat: Seat, head: Seat, *, page: bool) -> Process:
    """Return what runs on a seat: by ray_seat.py, which has both the words of ``ray start`` and what it does with them."""
    store = max(STORE_BYTES_MIN, seat.memory_bytes * 3 // 10) if seat.memory_bytes else STORE_BYTES
    parameters: dict[str, Any] = {
        "node_ip_address": seat.address,
        "node_name": f"n{seat.index}",
        "num_cpus": seat.cores,
        "num_gpus": seat.gpus,
        "object_store_memory": store,
        "temp_dir": "{short}/r",
        "no_monitor": True,
        "include_log_monitor": False,  # ray_seat.py has it
    }
    words = ["--node-ip-address", seat.address, "--num-cpus", str(seat.cores), "--num-gpus", str(seat.gpus)]
    words += ["--object-store-memory", str(store), "--temp-dir", "{short}/r", "--disable-usage-stats", "--no-monitor"]
    if seat.memory_bytes:
        parameters["memory"] = max(STORE_BYTES_MIN, seat.memory_bytes - store)
        words += ["--memory", str(parameters["memory"])]
    if seat is head:
        parameters |= {"gcs_server_port": head.ports[GCS], "include_dashboard": page}
        parameters |= {"dashboard_host": head.address, "dashboard_port": head.ports[WEB]}
        words += ["--head", "--port", str(head.ports[GCS]), "--ray-client-server-port", str(head.ports[CLIENT])]
        words += [f"--include-dashboard={page}", "--dashboard-host", head.address]
        words += ["--dashboard-port", str(head.ports[WEB])]
    else:
        parameters["gcs_address"] = f"{head.address}:{head.ports[GCS]}"
        words += ["--address", f"{head.address}:{head.ports[GCS]}"]
    settings = {
        "head": seat is head,
        "page": page,
        "client_port": head.ports[CLIENT] if seat is head else 0,
        "parameters": parameters,
    }
    return Process(
        name="head" if seat is head else "node",
        argv=("{python}", "-uP", "{work}/ray_seat.py", json.dumps(settings), "--", "start", "--block", *words),
        files={"ray_seat.py": Path(ray_seat.__file__).read_bytes()},
        env=ENV,
        listens=(head.ports[CLIENT],) if seat is head else (),
        short=True,
        end_signal=9,  # it keeps nothing that must be saved
        ready=ray_seat.READY,
        again=seat is not head,
        tries=3,  # a raylet whose agents start too slowly gives up
    )


engine = Ray()
