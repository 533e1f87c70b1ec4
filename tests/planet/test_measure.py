"""Measuring the real kernel: everything that the model asks for is there, and has a sane size."""

from __future__ import annotations

from worldos.planet import centers, measure, parameters


def test_what_is_kept_has_all_that_a_center_is_worked_out_from() -> None:
    kept = parameters.load()
    load = centers.center(185, kept, load=centers.BUSY)
    assert 0 < load.core_share < 0.25
    assert load.memory_bytes < 1e9


def test_measured_anew_it_is_of_the_same_kind() -> None:
    kept = parameters.load()
    coded, served, asked = measure.coding(), measure.serving(), measure.asking()
    for name, ns in (coded | served | asked).items():
        assert kept.cpu_ns[name] / 20 < ns < kept.cpu_ns[name] * 20 + 10_000, name


def test_the_memory_of_a_child_is_that_of_its_contacts_and_its_summary() -> None:
    kept = parameters.load().memory_bytes
    assert kept["a child, three contacts"] < kept["a child, eight contacts"] < 50_000


def test_this_machine_offers_something() -> None:
    offer = measure.offer_here()
    assert {resource.kind for resource in offer.resources} >= {"CPU", "Memory"}
