"""``wos top``: the nodes, what is used of them, leases, jobs, queues and loans, and what happens, live."""

from __future__ import annotations

import contextlib
import datetime
import time
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import DataTable, Footer, RichLog, Static
from textual.worker import get_current_worker

from worldos.config import Home
from worldos.errors import WorldError
from worldos.model.units import show, show_bytes
from worldos.sdk.asking import Asking
from worldos.tui import work

EVERY_S = 0.5
WORK_EVERY_S = 1.0
BAR_CELLS = 12
STATUS_STYLE = {"alive": "green", "suspect": "yellow", "offline": "red", "dead": "red", "left": "dim"}
NS = 1_000_000_000


class Top(App[None]):
    """The live picture of one agent's view."""

    CSS = """
    Screen { background: $background; }
    #head { height: 1; padding: 0 1; background: $primary-background; }
    .title { height: 1; padding: 0 1; color: $text-muted; text-style: bold; }
    DataTable { height: auto; max-height: 14; overflow-x: hidden; background: $background; }
    #leases, #jobs, #queues, #lent { max-height: 14; }
    .title.problem { color: $warning; }
    RichLog { height: 1fr; min-height: 4; padding: 0 1; background: $background; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("q", "quit", "End"), ("c", "clear", "Clear the log")]
    TITLE = "World OS"

    def __init__(self, home: Home) -> None:
        super().__init__()
        self._home = home
        self._watching: list[Asking] = []  # conversations whose thread may wait for long
        self.problem: WorldError | None = None

    def compose(self) -> ComposeResult:
        """Lay out the screen."""
        yield Static(id="head")
        with VerticalScroll():
            yield Static("NODES", classes="title")
            yield DataTable(id="nodes", cursor_type="none", zebra_stripes=True)
            yield Static("LEASES", classes="title")
            yield DataTable(id="leases", cursor_type="none", zebra_stripes=True)
            for name in ("jobs", "queues", "lent"):
                yield Static(name.upper(), id=f"{name}-title", classes="title")
                yield DataTable(id=name, cursor_type="none", zebra_stripes=True)
            yield Static("WHAT HAPPENS", classes="title")
            yield RichLog(id="log", max_lines=500, wrap=False)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look and to listen."""
        columns = ("node", "status", "way", "round trip", "cpu leased", "", "memory free", "load", "id")
        self.query_one("#nodes", DataTable).add_columns(*columns)
        self.query_one("#leases", DataTable).add_columns("", "what", "node", "program or holder", "memory", "cpu time")
        for name, titles in (("jobs", work.JOBS), ("queues", work.QUEUES), ("lent", work.LENT)):
            self.query_one(f"#{name}", DataTable).add_columns(*titles)
            self._fill(name, "", [])
        self.run_worker(self._look, thread=True, exclusive=False)
        self.run_worker(self._look_at_work, thread=True, exclusive=False)
        self.run_worker(self._listen, thread=True, exclusive=False)

    def on_unmount(self) -> None:
        """Wake the threads that wait for something: the process ends when they do."""
        for agent in self._watching:
            agent.close()

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

    def _look_at_work(self) -> None:
        """Look at the line by itself: its answer may take long while its keepers cannot be reached."""
        worker = get_current_worker()
        with contextlib.suppress(WorldError, RuntimeError), Asking(self._home, "wos top") as agent:
            self._watching.append(agent)
            while not worker.is_cancelled:
                self.call_from_thread(self._paint_work, work.see(agent))
                time.sleep(WORK_EVERY_S)

    def _listen(self) -> None:
        worker = get_current_worker()
        with contextlib.suppress(WorldError, RuntimeError), Asking(self._home, "wos top") as agent:
            self._watching.append(agent)
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
            table.add_row("granted", show(lease["kind"], lease["amount"]), "here", Text(who), memory, f"{cpu_s:.1f} s")
        for lease in leases["held"]:
            node = names.get(lease["node"], lease["node"][:8])
            mark = Text("held, silent", "yellow") if lease["doubted"] else "held"
            program = Text(lease["program"][-40:])
            table.add_row(mark, show(lease["kind"], lease["amount"]), Text(node), program, "", "")

    def _paint_work(self, seen: work.Seen) -> None:
        if not self.query("#lent"):
            return
        at_ms = work.now_ms()
        jobs = work.shown(seen.jobs, at_ms)
        more = f"   {len(jobs) - work.ROWS_MAX} more: wos jobs" if len(jobs) > work.ROWS_MAX else ""
        problem = f"JOBS: {seen.problem}" if seen.problem else ""
        self._fill("jobs", problem or f"JOBS{more}", [work.job_cells(job, at_ms) for job in jobs[: work.ROWS_MAX]])
        self.query_one("#jobs-title").set_class(bool(problem), "problem")
        self.query_one("#jobs-title").display = bool(problem or jobs)
        queues = [work.queue_cells(row, at_ms) for row in seen.queues[: work.ROWS_MAX]]
        self._fill("queues", "QUEUES", queues)
        title = work.lent_title(seen.lend)
        self._fill("lent", title, [work.guest_cells(row) for row in seen.lend.get("guests", ())])
        self.query_one("#lent-title").display = bool(title)

    def _fill(self, name: str, title: str, rows: list[work.Cells]) -> None:
        """Draw a table that is there only while it has rows."""
        table, head = self.query_one(f"#{name}", DataTable), self.query_one(f"#{name}-title", Static)
        head.update(Text(title))
        head.display = table.display = bool(rows)
        table.clear()
        for row in rows:
            table.add_row(
                *(Text(cell) if isinstance(cell, str) else cell for cell in row)
            )  # others' words are no markup

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
