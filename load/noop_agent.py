"""`python -m load.noop_agent`: agents that do nothing, as one process."""

from __future__ import annotations

import argparse

from load.agents import noop
from load.agents.noop import Noop, serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m load.noop_agent", description=noop.__doc__)
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    parser.add_argument(
        "--register", action="append", default=[], metavar="URL", help="a coordinator to register with; may be repeated"
    )
    parser.add_argument("--delay-ms", type=float, default=0.0, help="how long a step takes (default: %(default)s)")
    parser.add_argument("--hang", action="store_true", help="never answer a step")
    given = parser.parse_args()
    import uvloop

    uvloop.run(serve(Noop(None if given.hang else given.delay_ms / 1000), given.port, given.register))


if __name__ == "__main__":
    main()
