"""Displays: the connectors of the graphics cards on which something is plugged in. Shown, not leasable in this version.

The fact ``session`` says who draws on it (``wayland``, ``x11`` or ``none``), as far as sockets tell.
Source: Linux Documentation/gpu/drm-kms.rst; sysfs names are ``card0-HDMI-A-1``.
"""

from __future__ import annotations

import re

from worldos.drivers.driver import LaneNeeds, Leased, Sample
from worldos.drivers.machine import Machine, local_name
from worldos.errors import BadRequest
from worldos.model.resource import Fact, Kind, Scanned

DRM = "/sys/class/drm"
CONNECTOR = re.compile(r"^card\d+-(.+)$")
MODE = re.compile(r"^(\d+)x(\d+)")


class DisplayDriver:
    """Every connected screen of a machine as a resource that can only be looked at."""

    kind: str = Kind.DISPLAY

    def scan(self, machine: Machine) -> list[Scanned]:
        """Describe the screens."""
        session = _session(machine)
        screens = []
        for connector in machine.names(DRM):
            match = CONNECTOR.match(connector)
            if match and machine.line(f"{DRM}/{connector}/status") == "connected":
                screens.append(
                    Scanned(
                        kind=self.kind,
                        local=local_name(connector),
                        name=match[1],
                        unit="piece",
                        capacity=1,
                        free=1,
                        leasable=False,
                        tags=("built-in",) if match[1].startswith(("eDP", "LVDS", "DSI")) else (),
                        facts={"session": session, **_size(machine.text(f"{DRM}/{connector}/modes", 4096))},
                    )
                )
        return screens

    def sample(self, machine: Machine) -> Sample:
        """Say nothing: screens come and go only by a scan."""
        return Sample()

    def lane(self, machine: Machine, leased: Leased) -> LaneNeeds:
        """Refuse: displays cannot be leased."""
        raise BadRequest("a Display can be looked at, not leased, in this version")


def _size(modes: str) -> dict[str, Fact]:
    """Return the preferred size in pixels: the kernel lists it first."""
    match = MODE.match(modes)
    return {"width": int(match[1]), "height": int(match[2])} if match else {}


def _session(machine: Machine) -> str:
    for user in machine.names("/run/user"):
        if any(name.startswith("wayland-") for name in machine.names(f"/run/user/{user}")):
            return "wayland"
    return "x11" if machine.names("/tmp/.X11-unix") else "none"  # noqa: S108 - where X keeps its sockets


driver = DisplayDriver()
