"""Sites of several accounts under one parent realm, each on its own network, with long lines between them.

    with Tree() as tree:                          # acme over the sites p (its one node founded acme), a, b, c of three nodes
        tree.site("a").cut()                      # nobody outside hears it, nor it them; all inside is well
        tree.one_tree()                           # wait until all agree on all centers, and every site is registered

Every site has a gateway, which no node runs on, and the gateways meet at one router. So a line can be cut without a node being
told, in both directions or in one. All is done by the real commands, but for what is asked again and again.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.e2e.delay import Line
from tests.e2e.lab import Lab, LabError, until
from tests.e2e.realm import COMMAND_S, READY_S, Machine, all_linked, end, no_leases, ticket_of

from worldos.errors import WorldError

PROGRAM = Path(__file__).with_name("realms_program.py")
ROUTER = "router"
SITES = {"p": 1, "a": 3, "b": 3, "c": 3}
DELAY_MS = 3.0
TREE_S = 40.0
SECOND = 1_000_000_000

Row = dict[str, Any]


class Site:
    """The machines of one account, their gateway, and the line from there to the router."""

    def __init__(self, name: str, number: int, machines: list[Machine]) -> None:
        self.name = name
        self.subnet = f"10.{number}.0"
        self.machines = machines
        self.gateway = f"gate-{name}"
        self.line: Line
        self.line_device = ""
        self._one_way = False

    @property
    def lab(self) -> Lab:
        """Where it is."""
        return self.machines[0].lab

    @property
    def nodes(self) -> set[str]:
        """The ids of its nodes."""
        return {machine.node for machine in self.machines}

    def cut(self) -> int:
        """Let nothing in or out, silently; return the moment."""
        at_ns = time.monotonic_ns()
        self.line.set(cut=True)
        return at_ns

    def cut_one_way(self, way: str) -> int:
        """Let nothing ``in``, or nothing ``out``: the other direction goes on."""
        at_ns = time.monotonic_ns()
        rule = "iifname" if way == "in" else "oifname"
        self.lab.host(self.gateway).holder.do(
            "nft -f - <<'END'",
            "table inet oneway {",
            "chain passing {",
            "type filter hook forward priority 0; policy accept;",
            f'{rule} "{self.line_device}" drop',
            "}",
            "}",
            "END",
        )
        self._one_way = True
        return at_ns

    def heal(self) -> int:
        """Let all through again; return the moment."""
        self.line.set(cut=False)
        if self._one_way:
            self._one_way = False
            self.lab.host(self.gateway).holder.do("nft delete table inet oneway")
        return time.monotonic_ns()

    def row(self, realm: str = "") -> Row:
        """What the site's nodes say of the site (or of another realm): the first that runs and answers."""
        found: list[Row] = []

        def said() -> bool:
            for machine in self.machines:
                with contextlib.suppress(WorldError, OSError):
                    found[:] = [row for row in machine.tell("realm_tree") if row["name"] == (realm or self.name)]
                if found:
                    return True
            return False

        until(said, READY_S, f"a node of {self.name} says who is the center of {realm or self.name}")
        return found[0]

    def primary(self) -> Machine:
        """The machine that the site says is its center, as soon as it says one."""
        found: list[Machine] = []

        def said() -> bool:
            node = self.row()["primary"]
            found[:] = [machine for machine in self.machines if machine.node == node]
            return bool(found)

        until(said, READY_S, f"{self.name} has a center")
        return found[0]


class Tree:
    """A parent realm and the sites below it, up and joined, while the ``with`` block runs."""

    def __init__(self, sites: dict[str, int] | None = None, *, top: str = "acme", delay_ms: float = DELAY_MS) -> None:
        self.lab = Lab()
        self.top = top
        self._sizes = SITES if sites is None else sites
        self._delay_ms = delay_ms
        self.sites: dict[str, Site] = {}
        self.programs: list[Program] = []
        self.said: dict[str, str] = {}

    @property
    def machines(self) -> list[Machine]:
        """All machines of all sites."""
        return [machine for site in self.sites.values() for machine in site.machines]

    def site(self, name: str) -> Site:
        """The site of that name."""
        return self.sites[name]

    def machine(self, name: str) -> Machine:
        """The machine of that name: a1 is the first of site a."""
        return next(machine for machine in self.machines if machine.name == name)

    def site_of(self, machine: Machine) -> Site:
        """The site to which a machine belongs."""
        return next(site for site in self.sites.values() if machine in site.machines)

    def of_node(self, node: str) -> Machine:
        """The machine on which this node runs."""
        return next(machine for machine in self.machines if machine.node == node)

    # -- building -------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Tree:
        self.lab.__enter__()
        try:
            self._lay()
            self._start()
        except BaseException:
            self.lab.__exit__()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.heal()
                for program in self.programs:
                    program.kill()
                end(self.lab, self.machines)
        finally:
            self.lab.__exit__()

    def _lay(self) -> None:
        for number, (name, size) in enumerate(self._sizes.items(), 1):
            lay_site(self, name, number, size)

    def _start(self) -> None:
        with ThreadPoolExecutor(len(self.sites)) as pool:
            list(pool.map(start_site, self.sites.values()))
        first = next(iter(self.sites.values()))
        first.machines[0].wos("realm", "create", self.top, "--level", "group")
        below = [site.machines[0] for site in list(self.sites.values())[1:]]
        inviting = [first.machines[0].start("realm", "invite", self.top, "--plain") for _ in below]
        joining = [m.start("realm", "join", ticket_of(i), "--yes") for m, i in zip(below, inviting, strict=True)]
        for run in (*joining, *inviting):
            if run.wait(COMMAND_S):
                raise LabError(f"a site did not join {self.top}:\n{run.said()}")
        self.one_tree()

    # -- what there is --------------------------------------------------------------------------------------------------

    def top_row(self) -> Row:
        """The top realm as its primary shows it, as soon as one node alone is it."""
        leading: list[Row] = []

        def one() -> bool:
            shown = [row for machine in self._awake() for row in self._tree_of(machine) if row["name"] == self.top]
            leading[:] = [row for row in shown if row["leads"]]
            return len(leading) == 1

        until(one, READY_S, f"one node leads {self.top}")
        return leading[0]

    def top_primary(self) -> Machine:
        """The machine that leads the top realm."""
        return self.of_node(self.top_row()["primary"])

    def _awake(self) -> list[Machine]:
        return [machine for machine in self.machines if machine.running and not machine._asleep]

    def _tree_of(self, machine: Machine) -> list[Row]:
        try:
            rows: list[Row] = machine.tell("realm_tree")
        except (WorldError, OSError):
            return []
        return rows

    def disagreement(self) -> str:
        """Say what is not as in one healthy tree, or nothing."""
        rows = {machine.name: self._tree_of(machine) for machine in self._awake()}
        return disagreement(rows, self.top, {name: site for name, site in self.sites.items() if _any_awake(site)})

    def one_tree(self, within_s: float = TREE_S) -> float:
        """Wait until there is one tree: every realm has one legitimate center, and all are registered. Return how long (s)."""
        began = time.monotonic()
        last = ""

        def agreed() -> bool:
            nonlocal last
            last = self.disagreement()
            return not last

        try:
            until(agreed, within_s, "one tree")
        except LabError:
            raise LabError(f"no one tree within {within_s} s: {last}\n{self.describe()}") from None
        return time.monotonic() - began

    def councils(self, size: int, within_s: float = TREE_S) -> None:
        """Wait until the councils of the top and of each site of three have grown to this size."""

        def sizes() -> dict[str, int]:
            found = {self.top: self.top_primary().tell("realm_show", path=self.top)["voters"]}
            for site in self.sites.values():
                if len(site.machines) >= size:
                    found[site.name] = site.primary().tell("realm_show", path=site.name)["voters"]
            return found

        last: dict[str, int] = {}

        def grown() -> bool:
            with contextlib.suppress(LabError, WorldError):
                last.update(sizes())
            return bool(last) and min(last.values()) >= size

        until(grown, within_s, f"councils of {size}: {last}")

    def describe(self) -> str:
        """Every machine's view of the realms, for a failure's message."""
        lines = []
        for machine in self.machines:
            rows = self._tree_of(machine) if machine.running and not machine._asleep else []
            state = "" if rows else " (down, asleep, or knows nothing)"
            lines.append(f"{machine.name}{state}")
            lines += [f"    {shown(row)}" for row in rows]
        return "\n".join(lines)

    # -- mending --------------------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Mend every line, wake who sleeps, start who is down."""
        self.lab.heal()
        for site in self.sites.values():
            site.heal()
        for machine in self.machines:
            machine.wake()
        for machine in self.machines:
            if not machine.running:
                machine.wos("up")

    def well(self) -> None:
        """Wait until all is as at the beginning."""
        self.heal()
        for program in self.programs:
            program.kill()
        self.programs.clear()
        for site in self.sites.values():
            all_linked(site.machines, READY_S)
        self.one_tree()
        no_leases(self.machines, 30)

    # -- load -----------------------------------------------------------------------------------------------------------

    def program(self, machine: Machine, **options: Any) -> Program:
        """Start ``realms_program.py`` on a machine."""
        program = Program(machine, options)
        self.programs.append(program)
        return program


def lay_site(tree: Tree, name: str, number: int, size: int, *guests: str) -> Site:
    """Make the hosts of a site, its gateway, and the line from there to the router of the lab; ``guests`` are hosts too."""
    lab = tree.lab
    site = Site(name, number, [])
    names = [f"{name}{each}" for each in range(1, size + 1)]
    lab.site(f"lan-{name}", site.subnet, [*names, site.gateway, *guests])
    site.machines = [Machine(lab, each) for each in names]
    site.line = lab.wan(site.gateway, ROUTER, delay_ms=tree._delay_ms)
    site.line_device, far = site.line.devices
    router = lab.host(ROUTER)
    lab.gateway(site.gateway, site=f"lan-{name}", to="10.0.0.0/8", via=router.addresses[far])
    gate = lab.host(site.gateway).addresses[site.line_device]
    router.holder.do("echo 1 > /proc/sys/net/ipv4/ip_forward", f"ip route replace {site.subnet}.0/24 via {gate}")
    tree.sites[name] = site
    return site


def start_site(site: Site) -> None:
    """Begin an account on the first machine, and let the others join it."""
    first, *others = site.machines
    first.home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    first.home.config_file.write_text(f'realm = "{site.name}"\n')
    first.up()
    inviting = [first.start("invite", "--yes", "--plain") for _ in others]
    joining = [machine.joining(ticket_of(each)) for machine, each in zip(others, inviting, strict=True)]
    for machine, each in zip(others, joining, strict=True):
        machine.joined(each)
    for each in inviting:
        assert each.wait(10) == 0, each.said()
    all_linked(site.machines, READY_S)


def join_realm(above: Machine, below: Machine, parent: str, *words: str) -> None:
    """Put the realm of one machine below one of another machine's, as two people would."""
    inviting = above.start("realm", "invite", parent, "--plain")
    below.wos("realm", "join", ticket_of(inviting), "--yes", *words)
    assert inviting.wait(COMMAND_S) == 0, inviting.said()


def disagreement(rows: dict[str, list[Row]], top: str, sites: dict[str, Site]) -> str:
    """Say what is not as in one healthy tree under ``top``, by what each machine says; nothing if it is one."""
    for site in sites.values():
        views = [row for machine in site.machines for row in rows.get(machine.name, []) if row["name"] == site.name]
        if len(views) < sum(bool(rows.get(machine.name)) for machine in site.machines) or not views:
            return f"a node of {site.name} knows no center of it"
        if any(view["provisional"] for view in views):
            return f"{site.name} is an island"
        if len({(view["primary"], view["epoch"]) for view in views}) != 1:
            return f"{site.name} is not agreed on its center"
        if any(view["path"] != f"{top}/{site.name}" for view in views):
            return f"{site.name} is at {', '.join(sorted({view['path'] for view in views}))}"
    leading = [row for each in rows.values() for row in each if row["name"] == top and row["leads"]]
    if len(leading) != 1 or leading[0]["provisional"]:
        return f"{len(leading)} lead {top}: {[shown(row) for row in leading]}"
    leader = next(each for each in rows.values() if leading[0] in each)
    below = {row["name"]: row for row in leader if row["parent"] == leading[0]["realm"]}
    for site in sites.values():
        said = next(row for machine in site.machines for row in rows.get(machine.name, []) if row["name"] == site.name)
        if site.name not in below or below[site.name]["primary"] != said["primary"]:
            return f"{site.name} is not registered with {top}"
        leads = [rows[m.name] for m in site.machines if any(r["mine"] and r["leads"] for r in rows.get(m.name, []))]
        above = [row for each in leads for row in each if row["name"] == top]  # others are not told
        if any((row["primary"], row["epoch"]) != (leading[0]["primary"], leading[0]["epoch"]) for row in above):
            return f"{site.name} has another idea of the center of {top}"
    return ""


def _any_awake(site: Site) -> bool:
    return any(machine.running and not machine._asleep for machine in site.machines)


def shown(row: Row) -> str:
    """Say a row of the tree in a line."""
    stands = " provisional" if row["provisional"] else ""
    leads = " HERE" if row["leads"] else ""
    return f"{row['path']}: {row['primary_name'] or '-'} epoch {row['epoch']}{stands}{leads} heard {row['heard_s']}"


# -- programs ----------------------------------------------------------------------------------------------------------------


class Program:
    """A run of ``realms_program.py``, and what it wrote down."""

    def __init__(self, machine: Machine, options: dict[str, Any]) -> None:
        self.machine = machine
        words: list[str | Path] = [sys.executable, "-P", PROGRAM, json.dumps(options)]
        lab = machine.lab
        self.run = lab.run(machine.name, words, home=machine.home.path, env=machine._environ, stdin=subprocess.PIPE)

    def lines(self) -> list[Row]:
        """Every whole line so far."""
        text = self.run.text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def granted(self, within_s: float = 15.0) -> Row:
        """Wait for its first grant."""
        found: list[Row] = []

        def some() -> bool:
            found[:] = [line for line in self.lines() if line.get("granted_ns")]
            return bool(found)

        try:
            until(some, within_s, "a grant")
        except LabError as error:
            raise LabError(f"{error} for {self.machine.name}:\n{self.run.said()}") from None
        return found[0]

    def asks(self, since_ns: int = 0) -> list[Row]:
        """Each ask or call that began after a moment."""
        return [line for line in self.lines() if line.get("asked_ns", -1) >= since_ns]

    def served_s(self, since_ns: int) -> float | None:
        """How long after a moment the first ask that was made after it was served (a call where it holds)."""
        good = [line for line in self.asks(since_ns) if not line["error"]]
        return (min(line["ended_ns"] for line in good) - since_ns) / SECOND if good else None

    def wait_served(self, since_ns: int, within_s: float) -> float:
        """Wait until something that was asked after a moment was served; return how long after it."""
        try:
            until(lambda: self.served_s(since_ns) is not None, within_s, f"{self.machine.name} is served")
        except LabError as error:
            tail = [line.get("error") for line in self.lines()[-5:]]
            raise LabError(f"{error}; it heard: {tail}") from None
        return float(self.served_s(since_ns) or 0)

    def errors(self, since_ns: int = 0) -> list[str]:
        """What it was refused or lost."""
        return [line["error"] for line in self.lines() if line.get("error") and line.get("asked_ns", 0) >= since_ns]

    def leases(self) -> list[tuple[str, ...]]:
        """The leases it held, each set once, in order (``hold``)."""
        sets: list[tuple[str, ...]] = []
        for line in self.lines():
            if "leases" in line and (not sets or sets[-1] != tuple(line["leases"])):
                sets.append(tuple(line["leases"]))
        return sets

    def end(self, within_s: float = 30.0) -> list[Row]:
        """Let it end in good order; return all it wrote."""
        assert self.run.process.stdin is not None
        self.run.process.stdin.close()
        code = self.run.wait(within_s)
        assert code == 0, self.run.said()
        return self.lines()

    def kill(self) -> None:
        """End it at once."""
        if self.run.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.run.process.stdin.close()
        self.run.process.kill()
        self.run.process.wait(5)


def load(tree: Tree, sites: list[Site]) -> dict[str, Program]:
    """Start in each site a program that asks the own site, and one that asks the next of these sites; wait for both."""
    programs: dict[str, Program] = {}
    for number, site in enumerate(sites):
        other = sites[(number + 1) % len(sites)]
        programs[site.name] = tree.program(site.machines[-1], amount=0.5)
        if other is not site:
            programs[f"{site.name}>{other.name}"] = tree.program(
                site.machines[-1], amount=0.5, realm=f"acme/{other.name}"
            )
    for program in programs.values():
        program.granted()
    return programs


def shown_s(times_s: Sequence[float]) -> str:
    """Say some times."""
    return ", ".join(f"{each:.2f}" for each in times_s) + " s"


@contextlib.contextmanager
def tree_of(sites: dict[str, int] | None = None, **options: Any) -> Iterator[Tree]:
    """A tree whose councils have grown, and whose sites lend to each other."""
    with Tree(sites, **options) as tree:
        for site in tree.sites.values():
            site.machines[-1].wos("realm", "policy", "lend", "kin")
        tree.councils(3)
        yield tree
