"""An engine of a few lines for tests: a Python that echoes upper case at a port of each seat."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from worldos.engines.engine import Engaged, Engine, Words
from worldos.engines.plan import Process, Seat
from worldos.engines.software import PythonSoftware

SERVER = """
import socketserver, sys
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(self.request.recv(100).upper())
server = socketserver.TCPServer((sys.argv[1], int(sys.argv[2])), Echo)
print("echoes", flush=True)
server.serve_forever()
"""


class Echo(Engine):
    """Upper case, by TCP."""

    name = "Echo"
    summary = "says it louder"
    words = frozenset({"ends", "left"})

    def software(self, words: Words) -> PythonSoftware:
        return PythonSoftware(
            name="echo",
            version="1",
            python=f"{sys.version_info.major}.{sys.version_info.minor}",
            requirements=("msgspec",),
        )

    def plan(self, seats: Sequence[Seat], words: Words) -> Mapping[int, Sequence[Process]]:
        script = "raise SystemExit('I cannot')" if words.get("ends") else SERVER
        return {
            seat.index: [
                Process(
                    name="echo",
                    argv=("{python}", "-c", script, seat.address, str(seat.ports[0])),
                    ready="echoes",
                    listens=seat.ports,
                )
            ]
            for seat in seats
        }

    def client(self, engaged: Engaged) -> str:
        return engaged.address(0, 0)

    def leave(self, engaged: Engaged) -> None:
        if "left" in engaged.words:
            engaged.words["left"].append(engaged.client)


engine = Echo()
