"""Ray: a head on the first seat, a node on each other; ``ray.init`` is done, the real one, by Ray's own client protocol.

Both ends have the version and the Python that this program has, as Ray demands. It listens at all addresses and asks nobody who
they are, so it runs in a private network only. Nothing of the program's machine is in the cluster: ``ray.init`` goes to the
head's client server. Source: docs.ray.io, "Ray Client" and "Configuring Ray".
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from worldos.engines import tender
from worldos.engines.dask import installed, packages
from worldos.engines.engine import Engaged, Engine, Words
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
    "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "100",
    "PYTHONUNBUFFERED": "1",
}


class Ray(Engine):
    """Ray."""

    name = "Ray"
    summary = "Ray: tasks, actors and what stands on them; ray.init is done for you"
    words = frozenset({"packages", "dashboard"})
    ports = 3
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
        head = seats[0]
        heads = (
            *("--head", "--port", str(head.ports[GCS]), "--ray-client-server-port", str(head.ports[CLIENT])),
            *(f"--include-dashboard={bool(words.get('dashboard'))}", "--dashboard-host", head.address),
            *("--dashboard-port", str(head.ports[WEB])),
        )
        joins = ("--address", f"{head.address}:{head.ports[GCS]}")
        return {seat.index: [_node(seat, heads if seat is head else joins)] for seat in seats}

    def client(self, engaged: Engaged) -> Any:
        """Initialise ``ray`` for this program, and return the module."""
        import ray  # noqa: PLC0415 - only who uses Ray loads it

        if engaged.words.get("dashboard"):
            engaged.dashboard = f"http://{engaged.address(0, WEB)}"
        address = f"ray://{engaged.address(0, CLIENT)}"
        for left in reversed(range(CONNECTS_MAX)):
            try:
                ray.init(address, log_to_driver=True)
            except (ConnectionError, RuntimeError, TimeoutError) as error:  # its server for us was too slow to start
                ray.shutdown()
                if left == 0:
                    last = tender.last_words(str(error))
                    raise Unreachable(f"Ray runs, and does not let its client in: {last}", hint=BUSY) from None
            else:
                break
        return ray

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


def _node(seat: Seat, where: tuple[str, ...]) -> Process:
    store = max(STORE_BYTES_MIN, seat.memory_bytes * 3 // 10) if seat.memory_bytes else STORE_BYTES
    memory = ("--memory", str(max(STORE_BYTES_MIN, seat.memory_bytes - store))) if seat.memory_bytes else ()
    return Process(
        name="head" if seat.index == 0 else "node",
        argv=(
            *("{python}", "-m", "ray.scripts.scripts", "start", "--block", *where, "--node-ip-address", seat.address),
            *(
                "--num-cpus",
                str(seat.cores),
                "--num-gpus",
                str(seat.gpus),
                *memory,
                "--object-store-memory",
                str(store),
            ),
            *("--temp-dir", "{short}/r", "--disable-usage-stats", "--no-monitor"),
        ),
        env=ENV,
        listens=(seat.ports[CLIENT],) if seat.index == 0 else (),
        short=True,
        end_signal=9,  # it keeps nothing that must be saved
        ready="Ray runtime started",
    )


engine = Ray()
