"""Benchmarks. Each module and each package with a `__main__` is a command: `python -m load.tasks`."""
