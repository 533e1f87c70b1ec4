"""Providers, as a runner sees them: whose a machine is on which a task would run, and whether it may.

The agent says both: whose, by how the machine was found, which nobody proves; and that it gets no more work, because its word
was once wrong.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Protocol

from worldos.model.ids import NodeId


class Agent(Protocol):
    """Who is asked."""

    def ask(self, name: str, arguments: dict[str, Any] | None = None) -> Any:
        """Ask the agent."""


class Maker(NamedTuple):
    """Where a task runs: the account that is said to own the machine, and the machine; both empty for ours."""

    owner: str
    node: str


OURS: Final = Maker("", "")


class Providers:
    """What is known of machines of others. Safe to use from many threads."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._makers: dict[NodeId, Maker] = {}

    def maker(self, node: NodeId) -> Maker:
        """Return a machine of others with its account; that of one that nobody knows is itself. Asked once for each."""
        if node not in self._makers:
            self._makers[node] = Maker(str(self._about(node)["owner"]) or node, node)
        return self._makers[node]

    def may_do(self, node: NodeId, apart: tuple[str, ...]) -> bool:
        """Tell whether a machine of others may do what these have done already: machines, and owners (empty: ours)."""
        return not ({*self.maker(node), ""} & {*apart} or self._about(node)["out"])

    def _about(self, node: NodeId) -> dict[str, Any]:
        said: dict[str, Any] = self._agent.ask("provider_owner", {"node": node})
        return said
