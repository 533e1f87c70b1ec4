"""Guarded: carries out what the guard decided, on this machine, and keeps what the guard must not forget.

``carry`` is called once for a command, when its turn has come here (``kernel/guard``); how it went comes back as an event. What
would have to be undone by a person is not done in haste: an update is fetched, held against its digest and laid ready, and the
owner installs it; a rule of the whole realm changes with the last wave, when all before it did well.

``save`` runs before the effects of a step leave: nothing is carried out twice, whatever ends this process. With a full disk
nothing is carried out at all, and the agent goes on.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final, assert_never

import msgspec

from worldos.agent import clock
from worldos.config import Settings, read_settings, write_settings
from worldos.drivers import setpoint
from worldos.errors import BadRequest, CorruptFile, NotAllowed, Refused, WorldError
from worldos.home import Home, sync_folder
from worldos.kernel.charter import PolicySet
from worldos.kernel.charter import encode_command as encode_charter_command
from worldos.kernel.effects import Carry, Effect, Notice, SaveStatements, State
from worldos.kernel.events import CommandCarried, DrainAsked, Event, GuardSet
from worldos.kernel.guard.command import (
    Command,
    Drain,
    Drive,
    Resume,
    Revoke,
    SetConfig,
    SetPolicy,
    SetRoll,
    Stop,
    Update,
    command_id,
    read_command,
)
from worldos.kernel.guard.owner import Found, encode_change, read_change, remembered
from worldos.kernel.guard.said import Outcome
from worldos.kernel.quarantine import NARROW_FOR_S_MAX, Narrow, encode_said
from worldos.model.realm import RealmId
from worldos.model.rights import Impact
from worldos.model.statements import Topic
from worldos.node import Node

GUARD_TOPICS: Final = frozenset({Topic.COMMAND, Topic.APPROVAL, Topic.HEALTH, Topic.STOP})
UPDATE_BYTES_MAX: Final = 512 * 1024 * 1024
FETCH_S_MAX: Final = 3600.0
SECOND: Final = 1_000_000_000
MAY_SET: Final = frozenset({"place", "discover", "relay", "not_on_battery"})
"""Choices that a command may make. Where this machine listens, whom it lends to and at what price, its owner says here."""


class Guarded:
    """What one machine does because its guard says so."""

    def __init__(
        self,
        home: Home,
        node: Node,
        feed: Callable[[Event], None],
        state: Callable[[Topic, bytes], str],
        propose: Callable[[RealmId, bytes], Awaitable[None]],
        note: Callable[[Notice], None],
    ) -> None:
        self._home, self._node, self._feed, self._state, self._propose = home, node, feed, state, propose
        self._note = note
        self._saved = b""
        self._unsaved = ""  # why the last save failed: then nothing is carried out
        self._tasks: set[asyncio.Task[None]] = set()

    # -- what outlives a life ---------------------------------------------------------------------------------------------

    def recall(self) -> None:
        """Give the guard what an earlier life left, and where the things that it may drive are.

        What is damaged is laid aside and said: without a roll nothing is carried out, until the owner sets one again.
        """
        file = self._home.guard_file
        try:
            data = file.read_bytes()
            read_change(data)
        except FileNotFoundError:
            data = b""
        except (OSError, CorruptFile) as error:
            data = b""
            with suppress(OSError):
                file.replace(file.with_name(f"{file.name}.damaged"))
            self._note(Notice(name="guard forgot", fields={"file": str(file), "why": str(error)}))
        if data:
            self._feed(GuardSet(now_ns=clock.now_ns(), change=data))
            self._saved = data
        self.find()

    def find(self) -> None:
        """Tell the guard where each actuator is."""
        home = str(self._home.path)
        at_milli: dict[str, int] = {}
        for local in setpoint.names(home):
            try:
                about = setpoint.read_about(home, local)
            except CorruptFile:
                continue
            at_milli[f"{setpoint.FOLDER}/{local}"] = setpoint.where(home, local, about).value_milli
        if at_milli:
            self._feed(GuardSet(now_ns=clock.now_ns(), change=encode_change(Found(at_milli=at_milli))))

    def save(self, event: Event, effects: Iterable[Effect]) -> None:
        """Write down what the guard must not forget, if this step may have changed it."""
        if not isinstance(event, GuardSet | CommandCarried) and not any(_touches(effect) for effect in effects):
            return
        data = remembered(self._node.guard)
        if data == self._saved and not self._unsaved:
            return
        file = self._home.guard_file
        fresh = file.with_name(f"{file.name}.new")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(file)
            sync_folder(file.parent)
        except OSError as error:
            self._unsaved = os.strerror(error.errno) if error.errno else str(error)
            return
        self._saved, self._unsaved = data, ""

    def set_envelope(self) -> None:
        """Leave the owner's limits where the drivers look."""
        limits = self._node.guard.envelope.limits
        setpoint.write_envelope(str(self._home.path), tuple(limits[key] for key in sorted(limits)))

    # -- commands ---------------------------------------------------------------------------------------------------------

    def carry(self, body: bytes) -> None:
        """Begin to carry a command out; the guard hears how it went. Nothing is, where that could not be written down."""
        task = asyncio.get_running_loop().create_task(self._carry(body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, body: bytes) -> None:
        command, known = read_command(body), command_id(body)
        try:
            if self._unsaved:
                raise NotAllowed(f"what the guard must not forget cannot be written: {self._unsaved}")
            why = await self._do(command, known)
            outcome = Outcome.DONE
        except (Refused, BadRequest) as error:
            outcome, why = Outcome.REFUSED, str(error)
        except (WorldError, OSError) as error:
            outcome, why = Outcome.FAILED, str(error)
        now_ns = clock.now_ns()
        self._feed(CommandCarried(now_ns=now_ns, command=known, outcome=outcome.value, why=why[:256]))

    async def _do(self, command: Command, known: str) -> str:
        """Do it; return what a person may want to know of it."""
        match command.action:
            case SetConfig():
                return self._set_config(command.action)
            case SetPolicy():
                return await self._set_policy(command, command.action, known)
            case Update():
                return await self._lay_ready(command.action)
            case Drive():
                return await self._drive(command.action)
            case Drain() | Stop():
                return self._stop(command.action)
            case Revoke():
                return self._revoke(command.action, known)
            case SetRoll() | Resume():
                raise BadRequest("the guard does this by itself")
            case _:
                assert_never(command.action)

    def _set_config(self, action: SetConfig) -> str:
        settings = read_settings(self._home)
        if action.key not in MAY_SET:
            raise BadRequest(
                f"{action.key[:40]!r} is no choice that a command may set",
                hint=f"it may set: {', '.join(sorted(MAY_SET))}",
            )
        try:
            value = msgspec.to_builtins(settings)[action.key]
            given = action.value if isinstance(value, str) else msgspec.json.decode(action.value.encode())
            changed = msgspec.convert({**msgspec.to_builtins(settings), action.key: given}, Settings)
        except msgspec.DecodeError as cause:
            raise BadRequest(f"{action.value[:40]!r} is no value of {action.key}: {cause}") from cause
        write_settings(self._home, changed)
        return "it holds from the next start of the agent on"

    async def _set_policy(self, command: Command, action: SetPolicy, known: str) -> str:
        pending = self._node.guard.commands.get(known)
        is_last = pending is not None and pending.wave == len(command.waves_ppm) - 1
        if not is_last:
            return "it changes with the last wave"
        await self._propose(
            RealmId(command.realm), encode_charter_command(PolicySet(key=action.key, value=action.value))
        )
        return ""

    async def _drive(self, action: Drive) -> str:
        if len(action.path) != 2 or action.path[0] != setpoint.FOLDER:
            raise BadRequest(f"this machine has nothing at {'/'.join(action.path)}")
        home = str(self._home.path)
        await asyncio.to_thread(setpoint.drive, home, action.path[1], action.verb, action.value_milli)
        return ""

    def _stop(self, action: Drain | Stop) -> str:
        me = (self._node.registry.owner, "node", self._node.node)
        if isinstance(action, Stop) and action.path not in {me[:count] for count in (1, 2, 3)}:
            raise BadRequest("this machine stops as a whole, not a part of it")
        self._feed(DrainAsked(now_ns=clock.now_ns(), drained=True))
        return "nothing new is granted; what runs goes on"

    def _revoke(self, action: Revoke, known: str) -> str:
        if action.who == self._node.node:
            return "the others see to that"
        why = f"command {known[:12]} of its realm"
        held = (narrowing.narrow for narrowing in self._node.quarantine.table.values())
        if any(narrow.principal == action.who and narrow.why == why for narrow in held):
            return "another device of the account has said so already"
        now_s = self._node.wall_s(clock.now_ns())
        narrow = Narrow(
            principal=action.who, cls=Impact.READ, per_minute=0, human=True, at_s=now_s, for_s=NARROW_FOR_S_MAX, why=why
        )
        self._state(Topic.QUARANTINE, encode_said(narrow))
        return "it may only read for a day; to put a device out for good: wos revoke"

    async def _lay_ready(self, action: Update) -> str:
        """Fetch a wheel by its cap and hold it against its digest; it lies in ``updates`` then, for the owner."""
        folder = self._home.updates_folder
        await asyncio.to_thread(folder.mkdir, mode=0o700, exist_ok=True)
        target = folder / f"worldos-{action.version}-py3-none-any.whl"
        fresh = target.with_suffix(".new")
        await self._fetch(action.cap, fresh)
        digest = await asyncio.to_thread(_digest, fresh)
        if digest != action.digest:
            await asyncio.to_thread(fresh.unlink)
            raise WorldError(f"what was fetched is not the update that was approved: {digest.hex()[:16]}")
        await asyncio.to_thread(fresh.replace, target)
        return f"{target.name} is ready: wos guard apply"

    async def _fetch(self, cap: str, target: os.PathLike[str]) -> None:
        wos = [sys.executable, "-m", "worldos.cli.main", "open", "--", cap, str(target)]
        child = await asyncio.create_subprocess_exec(
            *wos,
            env={**os.environ, "WORLDOS_HOME": str(self._home.path)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, said = await asyncio.wait_for(child.communicate(), FETCH_S_MAX)
        except (TimeoutError, asyncio.CancelledError):
            child.kill()
            await child.wait()
            raise
        if child.returncode:
            lines = said.decode(errors="replace").strip().splitlines()
            raise WorldError(f"the update cannot be fetched: {lines[0] if lines else child.returncode}")


def updates(home: Home) -> list[dict[str, str | int]]:
    """Return what lies ready to be installed."""
    try:
        files = sorted(home.updates_folder.glob("*.whl"))
    except OSError:
        return []
    return [{"file": str(file), "size_bytes": file.stat().st_size, "sha256": _digest(file).hex()} for file in files]


def _digest(file: os.PathLike[str]) -> bytes:
    with open(file, "rb") as data:
        if os.fstat(data.fileno()).st_size > UPDATE_BYTES_MAX:
            raise WorldError(f"an update has {UPDATE_BYTES_MAX} bytes at most")
        return hashlib.file_digest(data, "sha256").digest()


def _touches(effect: Effect) -> bool:
    """Tell whether an effect says that the guard may have changed."""
    match effect:
        case Carry():
            return True
        case SaveStatements() | State():
            return effect.topic in GUARD_TOPICS
        case Notice():
            return effect.name.startswith(("guard ", "command "))
        case _:
            return False
