"""What `test_example.py`, an example to copy, needs beside the product."""

from load.processes.ports import free_port
from tests.support.fakes import ROOT, eventually, process

__all__ = ["ROOT", "eventually", "free_port", "process"]
