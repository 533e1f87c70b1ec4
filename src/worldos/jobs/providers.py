"""Providers, as a runner sees them: whose a machine is on which a task would run, and whether it may.

The agent says both: whose, by how the machine was found; and that it gets no more work, because its word, or that of another
machine of its account, was once wrong.
"""

from __future__ import annotations

from typing import Any, Protocol

from worldos.model.ids import NodeId


class Agent(Protocol):
    """Who is asked."""

    def ask(self, name: str, arguments: dict[str, Any] | None = None) -> Any:
        """Ask the agent."""


class Providers:
    """What is known of machines of others. Safe to use from many threads."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._owners: dict[NodeId, str] = {}

    def owner(self, node: NodeId) -> str:
        """Return the account behind a machine of others; of one that nobody knows, itself. Asked once for each."""
        if node not in self._owners:
            self._owners[node] = str(self._about(node)["owner"]) or node
        return self._owners[node]

    def may_do(self, node: NodeId, apart: tuple[str, ...]) -> bool:
        """Tell whether a machine of others may do a task that machines of these owners (empty: ours) have done already."""
        return not ("" in apart or self.owner(node) in apart or self._about(node)["out"])

    def _about(self, node: NodeId) -> dict[str, Any]:
        said: dict[str, Any] = self._agent.ask("provider_owner", {"node": node})
        return said
