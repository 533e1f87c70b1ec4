"""Trees: every site under one realm, every realm under one higher, one at the top."""

from __future__ import annotations

from random import Random

import pytest

from worldos.sim.tree import TOP, Tree, even_tree, tree_by_chance


def check(tree: Tree, nodes: int, levels: int) -> None:
    assert sum(plan.size for plan in tree.sites) == nodes
    assert sorted(site for plan in tree.realms for site in plan.sites) == list(range(len(tree.sites)))
    assert [plan.parent for plan in tree.realms].count(TOP) == 1
    assert len({plan.level for plan in tree.realms}) == levels - 1
    for number, plan in enumerate(tree.realms):
        if plan.parent != TOP:
            assert plan.parent < number
            assert tree.realms[plan.parent].level == plan.level + 1
        assert plan.sites or any(other.parent == number for other in tree.realms)


@pytest.mark.parametrize("levels", [2, 3, 4, 5])
def test_a_tree_by_chance_holds_all_machines_under_one_top(levels: int) -> None:
    for seed in range(20):
        check(tree_by_chance(50, levels, Random(seed)), 50, levels)


def test_the_planet_has_a_handful_of_children_under_each_realm() -> None:
    tree = even_tree(1000, 10, 6, 5, Random(1))
    check(tree, 10_000, 5)
    children = [len(plan.sites) or sum(o.parent == n for o in tree.realms) for n, plan in enumerate(tree.realms)]
    assert max(children) <= 8


def test_sites_of_one_realm_lie_nearer_than_those_of_others() -> None:
    tree = even_tree(100, 1, 5, 4, Random(2))
    first = tree.realms[-1].sites
    assert len(first) > 1
    assert all(abs(tree.sites[a].place.east_us - tree.sites[b].place.east_us) <= 1000 for a in first for b in first)
