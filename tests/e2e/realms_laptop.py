"""A laptop on two networks, one at a time: below ``home`` and ``office``, which are far from each other.

with laptop_tree() as (laptop, tree):       # it is at the office
    laptop.go("h")
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.e2e.lab import Lab, until
from tests.e2e.realm import Machine, end
from tests.e2e.realms import Site, Tree, join_realm, lay_site, start_site

FAR_MS = 15.0


class Laptop:
    """A machine on two networks, one at a time: its address is another in each, and so is its way to the other."""

    def __init__(self, lab: Lab, homes: dict[str, Site]) -> None:
        self.homes = homes
        self.machine = Machine(lab, "laptop")
        self._lab = lab

    def go(self, there: str) -> int:
        """Be in this network from now on; return the moment."""
        holder = self._lab.host("laptop").holder
        at_ns = time.monotonic_ns()
        gate = self._lab.host(self.homes[there].gateway).addresses[f"lan-{there}"]
        holder.do(
            *[f"ip link set lan-{name} down" for name in self.homes if name != there],
            f"ip link set lan-{there} up",
            f"ip route replace 10.0.0.0/8 via {gate}",
            f"ip route replace 224.0.0.0/4 dev lan-{there}",
        )
        return at_ns

    def way(self) -> str:
        """The path of its realm."""
        return next(str(row["path"]) for row in self.machine.tell("realm_tree") if row["mine"])


def begin(site: Site, name: str, level: str) -> None:
    """Begin a site, and a realm over it."""
    start_site(site)
    site.machines[0].wos("realm", "create", name, "--level", level)
    site.machines[0].wos("realm", "policy", "lend", "kin")


@contextlib.contextmanager
def laptop_tree() -> Iterator[tuple[Laptop, Tree]]:
    """A laptop below ``home`` (over site h) and ``office`` (over site o), 30 ms from each other; it is at the office."""
    tree = Tree({}, delay_ms=FAR_MS)
    with tree.lab as lab:
        homes = {name: lay_site(tree, name, number, 1, "laptop") for number, name in enumerate("ho", 1)}
        laptop = Laptop(lab, homes)
        laptop.go("o")
        machine = laptop.machine
        with ThreadPoolExecutor(3) as pool:
            begun = [
                pool.submit(begin, homes["h"], "home", "home"),
                pool.submit(begin, homes["o"], "office", "enterprise"),
            ]
            machine.node = machine.ask("up", "--name", "laptop", "--reachable")["status"]["node"]
            for each in begun:
                each.result()
        for site, name in ((homes["h"], "home"), (homes["o"], "office")):
            join_realm(site.machines[0], machine, name)
        until(lambda: laptop.way() == "office/laptop", 20, "the laptop is at the office")
        yield laptop, tree
        for program in tree.programs:
            program.kill()
        laptop.go("o")
        end(lab, [machine, *(site.machines[0] for site in homes.values())])
