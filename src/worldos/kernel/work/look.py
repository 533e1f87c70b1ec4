"""Looks: what people and programs may see of a site's work, by a word or two. What there is not is nothing, not an error."""

from __future__ import annotations

import msgspec

from worldos.errors import PeerBroke
from worldos.kernel.work.state import Work
from worldos.model.work_wire import WorkAsk

_encode = msgspec.msgpack.Encoder().encode


def look(work: Work, asked: WorkAsk) -> bytes:
    """Return what is to be seen, as bytes; PeerBroke for words that name nothing of the kind."""
    what, _, name = asked.look.partition(" ")
    match what:
        case "queues":
            return _encode(work.queues.views())
        case "queue":
            return _encode(work.queues.view(name))
        case _:
            raise PeerBroke(f"there is no look at {asked.look!r}: there are jobs, job ID, queues and queue NAME")
