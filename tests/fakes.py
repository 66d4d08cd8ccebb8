"""What `test_example.py`, an example to copy, needs beside the product."""

from tests.support.fakes import ROOT, eventually, free_port, process

__all__ = ["ROOT", "eventually", "free_port", "process"]
