"""Jobs: work that waits in line, as people and programs submit it, and the runner that brings each attempt to a lease."""
