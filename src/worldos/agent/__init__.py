"""The real shell: drives ``node.py`` with the machine's own clock, links, disks and processes."""
