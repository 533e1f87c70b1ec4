"""Sound: the cards that ALSA knows, and whether each records and plays. Shown, not leasable in this version.

Source: /proc/asound/cards and /proc/asound/pcm, Linux Documentation/sound/designs/procfile.rst.
"""

from __future__ import annotations

import re

from worldos.drivers.driver import LaneNeeds, Leased, Sample
from worldos.drivers.machine import Machine, local_name, printable
from worldos.errors import BadRequest
from worldos.model.resource import Kind, Scanned

CARD = re.compile(r"^ *(\d+) \[(\S+) *\]: (.*)$")


class SoundDriver:
    """Every sound card of a machine as a resource that can only be looked at."""

    kind: str = Kind.SOUND

    def scan(self, machine: Machine) -> list[Scanned]:
        """Describe the cards."""
        streams = machine.text("/proc/asound/pcm")
        cards = []
        for line in machine.text("/proc/asound/cards").splitlines():
            match = CARD.match(line)
            if match:
                number, local, title = int(match[1]), local_name(match[2]), printable(match[3])
                capture, playback = _directions(streams, number)
                cards.append(_card(local, title.partition(" - ")[2] or title, capture=capture, playback=playback))
        return sorted(cards, key=lambda card: card.local)

    def sample(self, machine: Machine) -> Sample:
        """Say nothing: cards come and go only by a scan."""
        return Sample()

    def lane(self, machine: Machine, leased: Leased) -> LaneNeeds:
        """Refuse: sound cannot be leased."""
        raise BadRequest("Sound can be looked at, not leased, in this version")


def _card(local: str, name: str, *, capture: bool, playback: bool) -> Scanned:
    return Scanned(
        kind=Kind.SOUND,
        local=local,
        name=name,
        unit="piece",
        capacity=1,
        free=1,
        leasable=False,
        tags=(*(("capture",) if capture else ()), *(("playback",) if playback else ())),
        facts={"capture": capture, "playback": playback},
    )


def _directions(streams: str, number: int) -> tuple[bool, bool]:
    """Return whether card ``number`` records and plays, from lines such as ``00-03: HDMI 0 : HDMI 0 : playback 1``."""
    own = [line for line in streams.splitlines() if line.startswith(f"{number:02d}-")]
    return (any(": capture" in line for line in own), any(": playback" in line for line in own))


driver = SoundDriver()
