"""The simulator: the other shell. One seed, one thread, many nodes, all faults; it drives the same ``node.py`` as the agent."""
