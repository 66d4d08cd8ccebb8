"""A coordinator whose wall clock is off by the seconds in the file `moved` of its folder: `python -m … --port N`."""

from __future__ import annotations

if __name__ == "__main__":
    import time
    from pathlib import Path

    from coordinator.app import create_app
    from shared import logs
    from shared.server.run import bind, parse_arguments, serve
    from shared.settings import CoordinatorSettings, load_settings

    moved = float(Path("moved").read_text())
    args = parse_arguments(prog="moved_clock", description=__doc__, default_port=8000)
    settings = load_settings(CoordinatorSettings)
    logs.configure(settings, service="coordinator")
    serve(create_app(settings, wall=lambda: time.time() + moved), bind(args.host, args.port))
