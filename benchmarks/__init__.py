"""Benchmarks that anybody can run: `python -m benchmarks.NAME [--check]`."""
