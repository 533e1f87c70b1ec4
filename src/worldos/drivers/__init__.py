"""Drivers: what a machine has, what of it is free, and how the lane behind a lease of it is staffed.

One module a kind, each the same small Protocol (driver.py), found by the entry point group ``worldos.drivers``. All
reads of the machine go through a ``Machine`` (machine.py), so a test can point them at a captured tree.
"""
