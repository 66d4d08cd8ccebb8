"""`python -m coordinator.cli`, or the command that MUSTER_NAME names."""

import gc
import os
import sys

from coordinator.cli.commands import cli

if __name__ == "__main__":
    gc.set_threshold(50_000)  # imports leave no garbage: looking for it was a tenth of the start of `ask`
    sys.modules["httpx._main"] = None  # type: ignore[assignment]  # not there: httpx's own command line, 0.02 s more
    cli(prog_name=os.environ.get("MUSTER_NAME"))
