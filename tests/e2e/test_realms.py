"""Realms as a person makes and uses them: create, invite, join, see, lend, leave; and what is refused, with a sentence.

REALMS_LONG=1 runs also what takes longer than CI has.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator

import pytest
from tests.e2e.lab import until
from tests.e2e.realm import COMMAND_S, Machine, no_leases, ticket_of
from tests.e2e.realms import SECOND, Tree
from tests.e2e.realms_watch import Watch
from tests.patience import patient_s

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

LONG = bool(os.environ.get("REALMS_LONG"))
SERVED_S = 8.0


@pytest.fixture(scope="module")
def tree() -> Iterator[Tree]:
    """acme over p, a and b of three nodes, all fresh: nobody lends to another account."""
    with Tree({"p": 1, "a": 1, "b": 3}) as tree:
        yield tree


def refused_to_join(above: Machine, below: Machine, parent: str, *words: str) -> str:
    """Use a ticket that must be refused; return the sentence."""
    inviting = above.start("realm", "invite", parent, "--plain")
    _, said = below.refused("realm", "join", ticket_of(inviting), "--yes", *words)
    inviting.process.kill()
    return said


def test_the_tree_is_shown_on_every_node(tree: Tree) -> None:
    for machine in tree.machines:
        rows = {row["path"]: row for row in machine.ask("realm", "tree")}
        site = rows[f"acme/{machine.name[0]}"]
        assert site["mine"]
        assert site["primary_name"] == f"{machine.name[0]}1"
        assert rows["acme"]["primary_name"] == ("p1" if site["leads"] else "")
    drawn = tree.machine("p1").wos("realm", "tree").splitlines()
    assert [line.split()[-8 if "here" in line else 0] for line in drawn[:1]] == ["LEVEL"]
    assert [line.strip("├└─ ").split()[0] for line in drawn[1:5]] == ["acme", "a", "b", "p"]
    shown = tree.machine("p1").ask("realm", "show", "acme")
    assert shown["level"] == "group"
    assert {child["name"] for child in shown["children"]} == {"p", "a", "b"}
    assert tree.machine("a1").ask("realm", "show", "acme/a")["parents"] == ["acme"]
    assert "this node for acme/a" in tree.machine("a1").wos("status")


def test_a_need_goes_where_it_is_lent_and_the_refusal_says_so(tree: Tree) -> None:
    a, b = tree.machine("a1"), tree.machine("b1")
    asking = tree.program(a, amount=1, realm="acme/b")
    until(asking.errors, SERVED_S, "it is refused")
    print(asking.errors()[0])
    assert asking.errors()[0].startswith("NoCapacity: ")
    assert "lends to its own account only" in asking.errors()[0]
    b.wos("realm", "policy", "lend", "kin")
    assert b.ask("realm", "policy")["policy"]["lend"] == "kin"
    asking.wait_served(time.monotonic_ns(), SERVED_S)
    assert set(asking.granted()["nodes"]) <= tree.site("b").nodes
    full = tree.program(a, mode="hold", amount=2)
    assert full.granted()["nodes"] == [a.node]
    more = tree.program(a, amount=1)
    assert set(more.granted()["nodes"]) <= tree.site("b").nodes, "the site is full: the next realm that lends takes it"
    b.wos("realm", "policy", "lend", "own")
    lent_ns = time.monotonic_ns()
    until(lambda: asking.errors(lent_ns), SERVED_S, "it is refused again")
    for program in (asking, more, full):
        program.end()
    no_leases(tree.machines)


def test_two_realms_of_one_name_are_not_below_one_parent(tree: Tree) -> None:
    b = tree.machine("b1")
    b.wos("realm", "create", "a", "--level", "home")
    said = refused_to_join(tree.machine("p1"), b, "acme", "--realm", "a")
    print(said)
    assert "taken" in said or "another" in said
    b.wos("realm", "leave", "a", "--yes")
    tree.one_tree()


def test_a_loop_of_parents_is_refused(tree: Tree) -> None:
    p = tree.machine("p1")
    p.wos("realm", "create", "earth", "--level", "planet")
    assert p.ask("realm", "show", "acme")["path"] == "earth/acme"
    for realm, why in (("earth", "loop: acme is below earth"), ("acme", "not below itself")):
        said = refused_to_join(p, p, "acme", "--realm", realm)
        print(said)
        assert why in said
    assert p.ask("realm", "show", "earth")["path"] == "earth"
    p.wos("realm", "leave", "earth", "--yes")
    tree.one_tree()


def test_a_parent_that_never_answers_leaves_its_sites_working(tree: Tree) -> None:
    p, a = tree.machine("p1"), tree.machine("a1")
    asking = tree.program(a, amount=1)
    asking.granted()
    p.sleep()
    at_ns = time.monotonic_ns()
    time.sleep(4)
    until(lambda: asking.asks(at_ns + 3 * SECOND), 5, "it is served all the time")
    assert not asking.errors()
    assert max(line["granted_ns"] - line["asked_ns"] for line in asking.asks(at_ns)) < patient_s(2) * SECOND
    rows = a.ask("realm", "tree")
    assert next(row for row in rows if row["mine"])["leads"]
    said = a.refused("run", "--where", "cores > 1000", "--", "true")[1]
    print(said)
    p.wake()
    print(f"one tree again after {tree.one_tree():.2f} s")
    asking.end()


def test_a_site_leaves_and_comes_back(tree: Tree) -> None:
    p, b = tree.machine("p1"), tree.machine("b1")
    assert b.ask("realm", "leave", "--yes")["left"] == "acme"
    until(lambda: "b" not in {c["name"] for c in p.ask("realm", "show", "acme")["children"]}, 10, "b is gone")
    until(lambda: next(row for row in b.ask("realm", "tree") if row["mine"])["path"] == "b", 10, "b knows it too")
    inviting = p.start("realm", "invite", "--plain")
    ticket = ticket_of(inviting)
    _, said = b.refused("realm", "join", ticket + "x", "--yes")
    print(said)
    b.wos("realm", "join", ticket, "--yes")
    assert inviting.wait(COMMAND_S) == 0, inviting.said()
    _, said = b.refused("realm", "join", ticket, "--yes")
    print(said)
    tree.one_tree()


def test_a_seat_from_an_old_backup_is_named_and_harmless(tree: Tree) -> None:
    site = tree.site("b")
    until(lambda: site.primary().tell("realm_show", path="b")["voters"] == 3, 30, "a council of three")
    old = next(machine for machine in site.machines if machine is not site.primary())
    others = [machine for machine in site.machines if machine is not old]
    with Watch(tree) as watch:
        old.wos("down")
        backup = tree.lab.folder / "backup"
        shutil.copytree(old.home.council_folder, backup)
        old.wos("up")
        tree.one_tree()
        for value in ("kin", "own", "kin"):
            others[0].wos("realm", "policy", "lend", value)
        old.wos("down")
        shutil.rmtree(old.home.council_folder)
        shutil.copytree(backup, old.home.council_folder)
        old.wos("up")
        named = [line for line in old.tell("log", lines=500) if line["name"] == "council seat damaged"]
        assert named, "it is named in wos log"
        print(named[-1]["fields"]["why"])
        tree.one_tree()
        until(
            lambda: any(line["name"] == "council seat mended" for line in old.tell("log", lines=500)),
            20,
            "it is mended",
        )
        assert old.ask("realm", "policy")["policy"]["lend"] == "kin", "it has caught up"
        victim = site.primary()
        victim.kill()
        until(lambda: site.row()["primary"] != victim.node, 10, "the mended seat helps to elect")
        victim.wos("up")
        print(f"one tree again after {tree.one_tree():.2f} s")
    watch.judge()


@pytest.mark.skipif(not LONG, reason="takes a minute: REALMS_LONG=1")
def test_a_node_that_comes_back_after_long_catches_up(tree: Tree) -> None:
    site = tree.site("b")
    away = next(machine for machine in site.machines if machine is not site.primary())
    others = [machine for machine in site.machines if machine is not away]
    with Watch(tree) as watch:
        epoch = site.row()["epoch"]
        away.wos("down")
        for value in ("own", "kin") * 3:
            others[0].wos("realm", "policy", "lend", value)
        others[0].wos("down")
        others[0].wos("up")
        until(lambda: site.row()["primary"], 10, "they have a primary")
        for machine in others:  # each of both leads a while: nobody is left who knew the old epoch
            machine.kill()
            machine.wos("up")
            until(lambda: others[0].tell("realm_tree") and others[1].tell("realm_tree"), 10, "they run")
            until(lambda: not site.row()["provisional"] and site.row()["primary"] != "", 20, "they have a primary")
        away.wos("up")
        print(f"one tree again {tree.one_tree():.2f} s after it came back")
        assert away.ask("realm", "policy")["policy"]["lend"] == "kin"
        row = next(row for row in away.tell("realm_tree") if row["mine"])
        assert row["epoch"] > epoch
    watch.judge()
