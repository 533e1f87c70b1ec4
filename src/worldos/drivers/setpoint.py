"""Actuators: things in the world that follow a set-point. Each is a file in the home's folder ``actuators``, made by the owner.

``actuators/heating.toml`` says what it is (``name``, ``unit``, ``start_milli``, and perhaps ``run``: a command that is given the
value); beside it stands where it is now (``heating.at``). A real thing is driven by who reads that file, or by ``run``.

There is one door to it, ``drive``: it holds the value against the owner's envelope (``envelope`` in the home, written by the
agent for the owner alone), under a lock that leases and guarded commands share. What the envelope does not name is not driven.
Values are whole thousandths; times ns of this machine's steady clock.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import time
import tomllib
from pathlib import Path
from typing import Annotated, Final

import msgspec

from worldos.drivers.driver import LaneNeeds, Leased, Sample
from worldos.drivers.machine import Machine
from worldos.errors import BadRequest, CorruptFile, NotAllowed
from worldos.kernel.guard.command import Drive, Milli
from worldos.kernel.guard.envelope import At, Envelope, Limit
from worldos.model.resource import Fact, Scanned
from worldos.model.rights import ACTUATOR

FOLDER: Final = "actuators"
ENVELOPE_FILE: Final = "envelope"
LANE: Final = "worldos.drivers.setpoint_lane:SetpointLane"
ACTUATORS_MAX: Final = 256
RUN_S_MAX: Final = 10.0
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")


class About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an owner says of one actuator. ``run``: a program and its arguments, to which the value is added."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    unit: Annotated[str, msgspec.Meta(max_length=16)] = "milli"
    start_milli: Milli = 0
    run: Annotated[tuple[str, ...], msgspec.Meta(max_length=16)] = ()


class SetpointDriver:
    """The actuators of a machine: each is leased whole."""

    kind: str = ACTUATOR

    def scan(self, machine: Machine) -> list[Scanned]:
        """Describe what the owner put there; what cannot be read is left out."""
        found: list[Scanned] = []
        for home in machine.folders[:1]:
            for local in names(home):
                try:
                    about = read_about(home, local)
                except CorruptFile:
                    continue
                facts: dict[str, Fact] = {"at_milli": where(home, local, about).value_milli, "for": "me"}
                found.append(
                    Scanned(kind=ACTUATOR, local=local, name=about.name, unit="", capacity=1, free=1, facts=facts)
                )
        return found

    def sample(self, machine: Machine) -> Sample:
        """Say where each is now."""
        facts: dict[str, dict[str, Fact]] = {}
        for home in machine.folders[:1]:
            for local in names(home):
                try:
                    facts[local] = {"at_milli": where(home, local, read_about(home, local)).value_milli, "for": "me"}
                except CorruptFile:
                    continue
        return Sample(facts=facts)

    def lane(self, machine: Machine, leased: Leased) -> LaneNeeds:
        """Have a worker that drives it through the same door."""
        home = machine.folders[0]
        read_about(home, leased.local)
        return LaneNeeds(driver=LANE, arguments={"home": home, "local": leased.local})


def names(home: str) -> list[str]:
    """Return the local names of the actuators in a home, sorted."""
    try:
        files = sorted(os.listdir(Path(home, FOLDER)))
    except OSError:
        return []
    locals_ = [file.removesuffix(".toml") for file in files if file.endswith(".toml")]
    return [local for local in locals_ if _NAME.fullmatch(local)][:ACTUATORS_MAX]


def read_about(home: str, local: str) -> About:
    """Read what the owner says of an actuator; CorruptFile where that is not in order."""
    if not _NAME.fullmatch(local):
        raise BadRequest(f"{local[:40]!r} is no actuator's name")
    file = Path(home, FOLDER, f"{local}.toml")
    try:
        return msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), About)
    except FileNotFoundError as cause:
        raise BadRequest(f"there is no actuator {local!r} on this machine") from cause
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as cause:
        raise CorruptFile(f"{file}: {cause}") from cause


def where(home: str, local: str, about: About) -> At:
    """Return where an actuator is, and since when; at its start where it was never set."""
    try:
        return msgspec.json.decode(Path(home, FOLDER, f"{local}.at").read_bytes(), type=At)
    except (OSError, msgspec.DecodeError):
        return At(value_milli=about.start_milli, at_ns=0)


def read_envelope(home: str) -> tuple[Limit, ...]:
    """Return the owner's limits; none where the file is missing or damaged: then nothing is driven."""
    try:
        return msgspec.json.decode(Path(home, ENVELOPE_FILE).read_bytes(), type=tuple[Limit, ...])
    except (OSError, msgspec.DecodeError):
        return ()


def write_envelope(home: str, limits: tuple[Limit, ...]) -> None:
    """Write the owner's limits down. Only the agent calls this, for who is on the machine."""
    _replace(Path(home, ENVELOPE_FILE), msgspec.json.encode(limits))


def drive(home: str, local: str, verb: str, value_milli: int) -> None:
    """Set an actuator, within the envelope; NotAllowed with the reason where that does not let it."""
    about = read_about(home, local)
    path = (FOLDER, local)
    with open(Path(home, FOLDER, f"{local}.lock"), "a", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        now_ns = time.monotonic_ns()
        last = where(home, local, about)
        at = At(value_milli=last.value_milli, at_ns=min(last.at_ns, now_ns))  # the clock began anew with the machine
        envelope = Envelope(last={"/".join(path): at})
        envelope.limits = {"/".join(limit.path): limit for limit in read_envelope(home)}
        why = envelope.refusal(now_ns, Drive(path=path, verb=verb, value_milli=value_milli))
        if why:
            raise NotAllowed(why, hint="its owner sets what may be done: wos guard envelope")
        if about.run:
            _run(about, local, value_milli)
        _replace(Path(home, FOLDER, f"{local}.at"), msgspec.json.encode(At(value_milli=value_milli, at_ns=now_ns)))


def _run(about: About, local: str, value_milli: int) -> None:
    try:
        done = subprocess.run([*about.run, str(value_milli)], timeout=RUN_S_MAX, check=False, capture_output=True)  # noqa: S603 - the owner's own words
    except (OSError, subprocess.TimeoutExpired) as cause:
        raise NotAllowed(f"what drives {local} did not do it: {cause}") from cause
    if done.returncode:
        raise NotAllowed(f"what drives {local} ended with {done.returncode}")


def _replace(file: Path, data: bytes) -> None:
    fresh = file.with_name(f"{file.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(fresh, file)


driver = SetpointDriver()
"""What the entry point of this kind names."""
