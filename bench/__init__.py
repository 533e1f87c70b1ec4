"""Benchmarks: one question a file, us and the others in one run. See README.md."""
