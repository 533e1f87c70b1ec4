"""Nodes of one account find each other on this machine without being told where."""

from __future__ import annotations

import time

from tests.fabric.fabrics import Node, run, running, until


def test_three_nodes_find_each_other_within_a_second() -> None:
    async def story() -> None:
        nodes = [Node(41, (42, 43), beacon=True), Node(42, (41, 43), beacon=True), Node(43, (41, 42), beacon=True)]
        nodes[0].fabric.set_facts(b"some facts")
        begun = time.monotonic()
        async with running(*nodes):
            await until(lambda: all(one.knows(other) for one in nodes for other in nodes if one is not other))
            print(f"all know all after {(time.monotonic() - begun) * 1e3:.0f} ms")
            said = ("beacon", nodes[0].id, "account", nodes[0].address, b"some facts")
            await until(lambda: said in nodes[1].notes.said and said in nodes[2].notes.said)
            assert nodes[1].notes.said.count(said) == 1

    run(story)


def test_a_node_on_all_addresses_is_found_too() -> None:
    async def story() -> None:
        a, b = Node(44, (45,), beacon=True, listen=("", 0)), Node(45, (44,), beacon=True, listen=("", 0))
        async with running(a, b):
            await until(lambda: a.knows(b) and b.knows(a))

    run(story, loops=1)
