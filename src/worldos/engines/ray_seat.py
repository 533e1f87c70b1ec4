"""What runs on a seat of Ray: ``python ray_seat.py SETTINGS -- RAY_START...``, by the interpreter that has Ray there.

``ray start`` makes an interpreter each for itself, its log monitor, its API server, its server of clients and that server's
server of one client: on a small machine each costs a second of processor time, one after the other. Here one interpreter is the
first, the second and the last two; the third is left out where nobody asked for the page. The raylet, its agents, the store and
the workers are Ray's own processes. Where this version of Ray has no such parts, ``ray start`` is run as its manual says.

It is sent to the seat as text, and has to do with what is there: the standard library and Ray. It ends when one of the
processes does. Source: ray/scripts/scripts.py, ``start``; ray/util/client/server/server.py, ``serve``.
"""

# ruff: noqa: T201, PLC0415 - it tells by its output how far it is, and Ray may lack what is looked for here

from __future__ import annotations

import json
import math
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

READY = "Ray runtime started"  # as ``ray start`` says it
HEAD_SECONDS = 100.0  # within which the head of the cluster listens, and a raylet is known
LOOK_SECONDS = 1.0
LOAD = re.compile(r"^load (\d+) idle ([0-9.,]*)$", re.MULTILINE)


def main(settings: dict[str, Any], otherwise: list[str]) -> None:
    """Start the processes of this seat, and see that they live."""
    try:
        node, logs = begun(settings)
    except (ImportError, AttributeError, TypeError) as error:
        print(f"this Ray is started by its command: {error!r}", flush=True)
        os.execv(sys.executable, [sys.executable, "-m", "ray.scripts.scripts", *otherwise])  # noqa: S606 - our interpreter
    threading.Thread(target=logs.run, name="log-monitor", daemon=True).start()
    _door = serve(settings) if settings["client_port"] else None  # it is closed when nobody has it any more
    print(READY, flush=True)
    before = ""
    while not (ended := node.dead_processes()):
        time.sleep(LOOK_SECONDS)
        if settings["head"] and (load := load_of(node.get_gcs_client())) != before:
            print(load, flush=True)
            before = load
    kind, process = ended[0]
    print(f"{kind} ended with {process.returncode}", flush=True)
    node.kill_all_processes(check_alive=False, allow_graceful=False)
    os._exit(1)


def begun(settings: dict[str, Any]) -> tuple[Any, Any]:
    """Begin Ray's own processes; return the node, and what brings the output of its workers to the program."""
    from ray._private import log_monitor, services
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    head = settings["head"]
    if head and not settings["page"]:
        services.start_api_server = lambda *_, **__: ("", None)  # nobody would look at it
    raylets: list[Any] = []
    services.start_raylet = noted(services.start_raylet, raylets)
    services.get_node = patient(services.get_node, raylets)
    parameters = RayParams(**settings["parameters"])
    if not head:
        until_listens(settings["parameters"]["gcs_address"])
    node: Any = Node(parameters, head=head, shutdown_at_exit=True, spawn_reaper=True)
    told = node.get_gcs_client()
    logs = log_monitor.LogMonitor(node.node_ip_address, node.get_logs_dir_path(), told, log_monitor.is_proc_alive)
    return node, logs


def noted(start: Callable[..., Any], started: list[Any]) -> Callable[..., Any]:
    """Return what starts a process, and notes it."""

    def starting(*words: Any, **more: Any) -> Any:
        started.append(start(*words, **more))
        return started[-1]

    return starting


def patient(ask: Callable[..., Any], raylets: list[Any]) -> Callable[..., Any]:
    """Return what asks until the raylet is known: Ray gives it half a minute, and a busy machine needs more."""

    def asked(*words: Any) -> Any:
        until_s = time.monotonic() + HEAD_SECONDS
        while True:
            try:
                return ask(*words)
            except RuntimeError:
                if time.monotonic() > until_s:
                    raise
            for raylet in raylets:
                if raylet.process.poll() is not None:  # its agents were too slow for it: this seat is begun again
                    raise SystemExit(f"the raylet ended with {raylet.process.returncode}")

    return asked


def load_of(told: Any) -> str:
    """Say how many cores would be busy if there were enough, and which nodes have nothing to do; nothing if Ray cannot say."""
    try:
        from ray.autoscaler.v2.sdk import get_cluster_resource_state
        from ray.core.generated.autoscaler_pb2 import NodeStatus  # type: ignore[attr-defined] # made by protoc

        state = get_cluster_resource_state(told)
        busy = sum(node.total_resources["CPU"] - node.available_resources["CPU"] for node in state.node_states)
        waiting = sum(
            each.count * each.request.resources_bundle["CPU"]
            for each in state.pending_resource_requests
            if "CPU" in each.request.resources_bundle
        )
        idle = [node.node_ip_address for node in state.node_states if node.status == NodeStatus.Value("IDLE")]
    except (ImportError, AttributeError, TypeError, ValueError, RuntimeError):
        return ""
    return f"load {math.ceil(busy + waiting)} idle {','.join(sorted(idle))}"


def serve(settings: dict[str, Any]) -> Any:
    """Connect to the cluster for the program that holds it, and let it in."""
    import ray
    from ray.util.client.server import server

    address = f"{settings['parameters']['node_ip_address']}:{settings['parameters']['gcs_server_port']}"
    words: dict[str, Any] = {"address": address, "log_to_driver": True, "logging_level": "warning"}

    def connect(job_config: Any = None, **_: Any) -> Any:
        return ray.init(**words, job_config=job_config)  # again, for who comes when all others have gone

    ray.init(**words)
    return server.serve(settings["parameters"]["node_ip_address"], settings["client_port"], connect)


def until_listens(address: str) -> None:
    """Wait for the head: all seats begin at once, and this one has loaded Ray meanwhile."""
    host, _, port = address.rpartition(":")
    until_s = time.monotonic() + HEAD_SECONDS
    while True:
        try:
            socket.create_connection((host, int(port)), 5).close()
        except OSError:
            if time.monotonic() > until_s:
                raise SystemExit(f"the head of the cluster, {address}, does not answer") from None
            time.sleep(0.1)
        else:
            return


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[3:])
