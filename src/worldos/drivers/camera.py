"""Cameras: /dev/video* by their names in sysfs. Shown, not leasable in this version.

A camera often has two nodes, pictures and metadata: only the first (index 0) counts. Video codecs and image
processors of boards are nodes of the same class and are left out by name, for asking a camera itself would wake it
up. Source: Linux Documentation/ABI/stable/sysfs-class-video4linux (name, index).
"""

from __future__ import annotations

import re

from worldos.drivers.driver import LaneNeeds, Leased, Sample
from worldos.drivers.machine import Machine, local_name
from worldos.errors import BadRequest
from worldos.model.resource import Kind, Scanned

VIDEO = "/sys/class/video4linux"
PROCESSORS = re.compile(
    r"codec|\bisp\b|-isp|decod|encod|rkvdec|hantro|rockchip-rga|rpivid|rpi-hevc|\bvpu\b|m2m|jpeg|scaler", re.IGNORECASE
)


class CameraDriver:
    """Every camera of a machine as a resource that can only be looked at."""

    kind: str = Kind.CAMERA

    def scan(self, machine: Machine) -> list[Scanned]:
        """Describe the cameras."""
        found = {}
        for node in machine.names(VIDEO):
            name = machine.line(f"{VIDEO}/{node}/name")
            is_camera = node.startswith("video") and not PROCESSORS.search(name)
            if is_camera and machine.number(f"{VIDEO}/{node}/index") in {0, None}:
                local = _port(machine, node)
                found[local] = Scanned(
                    kind=self.kind,
                    local=local,
                    name=name or node,
                    unit="piece",
                    capacity=1,
                    free=1,
                    leasable=False,
                    facts={"device": f"/dev/{node}"},
                )
        return [found[local] for local in sorted(found)]

    def sample(self, machine: Machine) -> Sample:
        """Say nothing: cameras come and go only by a scan."""
        return Sample()

    def lane(self, machine: Machine, leased: Leased) -> LaneNeeds:
        """Refuse: cameras cannot be leased."""
        raise BadRequest("a Camera can be looked at, not leased, in this version")


def _port(machine: Machine, node: str) -> str:
    """Return where the camera is plugged in (``1-5:1.0``), which stays the same over restarts; else the node's name."""
    parts = machine.target(f"{VIDEO}/{node}").split("/")
    if len(parts) >= 3 and parts[-2] == "video4linux":
        return local_name(parts[-3])
    return node


driver = CameraDriver()
