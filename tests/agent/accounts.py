"""Agents of several accounts: how one lets the other into its realm, and two that are below one realm already."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.agent.agents import RunningAgent, new_home, running, until

from worldos.agent.comfort import PLAIN_GUESTS
from worldos.errors import WorldError
from worldos.sdk.asking import Asking

Two = tuple[RunningAgent, RunningAgent]
KNOWN_S = 20


def tree(agent: RunningAgent) -> dict[str, dict[str, Any]]:
    rows = agent.ask("realm_tree")
    return {row["path"]: row for row in rows if row["primary"]}


class Invitation:
    """``wos realm invite`` in a thread: its ticket, and what came of it."""

    def __init__(self, agent: RunningAgent, **arguments: Any) -> None:
        self._agent, self._arguments = agent, arguments
        self.ticket = ""
        self.setbacks: list[str] = []
        self.answer: Any = None
        self._asking = Asking(agent.home)
        self._thread = threading.Thread(target=self._invite)
        self._thread.start()
        until(lambda: self.ticket or self.answer is not None, "there is a ticket")

    def _invite(self) -> None:
        try:
            self.answer = self._asking.ask("realm_invite", progress=self._said, timeout_s=60, **self._arguments)
        except (WorldError, OSError) as error:
            self.answer = error

    def _said(self, value: dict[str, Any]) -> None:
        self.ticket = value.get("ticket", self.ticket)
        if "setback" in value:
            self.setbacks.append(value["setback"])

    def done(self) -> Any:
        self._thread.join(90)
        self._asking.close()
        return self.answer

    def end(self) -> None:
        """Take the ticket back."""
        self._asking.close()
        self._thread.join(90)


def join(agent: RunningAgent, ticket: str, *, yes: bool = True, realm: str = "") -> tuple[Any, list[dict[str, Any]]]:
    """Join, answering the question; return what came of it, and what was asked."""
    asked: list[dict[str, Any]] = []

    def said(value: dict[str, Any]) -> None:
        asked.append(value)
        agent.ask("confirm", confirm=value["confirm"], yes=yes)

    with Asking(agent.home) as asking:
        return asking.ask("realm_join", progress=said, timeout_s=60, ticket=ticket, realm=realm), asked


@contextlib.contextmanager
def two_accounts(*, lends: bool = False) -> Iterator[Two]:
    """Two agents of two accounts below the firm ``acme``: ``office``, which began it, and lends where told to; and ``den``."""
    with (
        patch.dict(
            os.environ, {PLAIN_GUESTS: "1"}
        ),  # other tests type into terminals: guests here do not rest for that
        tempfile.TemporaryDirectory(prefix="wos-2-") as folder,
        running(new_home(Path(folder) / "o", "office")) as office,
        running(new_home(Path(folder) / "d", "den")) as den,
    ):
        for agent in (office, den):
            until(lambda agent=agent: tree(agent), "it has a center")
        office.ask("realm_create", name="acme", level="enterprise")
        brought_in(den, office)
        until(lambda: {"acme", "acme/office", "acme/den"} <= tree(office).keys(), "acme knows both", KNOWN_S)
        until(lambda: "acme/den" in tree(den), "den knows where it is", KNOWN_S)
        if lends:
            office.ask("realm_policy", realm="acme/office", key="lend", value="kin")
            until(lambda: office.ask("lend_show")["realm"] == "kin", "the realm lends")
        yield office, den


def brought_in(guest: RunningAgent, host: RunningAgent) -> None:
    """Have a site of another account come below the realm of the host."""
    invitation = Invitation(host)
    join(guest, invitation.ticket)
    invitation.done()
