"""A coordinator whose wall clock is off by the seconds in the file `moved` of its folder: `python -m … --port N`.

The file is read at the start, and again at each SIGUSR1.
"""

from __future__ import annotations

if __name__ == "__main__":
    import signal
    import time
    from pathlib import Path

    right, moved = time.time, [0.0]

    def move(*_: object) -> None:
        moved[0] = float(Path("moved").read_text())

    move()
    signal.signal(signal.SIGUSR1, move)
    time.time = lambda: right() + moved[0]  # of whatever is imported after this

    from coordinator.app import create_app
    from shared import logs
    from shared.server.run import bind, parse_arguments, serve
    from shared.settings import CoordinatorSettings, load_settings

    args = parse_arguments(prog="moved_clock", description=__doc__, default_port=8000)
    settings = load_settings(CoordinatorSettings)
    logs.configure(settings, service="coordinator")
    serve(create_app(settings, wall=time.time, port=args.port), bind(args.host, args.port))
