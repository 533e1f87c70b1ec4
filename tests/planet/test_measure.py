"""Measuring the real kernel: everything that the model asks for is there, and has a sane size."""

from __future__ import annotations

from worldos.planet import centers, measure, parameters


def test_what_is_kept_has_all_that_a_center_is_worked_out_from() -> None:
    kept = parameters.load()
    load = centers.center(185, kept, load=centers.BUSY)
    assert 0 < load.core_share < 0.25
    assert load.memory_bytes < 1e9


def test_measured_anew_it_is_the_same_things() -> None:
    """How long they take is not asked: the machine may be busy."""
    kept = parameters.load()
    anew = measure.coding() | measure.asking() | measure.handling(seconds=3)
    assert anew.keys() <= kept.cpu_ns.keys()
    assert all(ns >= 0 for ns in anew.values())


def test_the_memory_of_a_child_is_that_of_its_contacts_and_its_summary() -> None:
    kept = parameters.load().memory_bytes
    assert kept["a child, three contacts"] < kept["a child, eight contacts"] < 50_000


def test_this_machine_offers_something() -> None:
    offer = measure.offer_here()
    assert {resource.kind for resource in offer.resources} >= {"CPU", "Memory"}
