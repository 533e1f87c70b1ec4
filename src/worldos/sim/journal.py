"""A journal in memory: a snapshot of a node, then every event with the effects of then, as bytes."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from worldos.kernel.effects import Effect
from worldos.kernel.events import Event
from worldos.node import Node

_encode = msgspec.msgpack.Encoder().encode
_events: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)
_nodes: msgspec.msgpack.Decoder[Node] = msgspec.msgpack.Decoder(Node)


class MemoryJournal:
    """What ``agent.journal`` keeps in a file, for a node as it is now. ``records_max`` bounds it: later events are not kept."""

    def __init__(self, node: Node, records_max: int) -> None:
        self._snapshot = _encode(node)
        self._records: list[tuple[bytes, bytes]] = []
        self._records_max = records_max

    def append(self, event: Event, effects: list[Effect]) -> None:
        """Write down an event and what it led to."""
        if len(self._records) < self._records_max:
            self._records.append((_encode(event), _encode(effects)))

    def replay(self) -> Iterator[tuple[Event, list[Effect], bool]]:
        """Feed it all to the node of then: each event, the effects now, and whether they are those of then."""
        node = _nodes.decode(self._snapshot)
        for data, then in self._records:
            event = _events.decode(data)
            effects = node.handle(event)
            yield event, effects, _encode(effects) == then
