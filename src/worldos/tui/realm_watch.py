"""``wos realm watch``: the tree of realms live: who leads, in which epoch, which are islands, and what changes.

What is listed below the tree comes from comparing one look with the one before, so it says what this machine saw, when it saw
it; a picture that was closed has missed nothing that ``wos log`` does not show.
"""

from __future__ import annotations

import contextlib
import datetime
import time
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import DataTable, Footer, RichLog, Static
from textual.worker import get_current_worker

from worldos.config import Home
from worldos.errors import WorldError
from worldos.sdk.asking import Asking
from worldos.tui.branches import LEVEL_STYLE, Row, cells, forest, lines, state, state_style

EVERY_S = 0.25
COLUMNS = ("realm", "level", "primary", "epoch", "state", "nodes", "cpu free", "memory free", "heard", "round trip")
QUIET_S = 12.0  # a realm renews its registration every 5 s


class RealmWatch(App[None]):
    """The live picture of the realms that one agent knows."""

    CSS = """
    Screen { background: $background; }
    #head { height: 1; padding: 0 1; background: $primary-background; }
    .title { height: 1; padding: 0 1; color: $text-muted; text-style: bold; }
    DataTable { height: auto; max-height: 70%; background: $background; }
    RichLog { height: 1fr; min-height: 3; padding: 0 1; background: $background; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("q", "quit", "End"), ("c", "clear", "Clear the log")]
    TITLE = "World OS realms"

    def __init__(self, home: Home) -> None:
        super().__init__()
        self._home = home
        self._seen: dict[str, Row] | None = None
        self.problem: WorldError | None = None

    def compose(self) -> ComposeResult:
        """Lay out the screen."""
        yield Static(id="head")
        with Vertical():
            yield DataTable(id="realms", cursor_type="none", zebra_stripes=True)
            yield Static("WHAT CHANGES", classes="title")
            yield RichLog(id="log", max_lines=500, wrap=False)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self.query_one("#realms", DataTable).add_columns(*COLUMNS)
        self.run_worker(self._look, thread=True, exclusive=False)

    def action_clear(self) -> None:
        """Empty the log."""
        self.query_one("#log", RichLog).clear()

    def _look(self) -> None:
        """Ask the agent, in a thread, again and again."""
        worker = get_current_worker()
        try:
            with Asking(self._home, "wos realm watch") as agent:
                while not worker.is_cancelled:
                    rows, about = agent.ask("realm_tree"), agent.ask("status")
                    self.call_from_thread(self.paint, rows, about)
                    time.sleep(EVERY_S)
        except WorldError as error:
            self.problem = error
            with contextlib.suppress(RuntimeError):
                self.call_from_thread(self.exit)

    # -- on the screen ------------------------------------------------------------------------------------------------------

    def paint(self, rows: list[Row], about: dict[str, Any]) -> None:
        """Show these rows, and say what differs from the last ones."""
        if not self.query("#log"):  # the screen is being taken down
            return
        self.query_one("#head", Static).update(_head(rows, about))
        table = self.query_one("#realms", DataTable)
        table.clear()
        for guides, row in lines(forest(rows)):
            table.add_row(*_cells(guides, row))
        seen = {row["realm"]: row for row in rows}
        if self._seen is not None:
            for line in changes(self._seen, seen):
                moment = datetime.datetime.now(tz=datetime.UTC).astimezone().strftime("%H:%M:%S.%f")[:-5]
                self.query_one("#log", RichLog).write(Text(f"{moment}  ", "dim") + line)
        self._seen = seen


def changes(old: dict[str, Row], new: dict[str, Row]) -> list[Text]:
    """Say in sentences what became of each realm between two looks."""
    said: list[Text] = []
    for realm in sorted({*old, *new}, key=lambda realm: (new.get(realm) or old[realm])["path"]):
        before, after = old.get(realm), new.get(realm)
        if before is None and after is not None:
            said.append(_said(after, "is known", ""))
        elif after is None and before is not None:
            said.append(_said(before, "is not known any more", "red"))
        elif before is not None and after is not None:
            said += _differences(before, after)
    return said


def _differences(before: Row, after: Row) -> list[Text]:
    said: list[Text] = []
    if (before["primary"], before["epoch"], before["provisional"]) != (
        after["primary"],
        after["epoch"],
        after["provisional"],
    ):
        if not after["primary"]:
            said.append(_said(after, "is not seen any more", "red"))
        elif after["provisional"]:
            who = f"is an island: {after['primary_name']} stands in, epoch {after['epoch']}"
            said.append(_said(after, who, "bold yellow"))
        else:
            healed = "is whole again: " if before["provisional"] else "is led: "
            said.append(_said(after, f"{healed}{after['primary_name']}, epoch {after['epoch']}", "green"))
    if before["path"] != after["path"]:
        said.append(_said(after, f"was {before['path']}", "cyan"))
    if before["nodes"] != after["nodes"]:
        said.append(_said(after, f"has {after['nodes']} nodes, and had {before['nodes']}", ""))
    return said


def _said(row: Row, what: str, style: str) -> Text:
    return Text.assemble((f"{row['path']:<24}", "bold"), " ", (what, style))


def _head(rows: list[Row], about: dict[str, Any]) -> Text:
    mine = next((row for row in rows if row["mine"]), None)
    islands = sum(row["provisional"] for row in rows)
    text = Text.assemble(("Realms ", "bold"), f" {about['name']}")
    if mine is not None:
        text.append(f" in {mine['path']}, led by {mine['primary_name'] or 'nobody'}")
    text.append(f"   {len(rows)} realms")
    if islands:
        text.append(f"   {islands} island{'s' if islands > 1 else ''}", "bold yellow")
    return text


def _cells(guides: str, row: Row) -> tuple[Text | str, ...]:
    level, primary, epoch, _, nodes, cpu, memory = cells(row)
    style = "bold" if row["here"] else ""
    heard_s = row["heard_s"]
    heard = "" if heard_s is None else f"{heard_s:.1f} s"
    return (
        Text.assemble((guides, "dim"), (row["name"], style), " (here)" if row["mine"] else ""),
        Text(level, LEVEL_STYLE.get(level, "")),
        primary,
        epoch,
        Text(state(row), state_style(row)),
        nodes,
        cpu,
        memory,
        Text(heard, "red" if heard_s is not None and heard_s > QUIET_S else ""),
        f"{row['rtt_us'] / 1000:.1f} ms" if row["rtt_us"] else "",
    )


def run_realm_watch(home: Home) -> None:
    """Show the picture until q is pressed; raise what ended it, if not the user."""
    with Asking(home):  # no agent: say so before the screen is taken
        pass
    watch = RealmWatch(home)
    watch.run()
    if watch.problem is not None:
        raise watch.problem
