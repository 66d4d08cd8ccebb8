"""`python -m load.stand_in`: a model that delegates and agents that take their time, as one process."""

from __future__ import annotations

import argparse

from aiohttp import web

from load.agents.stand_in import StandIn


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m load.stand_in", description="A stand-in for agents and models.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=0.5, help="that an agent takes (default: %(default)s)")
    parser.add_argument("--hangs", action="store_true", help="answer nothing, ever")
    given = parser.parse_args()
    web.run_app(StandIn(given.seconds, hangs=given.hangs).build_app(), host="127.0.0.1", port=given.port, print=None)


if __name__ == "__main__":
    main()
