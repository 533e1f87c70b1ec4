"""``wos top``: the nodes, what is used of them, leases and running work, and what happens, live."""

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
from worldos.model.units import show, show_bytes
from worldos.sdk.asking import Asking

EVERY_S = 0.5
BAR_CELLS = 12
STATUS_STYLE = {"alive": "green", "suspect": "yellow", "offline": "red", "dead": "red", "left": "dim"}
NS = 1_000_000_000


class Top(App[None]):
    """The live picture of one agent's view."""

    CSS = """
    Screen { background: $background; }
    #head { height: 1; padding: 0 1; background: $primary-background; }
    .title { height: 1; padding: 0 1; color: $text-muted; text-style: bold; }
    DataTable { height: auto; max-height: 14; background: $background; }
    #leases { max-height: 10; }
    RichLog { height: 1fr; padding: 0 1; background: $background; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("q", "quit", "End"), ("c", "clear", "Clear the log")]
    TITLE = "World OS"

    def __init__(self, home: Home) -> None:
        super().__init__()
        self._home = home
        self._listening: Asking | None = None
        self.problem: WorldError | None = None

    def compose(self) -> ComposeResult:
        """Lay out the screen."""
        yield Static(id="head")
        with Vertical():
            yield Static("NODES", classes="title")
            yield DataTable(id="nodes", cursor_type="none", zebra_stripes=True)
            yield Static("LEASES", classes="title")
            yield DataTable(id="leases", cursor_type="none", zebra_stripes=True)
            yield Static("WHAT HAPPENS", classes="title")
            yield RichLog(id="log", max_lines=500, wrap=False)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look and to listen."""
        columns = ("node", "status", "way", "round trip", "cpu leased", "", "memory free", "load", "id")
        self.query_one("#nodes", DataTable).add_columns(*columns)
        self.query_one("#leases", DataTable).add_columns("", "what", "node", "program or holder", "memory", "cpu time")
        self.run_worker(self._look, thread=True, exclusive=False)
        self.run_worker(self._listen, thread=True, exclusive=False)

    def on_unmount(self) -> None:
        """Wake the thread that waits for something to happen: the process ends when it does."""
        if self._listening is not None:
            self._listening.close()

    def action_clear(self) -> None:
        """Empty the log."""
        self.query_one("#log", RichLog).clear()

    # -- in threads: they talk to the agent -----------------------------------------------------------------------------

    def _look(self) -> None:
        worker = get_current_worker()
        try:
            with Asking(self._home, "wos top") as agent:
                while not worker.is_cancelled:
                    found = {name: agent.ask(name) for name in ("status", "nodes", "leases")}
                    self.call_from_thread(self._paint, found)
                    time.sleep(EVERY_S)
        except WorldError as error:
            self.problem = error
            with contextlib.suppress(RuntimeError):
                self.call_from_thread(self.exit)

    def _listen(self) -> None:
        worker = get_current_worker()
        with contextlib.suppress(WorldError, RuntimeError), Asking(self._home, "wos top") as agent:
            self._listening = agent
            if worker.is_cancelled:
                return
            for line in agent.ask("log", lines=20):
                self.call_from_thread(self._happened, line["at_ns"], line["name"], line["fields"])
            for notice in agent.watch():
                now_ns = int(datetime.datetime.now(tz=datetime.UTC).timestamp() * NS)
                self.call_from_thread(self._happened, now_ns, notice.name, dict(notice.fields))

    # -- on the screen ----------------------------------------------------------------------------------------------------

    def _paint(self, found: dict[str, Any]) -> None:
        if not self.query("#leases"):  # the screen is being taken down
            return
        about, nodes, leases = found["status"], found["nodes"], found["leases"]
        names = {row["node"]: row["name"] for row in nodes}
        alive = sum(row["status"] == "alive" for row in nodes)
        cores = sum(row["cpu_capacity"] for row in nodes if row["status"] == "alive")
        lent = cores - sum(row["cpu_free"] for row in nodes if row["status"] == "alive")
        self.query_one("#head", Static).update(
            Text.assemble(
                ("World OS ", "bold"),
                f" {about['name']}   {alive} of {len(nodes)} nodes   {lent / 1000:g} of {cores / 1000:g} cores leased"
                f"   {about['leases_granted']} leases granted here, {about['leases_held']} held   up {about['up_s']} s",
            )
        )
        table = self.query_one("#nodes", DataTable)
        table.clear()
        for row in nodes:
            table.add_row(*_node_cells(row))
        table = self.query_one("#leases", DataTable)
        table.clear()
        for lease in leases["granted"]:
            who = names.get(lease["holder"], lease["holder"][:8])
            memory, cpu_s = show_bytes(lease.get("memory_bytes", 0) or 1), lease.get("cpu_ns", 0) / NS
            table.add_row("granted", show(lease["kind"], lease["amount"]), "here", who, memory, f"{cpu_s:.1f} s")
        for lease in leases["held"]:
            node = names.get(lease["node"], lease["node"][:8])
            mark = Text("held, silent", "yellow") if lease["doubted"] else "held"
            table.add_row(mark, show(lease["kind"], lease["amount"]), node, lease["program"][-40:], "", "")

    def _happened(self, at_ns: int, name: str, fields: dict[str, Any]) -> None:
        if not self.query("#log"):
            return
        moment = datetime.datetime.fromtimestamp(at_ns / NS, tz=datetime.UTC).astimezone().strftime("%H:%M:%S")
        text = "  ".join(f"{key}={str(value)[:12]}" for key, value in fields.items())
        self.query_one("#log", RichLog).write(Text.assemble((moment, "dim"), "  ", (f"{name:<16}", "bold"), " ", text))


def run_top(home: Home) -> None:
    """Show the picture until q is pressed; raise what ended it, if not the user."""
    with Asking(home):  # no agent: say so before the screen is taken
        pass
    top = Top(home)
    top.run()
    if top.problem is not None:
        raise top.problem


def _node_cells(row: dict[str, Any]) -> tuple[Text | str, ...]:
    capacity, free = row["cpu_capacity"], row["cpu_free"]
    lent = capacity - free if row["status"] == "alive" else 0
    cells = round(BAR_CELLS * lent / capacity) if capacity else 0
    load = row["facts"].get("load_percent")
    return (
        Text(row["name"], "bold" if row["here"] else ""),
        Text(row["status"], STATUS_STYLE.get(row["status"], "")),
        row["via"][:10],
        f"{row['rtt_us'] / 1000:.1f} ms" if row["rtt_us"] else "",
        f"{lent / 1000:g} of {capacity / 1000:g}",
        Text("█" * cells, "cyan") + Text("░" * (BAR_CELLS - cells), "dim"),
        show_bytes(row["memory_free"]) if row["memory_free"] else "",
        f"{load} %" if load is not None else "",
        row["node"][:8],
    )
