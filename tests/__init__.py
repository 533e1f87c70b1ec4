"""The tests of World OS. They mirror src/worldos: src/worldos/kernel/leases.py has tests/kernel/test_leases.py."""
