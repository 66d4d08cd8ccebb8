"""`python -m coordinator.cli`"""

from coordinator.cli.commands import cli

if __name__ == "__main__":
    cli()
