"""Processes that are started, measured and ended, for benchmarks and for tests."""
