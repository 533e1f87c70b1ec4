"""A model of the control plane from 10^2 to 10^8 nodes: what it sends, holds and waits for, by arithmetic.

The model knows the kernel's rules (how often who says what to whom) and takes everything that has a size from the
real thing: bytes by encoding real messages (``sizes``), periods from the limits of the floors below, time and memory
by measuring the real kernel (``measure``, kept in ``parameters.json``). Where the simulator can go, it is checked
against it (``simulated``); where it cannot, it is arithmetic over columns with a row per *site*, never per node.
``python -m worldos.planet`` runs all of it and writes what ``docs/planet.md`` shows. Nothing imports this room. Needs
numpy (``worldos[index]``).
"""
