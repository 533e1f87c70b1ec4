"""An attempt at this runner: from the moment it is given until the line has its end.

It is run at a berth, and what becomes of it is one word to the line: ``Finished`` if it ended by itself (its exit code, also when
it took more than was leased or longer than it may), ``Yielded`` if it was asked to make way, ``Lost`` if its worker or node was.
An attempt that nobody waits for any more says nothing. What it made is kept before the word is said, in the line where it is
small, else in the realm's files under a name that bears the attempt; if the line does not take the word in, that is removed.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from msgspec.structs import replace

from worldos.errors import BadRequest, OverQuota, PeerBroke, Unreachable, WorldError
from worldos.jobs.berth import RUNTIME_OVER, Berth, Errand, Ran
from worldos.jobs.limits import RESULT_BYTES_MAX, RESULT_FAR_BYTES_MAX, RESULT_IN_LINE_BYTES
from worldos.jobs.logs import Log
from worldos.jobs.made import digest_of
from worldos.jobs.outputs import Spool, unzipped
from worldos.jobs.providers import OURS, Maker
from worldos.jobs.shelf import Shelf
from worldos.jobs.teller import Word
from worldos.kernel.auditing import MILLION
from worldos.model.work import (
    TAIL_BYTES_MAX,
    Attempt,
    Finished,
    JobSpec,
    Lost,
    Made,
    Outcome,
    Yielded,
    log_path,
    result_path,
)

FAR: Final = ".far"  # ends the name of a result that a machine of another account made
CODE_RUNTIME: Final = 124  # as timeout(1) says it
CODE_KILLED: Final = 137
CODE_UNFIT: Final = 126
WHY_CHARS_MAX: Final = 1000
_HOUR_US: Final = 3_600_000_000
_MAKE_WAY, _DROPPED = "make way", "dropped"


class Stoppable(Protocol):
    """Where an attempt runs."""

    def stop(self, why: str, grace_s: float) -> None:
        """Ask it to stop."""


class Run:
    """One attempt. Its berth's thread carries it out; ``stop`` comes from others."""

    def __init__(
        self, attempt: Attempt, spec: JobSpec, checkpoint: str, folder: Path, apart: tuple[str, ...] = ()
    ) -> None:
        self.attempt = attempt
        self.spec = spec
        self.apart = apart  # machines that have done it already, and their owners
        self._checkpoint = checkpoint
        stem = f"{attempt.job}.{attempt.index}.{attempt.number}"
        self.log = Log(folder / f"{stem}.log")
        self.result = Spool(folder / f"{stem}.result")
        self.made = b""  # a small result that is no files (lanes/resident.py)
        self.left = Spool(folder / f"{stem}.left")
        self._lock = threading.Lock()
        self._place: Stoppable | None = None
        self._asked = ""
        self._why = ""
        self._begun = False
        self._maker = OURS
        self._compared = False
        self._since_s = 0.0
        self.price_uwos_hour = 0  # of the lease that it runs behind

    # -- stopping ------------------------------------------------------------------------------------------------------------

    @property
    def dropped(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._asked == _DROPPED

    @property
    def waits(self) -> bool:
        """Whether no berth has begun it."""
        return not self._begun

    @property
    def continues(self) -> bool:
        """Whether it goes on from where another attempt left off."""
        return bool(self._checkpoint)

    def make_way(self, why: str) -> None:
        """Stop, with time to leave a checkpoint."""
        self._stop(_MAKE_WAY, why)

    def drop(self, grace_s: float | None = None) -> None:
        """Stop: whatever it made is not wanted."""
        self._stop(_DROPPED, "", grace_s)

    def _stop(self, asked: str, why: str, grace_s: float | None = None) -> None:
        with self._lock:
            if self._asked != _DROPPED:
                self._asked, self._why = asked, why
            if self._place is not None:
                self._place.stop(asked, float(self.spec.grace_s) if grace_s is None else grace_s)

    # -- running -------------------------------------------------------------------------------------------------------------

    def carry_out(self, berth: Berth, shelf: Shelf, node: str = "", maker: Maker = OURS) -> Ran | Word | None:
        """Run it at a berth, on the ``node`` of this name, which may be another account's.

        Return how it ended, or the word that says so already; None: nobody wants to know.
        Raises what befell the berth itself, which is then of no more use.
        """
        berth.clear()
        if not self.enter(berth, own=berth.is_own, maker=maker):
            return self.unbegun()
        try:
            return berth.run(self._errand(node), self.parcels(shelf), self.log, self.result, self.left)
        finally:
            self.leave()

    def enter(self, place: Stoppable, *, own: bool, maker: Maker = OURS) -> bool:
        """Begin at a place, on a machine of our ``own``, or of another ``maker``; False if it was stopped before."""
        with self._lock:
            self._begun = True
            if self._asked:
                return False
            self._place = place
        self._own, self._maker, self._since_s = own, maker, time.monotonic()
        self._compared = bool(self.apart or maker.owner) and self.spec.copies != 1
        if self._compared:
            self.log.digest_output()
        self.result.bytes_max = self.left.bytes_max = RESULT_BYTES_MAX if own else RESULT_FAR_BYTES_MAX
        return True

    def leave(self) -> None:
        """Be nowhere any more: nobody can stop it now."""
        with self._lock:
            self._place = None

    def unbegun(self) -> Word | None:
        """Return what is to be said of an attempt that was stopped before it began."""
        return None if self.dropped else Yielded(attempt=self.attempt, why=self._why[:WHY_CHARS_MAX])

    def broken(self, error: WorldError) -> Word | None:
        """Return what is to be said when its berth was lost under it, or its files could not be had."""
        why = str(error)[:WHY_CHARS_MAX]
        if self.dropped:
            return None
        if isinstance(error, OverQuota):
            return Finished(attempt=self.attempt, outcome=self._made_by(self._outcome(CODE_KILLED, why), b""))
        if isinstance(error, BadRequest | PeerBroke):
            return Finished(attempt=self.attempt, outcome=self._made_by(self._outcome(CODE_UNFIT, why), b""))
        return Lost(attempt=self.attempt, why=why)

    def told(self, node: str) -> dict[str, str]:
        """Return the environment that all tasks of its job have on a node."""
        return {**self.spec.env, "WOS_JOB": self.attempt.job, **({"WOS_NODE": node} if node else {})}

    def _errand(self, node: str) -> Errand:
        spec = self.spec
        own = {"WOS_TASK": str(self.attempt.index), "WOS_ATTEMPT": str(self.attempt.number)}
        if self._compared:
            own["PYTHONHASHSEED"] = spec.env.get("PYTHONHASHSEED", "0")  # sets in one order on all machines
        return Errand(
            argv=spec.argv,
            env={**self.told(node), **own},
            keep=spec.keep,
            grace_s=float(spec.grace_s),
            runtime_s=float(spec.runtime_s),
        )

    def parcels(self, shelf: Shelf) -> tuple[Iterator[bytes], ...]:
        """Return what it brings along, as tar streams: its job's files, and where it left off."""
        files = self.files(shelf)
        if self._checkpoint:
            return (files or iter(()), self.checkpoint(shelf))
        return (files,) if files is not None else ()

    def files(self, shelf: Shelf) -> Iterator[bytes] | None:
        """Return its job's files, as a tar stream; None if there are none."""
        parcel = shelf.parcel(self.attempt.job, self.spec)
        return unzipped(parcel) if parcel is not None else None

    def checkpoint(self, shelf: Shelf) -> Iterator[bytes]:
        """Return the files from which it ``continues``, as a tar stream."""
        return unzipped(shelf.pieces(self._checkpoint))

    # -- its end -------------------------------------------------------------------------------------------------------------

    @property
    def _in_line_bytes(self) -> int:
        """How large a result may be to stay in line: there nobody can see any more that it came from others."""
        return RESULT_IN_LINE_BYTES if self._own else 0

    def needs_files(self, ran: Ran) -> bool:
        """Tell whether something of it is to go into the realm's files, which takes a while."""
        if ran.stopped == _MAKE_WAY:
            return self.left.size > 0
        return max(self.result.size, len(self.made)) > self._in_line_bytes or self.log.written > TAIL_BYTES_MAX

    def ended(self, ran: Ran, shelf: Shelf) -> Word | None:
        """Keep what it made; return what is to be said. Unreachable: its files cannot be kept now."""
        if ran.stopped == _DROPPED or self.dropped:
            return None
        if self._maker.owner:  # whom we pay for the time that it says: for no more than we saw pass
            seen_us = int((time.monotonic() - self._since_s) * 1_000_000)
            ran = replace(ran, took=replace(ran.took, wall_us=min(ran.took.wall_us, seen_us)))
        if ran.stopped == _MAKE_WAY:
            return self._yielded(ran, shelf)
        code, why = (CODE_RUNTIME, ran.stopped) if ran.stopped == RUNTIME_OVER else (ran.code, ran.why)
        outcome = self._outcome(code, why, ran)
        if self._compared:
            outcome = self._made_by(outcome, digest_of(self.result, self.log, self.made))
        return self._finished(outcome, shelf)

    def _made_by(self, outcome: Outcome, digest: bytes) -> Outcome:
        """Say whose machine it was and what it came to, where that is to be compared; the dice fall after the work is done."""
        if not self._compared:
            return outcome
        return replace(outcome, made=Made(self._maker.owner, digest, secrets.randbelow(MILLION), self._maker.node))

    def moved_out(self, word: Finished, shelf: Shelf) -> Word | None:
        """Return the word with its result in the realm's files: the line has no room for it."""
        shelf.put(word.outcome.result, result_path(self.attempt))
        outcome = replace(word.outcome, result=b"", result_file=result_path(self.attempt))
        return Finished(attempt=self.attempt, outcome=outcome)

    def settled(self, word: Word, unneeded: tuple[Attempt, ...], shelf: Shelf) -> None:
        """The line took its word in: where it began from is not needed any more, nor what copies made that do not count."""
        for copy in unneeded:
            for name in (result_path(copy), f"{result_path(copy)}{FAR}", log_path(copy)):
                shelf.remove(name)
        if self._checkpoint and not isinstance(word, Lost) and not (isinstance(word, Yielded) and not word.checkpoint):
            shelf.remove(self._checkpoint)

    def refused(self, word: Word, shelf: Shelf) -> None:
        """The line did not: another attempt counts, and what this one kept is removed."""
        names = []
        if isinstance(word, Finished):
            names = [word.outcome.result_file, word.outcome.log_file]
        elif isinstance(word, Yielded):
            names = [word.checkpoint]
        for name in filter(None, names):
            shelf.remove(name)

    def close(self) -> None:
        """Drop what is kept of it here, but for its log."""
        self.log.ended = True
        self.result.close()
        self.left.close()

    def _yielded(self, ran: Ran, shelf: Shelf) -> Word:
        name = ""
        believed = not (self._compared and self._maker.owner)  # nobody could tell what others' machines left there
        if self.left.size and believed:
            name = f"{result_path(self.attempt)}.ckpt"
            self._keep(self.left, name, shelf)
        paid = self._paid_uwos(ran.took.wall_us)
        return Yielded(attempt=self.attempt, checkpoint=name, why=self._why[:WHY_CHARS_MAX], paid_uwos=paid)

    def _paid_uwos(self, wall_us: int) -> int:
        """Return what its lease costs for so long, rounded up."""
        return -(-wall_us * self.price_uwos_hour // _HOUR_US)

    def _finished(self, outcome: Outcome, shelf: Shelf) -> Word:
        try:
            if max(self.result.size, len(self.made)) > self._in_line_bytes:
                name = f"{result_path(self.attempt)}{'' if self._own else FAR}"
                if self.made:
                    shelf.put(self.made, name)
                else:
                    self._keep(self.result, name, shelf)
                outcome = replace(outcome, result_file=name)
            elif self.made or self.result.size:
                outcome = replace(outcome, result=self.made or self.result.data())
            if self.log.written > TAIL_BYTES_MAX:
                shelf.put(b"".join(self.log.pieces()), log_path(self.attempt))
                outcome = replace(outcome, log_file=log_path(self.attempt))
        except Unreachable:
            raise  # it may be tried again
        except WorldError as error:
            why = f"what it made could not be kept in the realm's files: {error}"
            if error.hint:
                why += f" (try: {error.hint})"
            outcome = replace(outcome, code=outcome.code or CODE_UNFIT, why=why[:WHY_CHARS_MAX])
        return Finished(attempt=self.attempt, outcome=outcome)

    def _outcome(self, code: int, why: str, ran: Ran | None = None) -> Outcome:
        took = ran.took if ran is not None else None
        return Outcome(
            code=min(255, max(0, code)),
            why=why[:WHY_CHARS_MAX],
            tail=self.log.tail(),
            cpu_us=took.cpu_us if took else 0,
            wall_us=took.wall_us if took else 0,
            memory_bytes=took.memory_bytes if took else 0,
            paid_uwos=self._paid_uwos(took.wall_us if took else 0),
        )

    @staticmethod
    def _keep(spool: Spool, name: str, shelf: Shelf) -> None:
        shelf.put(spool.path if spool.in_file else spool.data(), name)
