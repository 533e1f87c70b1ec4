"""A node in a process of its own that answers every message, to be stopped and continued from outside."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from tests.fabric.fabrics import Node, Notes
from worldos.model.ids import NodeId


class Answers(Notes):
    """Sends every message back."""

    node: Node

    def on_message(self, node: NodeId, message: bytes) -> None:
        self.node.fabric.send(node, message, 1)


async def answer_all() -> None:
    node = Node(2, (1,))
    answers = Answers()
    answers.node = node
    node.fabric.handler = answers
    await node.fabric.start()
    sys.stdout.write(f"{node.fabric.port}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await node.fabric.close()


if __name__ == "__main__":
    uvloop.run(answer_all())
