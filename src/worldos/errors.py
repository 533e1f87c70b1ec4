"""Every way World OS can fail, as one tree.

A class is named for what happened. Its docstring's first line is the sentence for the user, the data are attributes, and
``hint`` says what to do next. A message never repeats its cause: the chain is printed once, at the edge (the CLI).
"""

from __future__ import annotations

from typing import ClassVar


class WorldError(Exception):
    """Something went wrong in World OS."""

    hint: str = ""
    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").splitlines()[0])
        if hint:
            self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        """Survive a trip between processes with message and data."""
        return (_rebuild, (type(self), str(self), dict(self.__dict__)))


def _rebuild(kind: type[WorldError], message: str, state: dict[str, object]) -> WorldError:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class BadRequest(WorldError):
    """The request cannot be understood."""

    exit_code = 2


class NotThere(BadRequest):
    """No file or folder has this name."""


class Refused(WorldError):
    """The request was understood, and the answer is no."""

    exit_code = 3


class NotAllowed(Refused):
    """You may not do this here."""


class NoCapacity(Refused):
    """No node can give this now."""


class AlreadyRunning(Refused):
    """An agent runs on this home already."""

    hint = "see it with: wos status; stop it with: wos down"


class OverQuota(Refused):
    """More was used than was leased."""


class Unreachable(WorldError):
    """The other side does not answer."""

    retryable = True
    exit_code = 4


class NoAgent(Unreachable):
    """No World OS agent runs on this machine."""

    hint = "start one with: wos up"


class NodeGone(Unreachable):
    """The node that did this work is gone."""


class LeaseEnded(WorldError):
    """The lease has ended, and with it the right to this capacity."""


class WorkerLost(WorldError):
    """The worker process ended before it gave a result."""

    retryable = True


class Damaged(WorldError):
    """Something stored or sent is not what it was."""


class BadSignature(Damaged):
    """The signature does not fit the key and the bytes."""


class CorruptFile(Damaged):
    """A file of World OS is damaged."""


class DiskFull(WorldError):
    """The disk is full or cannot be written."""

    hint = "free some space, or name another home: WORLDOS_HOME=/path wos up"


class PeerBroke(WorldError):
    """The other side broke the protocol."""
