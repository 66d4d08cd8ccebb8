"""`python -m coordinator.cli`"""

import gc

from coordinator.cli.commands import cli

if __name__ == "__main__":
    gc.set_threshold(50_000)  # imports leave no garbage: looking for it was a tenth of the start of `ask`
    cli()
